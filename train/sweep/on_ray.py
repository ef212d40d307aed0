"""Cells trained on a Ray cluster, a task each; their runs lie where all nodes see them."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ...cluster import Share, Workplace
from ...errors import EngineError
from ..settings import TrainSettings
from .job import Interrupted, TrainCell, failed
from .record import CellRecord

_ATTEMPTS = 3


@dataclass
class RayTrainer:
    """A `TrainCell` that has cells trained by tasks.

    A cell whose worker dies is given to another, which goes on with its runs' checkpoints.

    Attributes:
        ray: The module, connected.
        make: Gives what trains cells, on a worker.
        share: Of the cluster, for one cell.
    """

    ray: Any
    make: Callable[[], TrainCell]
    share: Share
    interrupted: bool = False
    running: dict[int, Any] = field(default_factory=dict)

    def __call__(self, cell: CellRecord, settings: TrainSettings) -> Iterator[CellRecord]:
        """Yield the cell as the task says that it is to be recorded."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                for cell in self._told(cell, settings):  # noqa: B020  # begun runs are gone on with
                    yield cell
            except self.ray.exceptions.RayError as error:
                if self.interrupted:
                    raise Interrupted from error
                if not left:
                    said = str(error).strip().splitlines()[0]
                    lost = EngineError(f"its worker died {_ATTEMPTS} times: {said}")
                    yield failed(cell, lost)
            else:
                return

    def _told(self, cell: CellRecord, settings: TrainSettings) -> Iterator[CellRecord]:
        task = self.ray.remote(_train).options(
            num_returns="streaming",
            num_cpus=self.share.cpus,
            num_gpus=self.share.gpus,
            max_retries=0,  # a second attempt has to know of the runs that the first one began
        )
        told = task.remote(self.make, Workplace.here(), cell, settings)
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
    make: Callable[[], TrainCell], workplace: Workplace, cell: CellRecord, settings: TrainSettings
) -> Iterator[CellRecord]:
    try:
        workplace.enter()
        yield from make()(cell, settings)
    except EngineError as error:
        yield failed(cell, error)
