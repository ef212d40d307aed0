"""Fuse image, video, audio and text with a few trained prompts and a frozen language model.

The library is what `__all__` lists, each imported when it is first used. `promptfuse.extract` and
`promptfuse.train` are packages and functions at once: `promptfuse.train(shots=16)`, and
`from promptfuse.train.runs import RunRecord`.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .library import extract, open_run, train

__version__ = "0.1.0"
__all__ = ["extract", "open_run", "train"]


class _CallablePackage(ModuleType):
    """A package that is also the library's function of its name."""

    def __call__(self, **settings: Any) -> Any:
        return _library_function(self.__name__.rpartition(".")[2])(**settings)


for _name in ("extract", "train"):
    import_module(f"{__name__}.{_name}").__class__ = _CallablePackage


def _library_function(name: str) -> Any:
    return getattr(import_module(f"{__name__}.library"), name)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _library_function(name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
