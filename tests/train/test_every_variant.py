"""Each language model × method × variant trains and answers, on small random models."""

import itertools
from dataclasses import replace

import pytest

from promptfuse.errors import PlmError
from promptfuse.train.checkpoint import load_trained
from promptfuse.train.evaluate import evaluate_run
from promptfuse.train.fusion.methods import METHODS, FusionMethod
from promptfuse.train.record import PROMPT, read_record
from promptfuse.train.runs.finish import finish_runs
from promptfuse.train.settings import EvalSettings, TrainSettings

from .small_plms import SMALL, WITHOUT_NORM
from .small_runs import start_runs

QUICK = TrainSettings(max_steps=2, epochs=9, batch_size=4, prompt_length=3)
PROMPT_VARIANTS = [
    {"prompt_position": "middle"},
    {"prompt_position": "end", "pool": "none"},
    {"prompt_encoder": "linear", "pool": "before-norm"},
    {"prompt_encoder": "lstm", "visibility": "reverse"},
]
CACHED = sorted(name for name, method in METHODS.items() if method.media != "live")
CHOICES = [
    *({"method": name} for name in CACHED),
    *(
        {"method": name} | variant
        for name, variant in itertools.product(("promptfuse", "blindprompt"), PROMPT_VARIANTS)
    ),
]


@pytest.fixture(scope="module", params=sorted(SMALL))
def plm(request):
    return SMALL[request.param]()


def trained(cache, runs, dataset, plm, **changes):
    folders = start_runs(cache, runs, dataset, plm, replace(QUICK, **changes))
    finish_runs(folders, cache, plm, checkpoint_every=99, quiet=True)
    return folders[0]


@pytest.mark.parametrize("changes", CHOICES, ids=str)
def test_labels(sarcasm_cache, tmp_path, plm, changes):
    folder = trained(sarcasm_cache, tmp_path / "runs", "jokes", plm, **changes)
    found = evaluate_run(folder, sarcasm_cache, plm, EvalSettings(), quiet=True)
    assert found.metrics.examples == 6


@pytest.mark.parametrize("method", CACHED)
@pytest.mark.parametrize("field", ["pooler", "cls", "sequence"])
def test_questions(questions_cache, tmp_path, plm, method, field):
    changes = {"method": method, "fields": {"image": field}}
    folder = trained(questions_cache, tmp_path / "runs", "shapes", plm, **changes)
    assert read_record(folder).features["image"].field == field
    found = evaluate_run(folder, questions_cache, plm, EvalSettings(), quiet=True)
    assert found.metrics is not None


def test_norms(sarcasm_cache, tmp_path, plm):
    changes = {"method": "promptfuse", "train_norms": True}
    if plm.family in WITHOUT_NORM:
        expected = f"{plm.family} puts no layer norm on its embedded segments"
        with pytest.raises(PlmError, match=expected):
            trained(sarcasm_cache, tmp_path / "runs", "jokes", plm, **changes)
        assert not (tmp_path / "runs").exists()
    else:
        folder = trained(sarcasm_cache, tmp_path / "runs", "jokes", plm, **changes)
        assert read_record(folder).trainable_parameters == 3 * 16 + 3 * 32


def test_a_method_on_existing_axes_is_a_row(sarcasm_cache, tmp_path, plm, monkeypatch):
    """A blind prompt beside projected media: both are trained, counted and answered with."""
    row = FusionMethod("both", "encoder", "linear", True, "blind")
    monkeypatch.setitem(METHODS, "both", row)
    folder = trained(sarcasm_cache, tmp_path / "runs", "jokes", plm, method="both")
    assert read_record(folder).trainable_parameters == 3 * 16 + 16 * 16 + 16
    assert set(load_trained(folder / PROMPT)[0]) == {
        "prompt", "projection.weight", "projection.bias"
    }  # fmt: skip
    found = evaluate_run(folder, sarcasm_cache, plm, EvalSettings(), quiet=True)
    assert found.metrics.examples == 6
