"""Grids of runs: what to train, in which order, and how far a sweep has come."""
