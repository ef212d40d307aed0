"""Examples joined with cached features → a frozen language model and a trained prompt → answers.

Reads the cache and a language model, nothing else: no media, no encoders.
"""
