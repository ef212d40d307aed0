"""Arrays in the files that people keep features in: npy, npz, HDF5, safetensors; never pickle."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..errors import CacheError

Arrays = dict[str, np.ndarray]


def read_arrays(path: Path) -> Arrays:
    """Return the arrays in a file by name; the one of an npy file has the name ""."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise CacheError(
            f"{path}: features are read from {', '.join(READERS)}; of other files, save the arrays "
            "as one of these (pickles are never loaded)"
        )
    if not path.is_file():
        raise CacheError(f"{path}: no such file")
    try:
        arrays = reader(path)
    except (OSError, ValueError, TypeError, KeyError, EOFError) as error:
        raise _unreadable(path, error) from error
    except (zipfile.BadZipFile, SafetensorError) as error:
        raise _unreadable(path, error) from error
    if not arrays:
        raise CacheError(f"{path}: holds no array")
    return arrays


def _unreadable(path: Path, error: Exception) -> CacheError:
    return CacheError(
        f"{path}: cannot be read as {path.suffix}: {error}; save plain arrays of numbers (objects "
        "would need pickle, which is never loaded)"
    )


def _read_npy(path: Path) -> Arrays:
    return {"": np.load(path, mmap_mode="r", allow_pickle=False)}


def _read_npz(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


def _read_hdf5(path: Path) -> Arrays:
    with h5py.File(path) as file:
        return {name: held[()] for name, held in file.items() if isinstance(held, h5py.Dataset)}


READERS: Mapping[str, Callable[[Path], Arrays]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".safetensors": load_file,
}
