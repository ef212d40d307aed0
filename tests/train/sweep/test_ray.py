"""A sweep's cells trained by the tasks of a Ray cluster."""

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from promptfuse.cluster import Share
from promptfuse.errors import ConfigError
from promptfuse.train.plm import load_plm
from promptfuse.train.record import PROMPT
from promptfuse.train.settings import EvalSettings, TrainSettings
from promptfuse.train.sweep.grid import GridSettings, expand
from promptfuse.train.sweep.job import CellTrainer, Places, run_sweep
from promptfuse.train.sweep.on_ray import RayTrainer
from promptfuse.train.sweep.record import CellRecord, SweepRecord, pin_features
from promptfuse.train.sweep.settings import SweepSettings

from ..small_bart import save_small_bart

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")

BASE = TrainSettings(shots=6, max_steps=6, epochs=9, batch_size=4, prompt_length=3, device="cpu")
GRID = GridSettings(("promptfuse",), (6, 99), seeds=2)


@dataclass
class Deadly:
    """Ends its process, once, when a cell's runs have begun."""

    make: object
    marker: Path

    def __call__(self, cells):
        for told in self.make()(cells):
            yield told
            if not self.marker.exists():
                self.marker.write_text(" ".join(told.record.runs))
                time.sleep(0.5)  # for it to be told
                os.kill(os.getpid(), signal.SIGKILL)


def load(folder, settings):
    torch.set_num_threads(1)
    return load_plm(folder, device=settings.device)


@pytest.fixture
def small(ray_nodes, tmp_path):
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return str(save_small_bart(tmp_path / "bart"))


def sweep(cache, root, small, train=None):
    places = Places(cache, root / "runs", root / "sweep")
    cells = expand(GRID, BASE)
    record = SweepRecord("s", "jokes", None, (), tuple(map(CellRecord, cells)))
    record, _ = pin_features(record, cache)
    make = partial(CellTrainer, "jokes", places, partial(load, small), EvalSettings())
    if train is None:
        return run_sweep(record, cells, places, make(), EvalSettings(), quiet=True)
    with ThreadPoolExecutor(2) as pool:
        together = {"pool": pool, "jobs": 2, "quiet": True}
        return run_sweep(record, cells, places, train(make), EvalSettings(), **together)


def test_tasks_give_the_figures_of_one_process_though_one_dies(sarcasm_cache, tmp_path, small):
    import ray

    def train(make):
        dying = partial(Deadly, make, tmp_path / "died")
        return RayTrainer(ray, dying, Share(workers=2, cpus=1, gpus=0))

    alone = sweep(sarcasm_cache, tmp_path / "alone", small)
    together = sweep(sarcasm_cache, tmp_path / "together", small, train)
    begun = (tmp_path / "died").read_text().split()
    assert set(begun) <= {name for cell in together.cells for name in cell.runs}
    for one, other in zip(alone.cells, together.cells, strict=True):
        assert (one.status, one.error, one.settings) == (other.status, other.error, other.settings)
        for first, second in zip(one.runs, other.runs, strict=True):
            left, right = tmp_path / "alone/runs" / first, tmp_path / "together/runs" / second
            assert torch.equal(*(load_file(run / PROMPT)["prompt"] for run in (left, right)))
            for name in ("predictions.jsonl", "metrics.json"):
                answered = [(run / "eval-test" / name).read_text() for run in (left, right)]
                assert answered[0] == answered[1]
    assert [cell.status for cell in together.cells] == ["done", "failed"]


def test_an_address_without_the_engine_is_refused():
    with pytest.raises(ConfigError, match="address=auto is of Ray, and engine is local"):
        SweepSettings(address="auto")
