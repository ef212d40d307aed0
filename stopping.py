"""Ending early and in order, on SIGTERM or at a time limit: what is in hand is finished."""

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import ConfigError, Stopped

#: What a command that stopped early exits with, sysexits' EX_TEMPFAIL: run it again.
EXIT_STOPPED = 75

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)")


class Stop:
    """Whether work is to end early, asked where it can: after a shard, a step or a cell.

    Args:
        time_limit: Counted from now: "90m", "2h", or seconds; None for none.
    """

    def __init__(self, time_limit: str | None = None) -> None:
        seconds = seconds_of(time_limit)
        self._end = None if seconds is None else time.monotonic() + seconds
        self._time_limit = time_limit
        self._asked: str | None = None

    @property
    def why(self) -> str | None:
        """What ends the work, None while it goes on."""
        if self._asked is None and self._end is not None and time.monotonic() >= self._end:
            self._asked = f"time limit of {self._time_limit}"
        return self._asked

    def ask(self, why: str) -> None:
        """End the work at the next place where it can end."""
        self._asked = why

    def check(self, where: str) -> None:
        """Raise `Stopped` if the work is to end; `where` says how far it came and what goes on."""
        if self.why is not None:
            raise Stopped(f"stopped ({self.why}) {where}")


@contextmanager
def stopping(time_limit: str | None = None) -> Iterator[Stop]:
    """Yield what SIGTERM or the time limit asks to stop; a second SIGTERM ends the process."""
    stop = Stop(time_limit)
    if threading.current_thread() is not threading.main_thread():
        yield stop  # other threads cannot listen to signals
        return

    def ask(number: int, _frame: object) -> None:
        signal.signal(number, before)
        stop.ask("SIGTERM")

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def seconds_of(time_limit: str | None) -> float | None:
    """Return the seconds of "90m", "2h" or "3600".

    Raises:
        ConfigError: If it is no such duration.
    """
    if time_limit is None:
        return None
    match = _DURATION.fullmatch(time_limit.strip())
    if match is None or not float(match[1]):
        raise ConfigError(f"time_limit is {time_limit!r}; expected seconds, or 90m, or 2h")
    return float(match[1]) * _SECONDS[match[2]]


#: What nobody asks to stop.
NEVER = Stop()
