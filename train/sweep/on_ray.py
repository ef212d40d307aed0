"""Cells trained on a Ray cluster, a task a group; their runs lie where all nodes see them."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...cluster import Share, Workplace
from ...errors import EngineError
from .job import Interrupted, TrainCells
from .passes import Cell

_ATTEMPTS = 3


@dataclass
class RayTrainer:
    """A `TrainCells` that has groups of cells trained by tasks.

    Cells whose worker dies are given to another, which goes on with their runs' checkpoints.

    Attributes:
        ray: The module, connected.
        make: Gives what trains cells, on a worker.
        share: Of the cluster, for one group.
    """

    ray: Any
    make: Callable[[], TrainCells]
    share: Share
    interrupted: bool = False
    running: dict[int, Any] = field(default_factory=dict)

    def __call__(self, cells: Sequence[Cell]) -> Iterator[Cell]:
        """Yield the cells as the task says that they are to be recorded."""
        left = {cell.index: cell for cell in cells}
        for attempts in reversed(range(_ATTEMPTS)):
            try:
                for cell in self._told(list(left.values())):
                    left[cell.index] = cell  # begun runs are gone on with
                    if cell.record.status in ("done", "failed"):
                        del left[cell.index]
                    yield cell
            except self.ray.exceptions.RayError as error:
                if self.interrupted:
                    raise Interrupted from error
                if not attempts:
                    said = str(error).strip().splitlines()[0]
                    lost = EngineError(f"its worker died {_ATTEMPTS} times: {said}")
                    yield from (cell.ended_by(lost) for cell in left.values())
            else:
                return

    def _told(self, cells: Sequence[Cell]) -> Iterator[Cell]:
        task = self.ray.remote(_train).options(
            num_returns="streaming",
            num_cpus=self.share.cpus,
            num_gpus=self.share.gpus,
            max_retries=0,  # a second attempt has to know of the runs that the first one began
        )
        told = task.remote(self.make, Workplace.here(), cells)
        self.running[threading.get_ident()] = told
        try:
            for reference in told:
                yield self.ray.get(reference)
        finally:
            del self.running[threading.get_ident()]

    def interrupt(self) -> None:
        """End the tasks that run."""
        self.interrupted = True
        for told in list(self.running.values()):
            self.ray.cancel(told, force=True)


def _train(
    make: Callable[[], TrainCells], workplace: Workplace, cells: Sequence[Cell]
) -> Iterator[Cell]:
    try:
        workplace.enter()
        yield from make()(cells)
    except EngineError as error:
        yield from (cell.ended_by(error) for cell in cells)
