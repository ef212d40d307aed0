import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from shutil import rmtree
from threading import Barrier

import pytest
import torch
from safetensors.torch import load_file

import promptfuse.train.sweep.job as sweep_job
from promptfuse.cache.atomic import exclusive
from promptfuse.errors import CacheBusy, ConfigError, PlmError, RunError, Stopped, UnknownName
from promptfuse.stopping import NEVER, Stop
from promptfuse.train import loop
from promptfuse.train.evaluate import evaluate_run
from promptfuse.train.record import LOG, PROMPT, read_record
from promptfuse.train.runs import finish
from promptfuse.train.runs.finish import finish_runs
from promptfuse.train.runs.folders import run_folders
from promptfuse.train.settings import EvalSettings, TrainSettings
from promptfuse.train.sweep.grid import GridSettings, expand
from promptfuse.train.sweep.job import CellTrainer, Places, run_sweep
from promptfuse.train.sweep.record import (
    CellRecord,
    SweepRecord,
    find_sweep,
    open_sweep,
    pin_features,
    read_sweep,
    write_sweep,
)

from ..small_cache import names_of, write_features
from ..small_runs import start_runs

BASE = TrainSettings(
    shots=6, max_steps=6, epochs=9, batch_size=4, prompt_length=3, checkpoint_every=2
)
GRID = GridSettings(("promptfuse", "blindprompt"), (4, 6), seeds=2)


class Interrupted(BaseException):
    pass


@pytest.fixture
def sweep(sarcasm_cache, tmp_path, plm):
    """Open or go on with a sweep in a folder, as the command does, and count loads."""

    def run(choice=GRID, folder="one", *, split=None, load=None, pool=None, jobs=1, stop=NEVER):
        places = Places(sarcasm_cache, tmp_path / folder / "runs", tmp_path / folder / "sweep")
        cells = expand(choice, BASE)
        wanted = SweepRecord("s", "jokes", None, (), tuple(map(CellRecord, cells)))
        record = open_sweep(places.sweep, wanted)
        record, _ = pin_features(record, sarcasm_cache)
        give = load or (lambda _settings: plm)
        return run_sweep(
            record,
            cells,
            places,
            CellTrainer(record.dataset, places, give, EvalSettings(split=split), stop=stop),
            EvalSettings(split=split),
            pool=pool,
            jobs=jobs,
            quiet=True,
            stop=stop,
        )

    return run


@pytest.fixture
def widths(monkeypatch):
    """How many runs were in each step that was computed."""
    computed, seen = loop.run_losses, []

    def note(plm, data, task, parameters, *rest):
        seen.append(len(parameters["prompt"]))
        return computed(plm, data, task, parameters, *rest)

    monkeypatch.setattr(loop, "run_losses", note)
    return seen


def prompts_of(runs):
    return {folder.name: load_file(folder / PROMPT)["prompt"] for folder in run_folders(runs)}


def test_every_cell_is_trained_and_evaluated(sweep, tmp_path):
    record = sweep()
    assert [cell.status for cell in record.cells] == ["done"] * 4
    assert read_sweep(tmp_path / "one" / "sweep") == record
    for cell in record.cells:
        runs = [read_record(tmp_path / "one" / "runs" / name) for name in cell.runs]
        assert [run.settings.seed for run in runs] == [0, 1]
        assert {(run.settings.method, run.settings.shots) for run in runs} == {
            (cell.settings.method, cell.settings.shots)
        }
    assert len(list(tmp_path.glob("one/runs/*/eval-test/metrics.json"))) == 8


def test_the_same_command_does_nothing_again(sweep, tmp_path, monkeypatch):
    before = sweep()

    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr(sweep_job, "start_runs", refuse)
    monkeypatch.setattr(sweep_job, "finish_runs", refuse)
    monkeypatch.setattr(sweep_job, "evaluate_run", refuse)
    assert sweep(load=refuse) == before


@pytest.mark.parametrize("stop_at", [1, 4, 9])
def test_an_interrupted_sweep_goes_on_from_each_runs_own_checkpoint(
    sweep, tmp_path, monkeypatch, stop_at
):
    sweep(folder="whole")
    save, saved = finish.save_checkpoint, []

    def save_then_die(path, state):
        save(path, state)
        saved.append((path, state.step))
        if len(saved) == stop_at:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(finish, "save_checkpoint", save_then_die)
        with pytest.raises(Interrupted):
            sweep()
    started = read_sweep(tmp_path / "one" / "sweep").cells
    assert "started" in {cell.status for cell in started}
    left = {path: step for path, step in saved if not (path.parent / PROMPT).is_file()}
    load, gone_on = finish.load_checkpoint, {}

    def note(path, state):
        load(path, state)
        gone_on[path] = state.step

    monkeypatch.setattr(finish, "load_checkpoint", note)
    assert {cell.status for cell in sweep().cells} == {"done"}
    assert gone_on == left
    for folder in run_folders(tmp_path / "whole" / "runs"):
        assert_same_run(folder, tmp_path / "one" / "runs" / folder.name)


def assert_same_run(*runs):
    """The losses to 1e-5, the prompts to what Adam makes of that, the answers the same."""
    losses = [
        [json.loads(line)["loss"] for line in (run / LOG).read_text().splitlines()] for run in runs
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    trained = [load_file(run / PROMPT) for run in runs]
    for name, tensor in trained[0].items():
        torch.testing.assert_close(tensor, trained[1][name], atol=1e-4, rtol=1e-4)
    answers = [(run / "eval-test/predictions.jsonl").read_text() for run in runs]
    assert answers[0] == answers[1]


KINDS = GridSettings(
    ("promptfuse", "blackimage", "blindprompt", "linear", "noprompt"),
    (4, "full"),
    seeds=2,
    variants=(
        {"lr_prompt": 0.01, "lr_other": 0.01, "prompt_length": 2},
        {"lr_prompt": 0.1, "lr_other": 0.02, "prompt_length": 5, "max_steps": 3},
    ),
)


def test_runs_in_passes_are_those_that_train_alone(sweep, tmp_path, sarcasm_cache, plm, widths):
    cells = sweep(KINDS).cells
    assert [cell.status for cell in cells] == ["done"] * 17
    assert max(widths) == 16  # promptfuse and blackimage beside each other
    for name, settings in ((name, cell.settings) for cell in cells for name in cell.runs):
        beside = tmp_path / "one" / "runs" / name
        own = replace(settings, seed=read_record(beside).settings.seed, seeds=1)
        (alone,) = start_runs(sarcasm_cache, tmp_path / "alone", "jokes", plm, own)
        finish_runs([alone], sarcasm_cache, plm, checkpoint_every=9, quiet=True)
        evaluate_run(alone, sarcasm_cache, plm, EvalSettings(), quiet=True)
        assert_same_run(alone, beside)


def test_cells_dealt_to_threads_are_those_of_one(sweep, tmp_path):
    sweep(folder="whole")
    with ThreadPoolExecutor(3) as pool:
        record = sweep(pool=pool, jobs=3)
    assert read_sweep(tmp_path / "one" / "sweep") == record
    names = [name for cell in record.cells for name in cell.runs]
    assert len(set(names)) == 8
    one_by_one = read_sweep(tmp_path / "whole" / "sweep").cells
    for apart, beside in zip(one_by_one, record.cells, strict=True):
        assert (beside.status, beside.settings) == ("done", apart.settings)
        for first, second in zip(apart.runs, beside.runs, strict=True):
            left = load_file(tmp_path / "whole" / "runs" / first / PROMPT)["prompt"]
            right = load_file(tmp_path / "one" / "runs" / second / PROMPT)["prompt"]
            torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-4)


def test_an_interruption_ends_the_cells_beside_it(sweep, tmp_path, monkeypatch):
    beside, evaluate = Barrier(2, timeout=20), sweep_job.evaluate_run

    def die(folder, *arguments, **options):
        if "promptfuse" in folder.name:
            beside.wait()
            raise Interrupted
        return evaluate(folder, *arguments, **options)

    def save(path, state):
        if path.parent.name.endswith("blindprompt-6shots-seed0") and state.step == 2:
            beside.wait()
            time.sleep(0.3)  # long enough for the main thread to see the interruption
        save_checkpoint(path, state)

    save_checkpoint = finish.save_checkpoint
    monkeypatch.setattr(sweep_job, "evaluate_run", die)
    monkeypatch.setattr(finish, "save_checkpoint", save)
    with ThreadPoolExecutor(2) as pool, pytest.raises(Interrupted):
        sweep(replace(GRID, shots=(6,)), pool=pool, jobs=2)
    cells = read_sweep(tmp_path / "one" / "sweep").cells
    assert [cell.status for cell in cells] == ["started", "started"]
    checkpoints = list(tmp_path.glob("one/runs/*/checkpoint.safetensors"))
    assert ["blindprompt" in path.parent.name for path in checkpoints] == [True, True]
    monkeypatch.undo()
    assert {cell.status for cell in sweep(replace(GRID, shots=(6,))).cells} == {"done"}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_sweep_that_is_asked_to_stop_keeps_the_step_of_the_runs_in_hand(
    sweep, tmp_path, plm, threads, widths
):
    stop = Stop()

    def load(_settings):
        stop.ask("SIGTERM")
        return plm

    pool = nullcontext() if threads == 1 else ThreadPoolExecutor(threads)
    told = r"stopped \(SIGTERM\) with 0 of 4 cells done; the same command goes on"
    with pool as cells, pytest.raises(Stopped, match=told):
        sweep(load=load, pool=cells, jobs=threads, stop=stop)
    states = [cell.status for cell in read_sweep(tmp_path / "one" / "sweep").cells]
    assert set(states) == {"started", "pending"}
    kept = list(tmp_path.glob("one/runs/*/checkpoint.safetensors"))
    assert len(kept) == 2 * states.count("started") == sum(widths)  # two seeds, a step each
    assert {cell.status for cell in sweep().cells} == {"done"}
    assert sum(widths) == 4 * 2 * 6


def test_an_evaluation_that_was_interrupted_does_not_train_again(sweep, monkeypatch, widths):
    evaluate, calls = sweep_job.evaluate_run, []

    def evaluate_once(*arguments, **options):
        calls.append(arguments[0].name)
        if len(calls) == 2:
            raise Interrupted
        return evaluate(*arguments, **options)

    monkeypatch.setattr(sweep_job, "evaluate_run", evaluate_once)
    with pytest.raises(Interrupted):
        sweep()
    monkeypatch.setattr(sweep_job, "evaluate_run", evaluate)
    sweep()
    assert sum(widths) == 4 * 2 * 6


def test_a_run_that_diverges_ends_its_cell_alone(sweep, tmp_path):
    record = sweep(replace(GRID, method=("promptfuse",), set={"lr_prompt": (0.01, 1e37)}))
    assert [cell.status for cell in record.cells] == ["done", "failed"] * 2
    told = r"TrainingDiverged: .*(nan at step|overflows).* --lr-prompt 1e\+37; lower --lr-prompt"
    assert all(re.search(told, cell.error) for cell in record.failed)
    done = [len(list(tmp_path.glob(f"one/runs/{name}/eval-test"))) for name in record.cells[0].runs]
    assert done == [1, 1]


def test_what_breaks_a_pass_ends_its_own_cell_alone(sweep, monkeypatch):
    checked = finish.require_same_examples

    def refuse(record, table):
        if record.settings.shots == 4:
            raise RunError("other examples")
        checked(record, table)

    monkeypatch.setattr(finish, "require_same_examples", refuse)
    record = sweep()
    assert [cell.status for cell in record.cells] == ["failed", "done"] * 2
    assert {cell.error for cell in record.failed} == {"RunError: other examples"}


def test_a_cell_that_fails_is_recorded_and_the_others_go_on(sweep):
    record = sweep(replace(GRID, shots=(99, 6)))
    assert [cell.status for cell in record.cells] == ["failed", "done", "failed", "done"]
    assert [cell.settings.shots for cell in record.failed] == [99, 99]
    assert record.failed[0].error.startswith("ShotsError: --shots 99: there are 12")


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("division"), MemoryError(), torch.OutOfMemoryError("2 GiB")],
    ids=str,
)
@pytest.mark.parametrize("threads", [None, 2])
def test_a_cell_that_breaks_down_is_recorded_again_and_the_others_go_on(
    sweep, monkeypatch, error, threads
):
    evaluate = sweep_job.evaluate_run

    def break_down(folder, *arguments, **options):
        if "blindprompt" in folder.name:
            raise error
        return evaluate(folder, *arguments, **options)

    monkeypatch.setattr(sweep_job, "evaluate_run", break_down)
    grid = replace(GRID, shots=(6,), seeds=1, set={"max_steps": (1, 2)})
    for _ in range(2):  # and on going on
        with ThreadPoolExecutor(2) if threads else nullcontext() as pool:
            record = sweep(grid, pool=pool, jobs=2)
        status = {cell.settings.method: cell.status for cell in record.cells}
        assert status == {"promptfuse": "done", "blindprompt": "failed"}
        expected = f"{type(error).__name__}: {error}"
        assert [cell.error for cell in record.failed] == [expected] * 2
    monkeypatch.setattr(sweep_job, "evaluate_run", evaluate)
    assert {cell.status for cell in sweep(grid).cells} == {"done"}


def test_a_sweep_goes_on_with_the_features_that_it_began_with(sweep, tmp_path, sarcasm_cache):
    began = names_of("train", 12) + names_of("test", 6)
    choice = replace(GRID, shots=(4, 99), seeds=1, set={"modalities": (None, ("video",))})
    before = sweep(choice)
    video = before.cells[0].features["video"]
    other = write_features(sarcasm_cache, "video", began, encoder="other")
    assert other != video
    folder = tmp_path / "one" / "sweep"
    record = read_sweep(folder)
    write_sweep(folder, replace(record, cells=tuple(replace(c, runs=()) for c in record.cells)))
    _, notes = pin_features(read_sweep(folder), sarcasm_cache)
    assert len(notes) == 2  # for all modalities, and for video alone
    for note in notes:
        assert "the cache changed since the sweep began" in note
        assert f"go on with video features {video}" in note
        assert "several video feature sets hold jokes: " in note
        assert other in note
    again = sweep(choice)
    assert [cell.status for cell in again.cells] == [cell.status for cell in before.cells]
    for cell in again.cells:
        for name in cell.runs:
            run = read_record(tmp_path / "one" / "runs" / name)
            assert run.settings.features["video"] == video


def test_a_sweep_says_which_features_are_others_now(sweep, tmp_path, sarcasm_cache):
    video = sweep(GridSettings()).cells[0].features["video"]
    rmtree(sarcasm_cache / "features" / "video" / video)
    other = write_features(
        sarcasm_cache, "video", names_of("train", 12) + names_of("test", 6), encoder="other"
    )
    _, notes = pin_features(read_sweep(tmp_path / "one" / "sweep"), sarcasm_cache)
    (note,) = notes
    assert f"video features were {video} and now would be {other}" in note


def test_a_failed_cell_is_tried_again(sweep, plm):
    def refuse(_settings):
        raise PlmError("not today")

    assert {cell.error for cell in sweep(load=refuse).cells} == {"PlmError: not today"}
    record = sweep()
    assert {(cell.status, cell.error) for cell in record.cells} == {("done", None)}


def test_the_language_model_is_loaded_once(sweep, plm):
    asked = []
    sweep(load=lambda cell: (asked.append((cell.plm, cell.plm_dtype)), plm)[1])
    assert asked == [(None, "float32")]


def test_runs_that_were_removed_are_trained_anew(sweep, tmp_path):
    record = sweep(GridSettings())
    (name,) = record.cells[0].runs
    (tmp_path / "one" / "runs" / name).rename(tmp_path / "elsewhere")
    assert sweep(GridSettings()).cells[0].status == "done"
    assert list(prompts_of(tmp_path / "one" / "runs")) == [name]


def test_another_grid_needs_another_name(sweep):
    sweep(GridSettings())
    with pytest.raises(RunError, match=r"another grid \(1 cells, now 4\); choose another --name"):
        sweep()


def test_one_process_at_a_time(sweep, tmp_path):
    folder = tmp_path / "one" / "sweep"
    folder.mkdir(parents=True)
    with (
        exclusive(folder, doing="a test"),
        pytest.raises(CacheBusy, match="the sweep 's' cannot"),
    ):
        sweep()


def test_a_sweep_is_found_by_its_name(sweep, tmp_path):
    with pytest.raises(UnknownName, match="'other'; choose one of: none; run: pfcli sweep"):
        find_sweep(tmp_path / "one", "other")
    record = sweep(GridSettings())
    assert find_sweep(tmp_path / "one", "sweep") == record
    with pytest.raises(UnknownName, match="'other'; choose one of: sweep"):
        find_sweep(tmp_path / "one", "other")
    with pytest.raises(RunError, match=r"runs is not a sweep's folder: it has no sweep\.json"):
        read_sweep(tmp_path / "one" / "runs")
    (tmp_path / "one" / "sweep" / "sweep.json").write_text('{"name": 3}')
    with pytest.raises(ConfigError, match=r"name in .*sweep\.json is 3; expected a text"):
        find_sweep(tmp_path / "one", "sweep")


def test_a_sweep_over_dev_is_evaluated_there_and_then_once_on_the_test(sweep, tmp_path):
    choice = GridSettings(("promptfuse",), (4, 6), seeds=1, set={"dev": (4,)})
    sweep(choice, split="dev")

    def splits():
        return [
            path.parent.name for path in sorted(tmp_path.glob("one/runs/*/eval-*/metrics.json"))
        ]

    assert splits() == ["eval-dev"] * 2
    sweep(choice)
    assert splits() == ["eval-dev", "eval-test"] * 2
    record = sweep(choice)
    runs = [read_record(tmp_path / "one/runs" / cell.runs[0]) for cell in record.cells]
    assert {run.settings.shots for run in runs} == {4, 6}
