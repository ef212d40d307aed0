"""How fast each stage of an extraction works, and which one holds the others up."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from time import perf_counter


@dataclass
class Stage:
    """What one stage did: so many media in so many seconds of its threads together."""

    threads: int
    media: int = 0
    busy_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Media a second while all its threads are busy."""
        return self.media * self.threads / self.busy_seconds if self.busy_seconds else 0.0


class Stages:
    """Clocks that the threads of an extraction add to, by the stage's name."""

    def __init__(self) -> None:
        self._adding = Lock()
        self._stages: dict[str, Stage] = {}
        self._began, self._ended = float("inf"), 0.0

    @contextmanager
    def timing(self, name: str, media: int, *, threads: int = 1) -> Iterator[None]:
        """Yield while one of a stage's threads works on some media."""
        began = perf_counter()
        try:
            yield
        finally:
            ended = perf_counter()
            with self._adding:
                stage = self._stages.setdefault(name, Stage(threads))
                stage.media += media
                stage.busy_seconds += ended - began
                self._began, self._ended = min(self._began, began), max(self._ended, ended)

    def line(self) -> str:
        """Return each stage's rate and the bottleneck in a line; "" where nothing was timed."""
        if not any(stage.media for stage in self._stages.values()):
            return ""
        rates = ", ".join(f"{name} {stage.rate:,.0f}/s" for name, stage in self._stages.items())
        seconds = max(self._ended - self._began, 1e-9)
        busy = {
            name: stage.busy_seconds / stage.threads / seconds
            for name, stage in self._stages.items()
        }
        most = max(busy, key=busy.__getitem__)
        return f"at full use: {rates}; bottleneck: {most}, busy {busy[most]:.0%} of the time"
