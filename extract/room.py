"""How much memory media take: those at work at once, and those that wait for the encoders."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition

Reserve = Callable[[int], None]
"""Called with the bytes that decoding a medium will take, before it takes them."""

_NEGLIGIBLE_BYTES = 8 * 2**20


def physical_memory_bytes() -> int:
    """Return the size of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class Room:
    """Memory for media that are being worked on; what is larger than all of it is decoded alone.

    Args:
        size_bytes: For all threads together.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size = size_bytes
        self._taken: dict[object, int] = {}
        self._changed = Condition()

    @contextmanager
    def hold(self) -> Iterator[Reserve]:
        """Yield what reserves bytes until the end, waiting while others have too many."""
        holder = object()

        def reserve(size_bytes: int) -> None:
            if size_bytes < _NEGLIGIBLE_BYTES:
                return
            with self._changed:
                if holder not in self._taken:  # who holds some already must not wait for others
                    self._changed.wait_for(lambda: self._fits(size_bytes))
                self._taken[holder] = max(size_bytes, self._taken.get(holder, 0))

        try:
            yield reserve
        finally:
            with self._changed:
                if self._taken.pop(holder, None) is not None:
                    self._changed.notify_all()

    def _fits(self, size_bytes: int) -> bool:
        return not self._taken or sum(self._taken.values()) + size_bytes <= self._size


class Window:
    """Prepared media, numbered in the order in which they are wanted, that wait to be taken.

    None is begun while those that wait have more than so many bytes, but for the next that is
    wanted: one large medium holds the others up for as long as it waits, and no longer.

    Args:
        size_bytes: Of those that wait.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size = size_bytes
        self._waiting: dict[int, int] = {}
        self._next = 0
        self._closed = False
        self._changed = Condition()

    def enter(self, number: int) -> None:
        """Wait until a medium may be begun."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closed or number <= self._next or sum(self._waiting.values()) < self._size
                )
            )

    def put(self, number: int, size_bytes: int) -> None:
        """Note that a medium is prepared and waits."""
        with self._changed:
            self._waiting[number] = size_bytes

    def take(self, number: int) -> None:
        """Note that a medium waits no longer, and the one after it is wanted next."""
        with self._changed:
            self._waiting.pop(number, None)
            self._next = number + 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let all who wait go on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
