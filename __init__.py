"""Fuse image, video, audio and text with a few trained prompts and a frozen language model.

The library is what `__all__` lists, each imported when it is first used. `promptfuse.extract` and
`promptfuse.train` are packages and functions at once: `promptfuse.train(shots=16)`, and
`from promptfuse.train.record import RunRecord`.
"""

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cache.opened import open_cache
    from .library import extract, load_prompt, open_run, report, train
    from .train.joined import FeatureDataset

__version__ = "0.1.0"
__all__ = [
    "FeatureDataset",
    "extract",
    "load_prompt",
    "open_cache",
    "open_run",
    "report",
    "train",
]
_ELSEWHERE = {"FeatureDataset": "train.joined", "open_cache": "cache.opened"}
_PACKAGES = ("extract", "train")


class _CallablePackage(ModuleType):
    """A package that is also the library's function of its name."""

    def __call__(self, **settings: Any) -> Any:
        return self._function(**settings)

    @property
    def _function(self) -> Any:
        return _offered(self.__name__.rpartition(".")[2])

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)


class _Library(ModuleType):
    """This module: it imports what it offers on first use, and makes its packages callable."""

    def __getattr__(self, name: str) -> Any:
        if name in _PACKAGES:
            return import_module(f"{__name__}.{name}")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return _offered(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _PACKAGES and isinstance(value, ModuleType):  # set by the import of a package
            value.__class__ = _CallablePackage
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return [*__all__, "__version__"]


def _offered(name: str) -> Any:
    return getattr(import_module(f"{__name__}.{_ELSEWHERE.get(name, 'library')}"), name)


sys.modules[__name__].__class__ = _Library
