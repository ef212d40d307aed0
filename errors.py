"""Every error that a user or their data can cause, one class each.

A message says what is wrong, where, what was expected and found, and what to do. Each class is
also a builtin exception, so that callers who do not know this package can catch it.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Self


class PromptFuseError(Exception):
    """Base of all errors that a user can cause; `pfcli` prints them without a traceback."""


class ConfigError(PromptFuseError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class UnknownName(PromptFuseError, KeyError):
    """A name is not in a closed set such as encoders, methods or datasets."""

    def __init__(self, kind: str, name: str, valid: Iterable[str]) -> None:
        names = sorted(valid)
        super().__init__(
            f"unknown {kind} {name!r}; choose one of: {', '.join(names)}{did_you_mean(name, names)}"
        )

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return str(self.args[0])


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return `; did you mean 'NAME'?` with the valid name most like a wrong one, or nothing."""
    return "".join(f"; did you mean {near!r}?" for near in get_close_matches(name, [*valid], n=1))


class DatasetMissing(PromptFuseError, FileNotFoundError):
    """A dataset's folder or one of its annotation files is not there."""


class AnnotationInvalid(PromptFuseError, ValueError):
    """An annotation file cannot be parsed, lacks a field or repeats an id."""


class MediumError(PromptFuseError):
    """One image, video or sound cannot be used.

    Attributes:
        reason: The stable name of this kind.
        limit: The limit that refused it, by name, where it was one: {"max_pixels": 1000}.
    """

    reason = "unusable"
    limit: Mapping[str, float] | None = None

    def of(self, medium: object) -> Self:
        """Return the error with the medium's name before its message."""
        named = type(self)(f"{medium}: {self}")
        named.limit = self.limit
        return named

    def __init_subclass__(cls, reason: str) -> None:
        cls.reason = reason


class MediumMissing(MediumError, FileNotFoundError, reason="missing"):
    """An annotation names a file that is not there."""


class MediumOutside(MediumError, PermissionError, reason="outside-data-folder"):
    """An annotation names a path that leaves the data folder."""


class MediumEmpty(MediumError, ValueError, reason="empty"):
    """A file of zero bytes."""


class MediumUnreadable(MediumError, ValueError, reason="unreadable"):
    """A file that no decoder recognises as its modality."""


class MediumDamaged(MediumError, ValueError, reason="damaged"):
    """A file that starts well and then cannot be decoded: cut short or corrupt."""


class MediumTooLarge(MediumError, ValueError, reason="too-large"):
    """A file over the limits on bytes, pixels or duration."""

    def __init__(self, message: str, *, limit: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.limit = limit


class MediumChanged(MediumError, ValueError, reason="changed"):
    """A file that is no longer the one that was hashed."""


class MediumUnexpected(MediumError, RuntimeError, reason="unexpected"):
    """Something raised what nobody foresaw, for this medium and not for others."""


class MediumCrashed(MediumError, RuntimeError, reason="crashed"):
    """A medium whose decoder ends the process that runs it."""


class NoVideoStream(MediumError, ValueError, reason="no-video-stream"):
    """A container without a picture."""


class NoAudioStream(MediumError, ValueError, reason="no-audio-stream"):
    """A container without sound."""


class SpanOutside(MediumError, ValueError, reason="span-outside"):
    """A clip's span that begins after its video or sound has ended."""


class FeatureNotFinite(MediumError, ArithmeticError, reason="not-finite"):
    """An encoder's output holds NaN or infinity (in the storage dtype)."""


class Stopped(PromptFuseError, InterruptedError):
    """Work ended early, as asked by SIGTERM or a time limit; what was done is saved."""


class EncoderError(PromptFuseError, ValueError):
    """An encoder cannot be loaded or does not fit its modality."""


class PretrainedError(PromptFuseError, ValueError):
    """A pretrained model is not to be had, or its folder lacks a file."""


class UnsafeWeights(PromptFuseError, ValueError):
    """A checkpoint exists only as pickle, or asks for remote code."""


class CacheError(PromptFuseError, ValueError):
    """A cache does not hold what was asked of it; the message names the command that makes it."""


class CacheVersionError(CacheError):
    """A cache written by a newer version of this package."""


class CacheBusy(PromptFuseError, BlockingIOError):
    """Another process is writing the same feature set."""


class StoreError(PromptFuseError, ConnectionError):
    """An object store cannot be reached, denies access, or lacks what a cache needs of it."""


class LocksMissing(PromptFuseError, OSError):
    """A folder's file system cannot keep two processes apart."""


class ShardCorrupt(CacheError):
    """A shard's bytes are not those that were committed."""


class ShardReplaced(ShardCorrupt):
    """A shard is gone together with its commit: its rows lie in another one, or were given up."""


class ShotsError(PromptFuseError, ValueError):
    """More shots asked for than the data can give."""


class WidthMismatch(PromptFuseError, ValueError):
    """An encoder's width differs from the language model's and no fix was chosen."""


class PlmError(PromptFuseError, ValueError):
    """A language model cannot be loaded or used as asked."""


class MetricError(PromptFuseError, ValueError):
    """Predictions cannot be scored: lengths differ, or there is nothing to score against."""


class RunError(PromptFuseError, ValueError):
    """A run's folder is missing, incomplete or does not match the cache or the language model."""


class TrainingDiverged(RunError, ArithmeticError):
    """A run's loss is no longer a finite number."""


class OutOfMemory(RunError):
    """Memory runs out, however little is done at once."""


class ExtraMissing(PromptFuseError, ImportError):
    """Something was asked for that needs an optional package."""

    def __init__(self, asked: str, extra: str, error: ImportError) -> None:
        super().__init__(
            f"{asked} needs a package that is not installed ({error}): "
            f"pip install 'promptfuse[{extra}]'"
        )


class EngineError(PromptFuseError, RuntimeError):
    """A cluster cannot be reached, or one of its nodes cannot do the work."""
