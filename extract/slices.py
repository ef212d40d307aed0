"""The media of one modality cut into slices: what a writer claims, encodes and commits at once."""

from collections import deque
from collections.abc import Sequence
from typing import TypeVar

from ..cache.store import FeatureWriter
from ..stopping import NEVER, Stop

Item = TypeVar("Item")


def cut(plan: Sequence[Item], rows: int) -> list[Sequence[Item]]:
    """Return the plan's slices: cut after every so many, whatever is done, so all cut it alike."""
    return [plan[at : at + rows] for at in range(0, len(plan), rows)]


class Slices:
    """Which media this run encodes now, in the plan's order.

    A slice that another writer has in hand is put off to a second round.

    Args:
        writer: Claims the slices.
        keys: All that are wanted, in the plan's order.
        rows: Of a slice.
        stop: What asks to begin no further one.
    """

    def __init__(
        self, writer: FeatureWriter, keys: Sequence[bytes], rows: int, stop: Stop = NEVER
    ) -> None:
        self._writer = writer
        self._slices = cut(keys, rows)
        self._slice_of = {key: at // rows for at, key in enumerate(keys)}
        self._coming = deque(range(len(self._slices)))
        self._put_off: deque[int] = deque()
        self._todo: set[bytes] = set()
        self._in_hand: deque[int] = deque()
        self._insist = False
        self._stop = stop

    def wants(self, key: bytes) -> bool:
        """Return whether a medium is to be encoded now; asked in the plan's order, it is once."""
        while self._coming and self._coming[0] <= self._slice_of[key]:
            self._begin(self._coming.popleft())
        if key not in self._todo:
            return False
        self._todo.remove(key)
        return True

    def finish_one(self) -> bool:
        """Note that the next wanted medium is encoded; return whether it was its slice's last."""
        self._in_hand[0] -= 1
        if self._in_hand[0]:
            return False
        self._in_hand.popleft()
        return True

    def again(self) -> bool:
        """Go to the slices that others had in hand; return whether there are any."""
        self._coming, self._put_off = self._put_off, deque()
        self._insist = True
        return bool(self._coming) and self._stop.why is None

    def _begin(self, number: int) -> None:
        if self._stop.why is not None:
            return
        todo = self._writer.claim(self._slices[number], insist=self._insist)
        if todo is None:
            self._put_off.append(number)
        elif todo:
            self._todo.update(todo)
            self._in_hand.append(len(todo))
