"""Raw datasets and media → features: adapters, decoders, encoders and the pipeline that joins them.

Nothing heavy is imported here; import the module that is needed.
"""
