"""The format on disk: feature sets and examples. Knows numpy, h5py and pyarrow; no torch."""
