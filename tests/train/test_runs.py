import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from promptfuse.cache.examples import read_dataset, read_examples, write_examples
from promptfuse.errors import (
    CacheError,
    ConfigError,
    PlmError,
    RunError,
    ShotsError,
    Stopped,
    UnknownName,
)
from promptfuse.stopping import stopping
from promptfuse.train import loop
from promptfuse.train.checkpoint import load_trained
from promptfuse.train.evaluate import evaluate_run
from promptfuse.train.record import (
    CHECKPOINT,
    LOG,
    PROMPT,
    RECORD,
    read_record,
    write_record,
)
from promptfuse.train.runs import finish
from promptfuse.train.runs import folders as run_folders
from promptfuse.train.runs.finish import finish_runs
from promptfuse.train.runs.folders import find_run
from promptfuse.train.settings import EvalSettings, TrainSettings
from promptfuse.train.trained import load_prompt

from .small_bart import small_bart
from .small_cache import names_of, write_features, write_sarcasm
from .small_runs import start_runs

QUICK = TrainSettings(
    shots=6,
    max_steps=7,
    epochs=9,
    batch_size=4,
    lr_prompt=0.05,
    prompt_length=3,
    preset="mustard_low",
)


def run(cache, runs, plm, settings=QUICK, *, dataset="jokes", every=100):
    folders = start_runs(cache, runs, dataset, plm, settings)
    finish_runs(folders, cache, plm, checkpoint_every=every, quiet=True)
    return folders


def trained_of(folder):
    return load_trained(folder / PROMPT)[0]


def prompt_of(folder):
    return trained_of(folder)["prompt"]


VARIANTS = [
    {"method": "linear"},
    {"method": "linear", "pool": "none"},
    {"method": "jointproj"},
    {"method": "blindprompt", "prompt_position": "middle", "prompt_encoder": "lstm"},
    {"method": "promptfuse", "visibility": "reverse", "prompt_encoder": "linear"},
    {"method": "promptfuse", "prompt_position": "end", "train_norms": True, "pool": "before-norm"},
]


@pytest.mark.parametrize(
    "method", ["promptfuse", "blindprompt", "blackimage", "linear", "jointproj"]
)
def test_training_lowers_the_loss(sarcasm_cache, tmp_path, plm, method):
    settings = replace(QUICK, method=method, max_steps=60, epochs=99, lr_other=0.02)
    (folder,) = run(sarcasm_cache, tmp_path / "runs", plm, settings)
    losses = [json.loads(line)["loss"] for line in (folder / LOG).read_text().splitlines()]
    assert len(losses) == 60
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_the_record_and_the_prompt_say_what_was_done(sarcasm_cache, tmp_path, plm):
    (folder,) = run(sarcasm_cache, tmp_path / "runs", plm)
    record = read_record(folder)
    assert folder.name == "0001-jokes-promptfuse-6shots-seed0" == record.name
    assert record.trainable_parameters == 3 * 16
    assert record.steps == 7
    assert len(record.example_ids) == 6
    assert set(record.features) == {"video", "audio"}
    assert record.versions["torch"] == torch.__version__.split("+")[0]
    trained, metadata = load_trained(folder / PROMPT)
    assert {name: tuple(one.shape) for name, one in trained.items()} == {"prompt": (3, 16)}
    assert metadata["settings"]["visibility"] == "full"
    assert metadata["settings"]["plm_dtype"] == "float32"  # of auto, on a processor
    assert metadata["encoders"]["video"]["fingerprint"] == record.features["video"].fingerprint
    assert not (folder / CHECKPOINT).exists()


def test_the_same_seed_gives_the_same_prompt(sarcasm_cache, tmp_path, plm):
    (first,) = run(sarcasm_cache, tmp_path / "runs", plm)
    (second,) = run(sarcasm_cache, tmp_path / "runs", plm)
    assert torch.equal(prompt_of(first), prompt_of(second))
    (other,) = run(sarcasm_cache, tmp_path / "runs", plm, replace(QUICK, seed=1))
    assert not torch.allclose(prompt_of(first), prompt_of(other))


@pytest.mark.parametrize("method", ["promptfuse", "blindprompt"])
def test_runs_trained_side_by_side_are_those_trained_alone(sarcasm_cache, tmp_path, plm, method):
    settings = replace(QUICK, method=method)
    together = run(sarcasm_cache, tmp_path / "runs", plm, replace(settings, seeds=3))
    for seed, folder in enumerate(together):
        (alone,) = run(sarcasm_cache, tmp_path / "runs", plm, replace(settings, seed=seed))
        assert read_record(alone).example_ids == read_record(folder).example_ids
        torch.testing.assert_close(prompt_of(alone), prompt_of(folder), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_variants_side_by_side_are_those_alone(sarcasm_cache, tmp_path, plm, changes):
    settings = replace(QUICK, **changes)
    together = run(sarcasm_cache, tmp_path / "runs", plm, replace(settings, seeds=2))
    for seed, folder in enumerate(together):
        (alone,) = run(sarcasm_cache, tmp_path / "runs", plm, replace(settings, seed=seed))
        beside = trained_of(folder)
        for name, tensor in trained_of(alone).items():
            torch.testing.assert_close(tensor, beside[name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_variants_are_recorded_counted_and_evaluated(sarcasm_cache, tmp_path, plm, changes):
    settings = replace(QUICK, **changes)
    (folder,) = run(sarcasm_cache, tmp_path / "runs", plm, settings)
    record = read_record(folder)
    recorded = {name: getattr(record.settings, name) for name in changes}
    assert recorded == changes
    counts = {"linear": 16 * 17, "jointproj": 16 * 33}
    extra = {"lstm": 8 * 16 * 17, "linear": 16 * 17, "none": 0}[settings.prompt_encoder]
    norms = 3 * 2 * 16 if settings.train_norms else 0
    expected = counts.get(settings.method, 3 * 16) + extra + norms
    assert record.trainable_parameters == expected
    _, metadata = load_trained(folder / PROMPT)
    assert metadata["settings"]["prompt_position"] == settings.prompt_position
    assert metadata["settings"]["prompt_encoder"] == settings.prompt_encoder
    found = evaluate_run(folder, sarcasm_cache, plm, EvalSettings(batch_size=4), quiet=True)
    assert found.metrics.examples == 6


def test_each_group_has_its_own_learning_rate(sarcasm_cache, tmp_path, plm):
    settings = replace(QUICK, train_norms=True, max_steps=1)
    (folder,) = run(sarcasm_cache, tmp_path / "runs", plm, settings)
    record = read_record(folder)
    assert (record.settings.lr_prompt, record.settings.lr_other) == (0.05, 5e-4)
    before, _ = plm.norm
    moved = (trained_of(folder)["norm.video.weight"] - before).abs()
    assert moved.max() == pytest.approx(5e-4, rel=1e-2)  # Adam's first step is its rate


def test_data_and_initialisation_seeds_are_apart(sarcasm_cache, tmp_path, plm):
    def records(**changes):
        settings = replace(QUICK, seeds=2, **changes)
        folders = start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, settings)
        return [read_record(folder) for folder in folders]

    one, two = records(data_seed=5)
    assert one.example_ids == two.example_ids
    assert (one.settings.seed, two.settings.seed) == (0, 1)
    one, two = records()
    assert one.example_ids != two.example_ids


class Interrupted(Exception):
    pass


@pytest.mark.parametrize(
    ("stop_at", "changes"),
    [(2, {}), (3, {}), (6, {}), *((4, changes) for changes in VARIANTS)],
    ids=str,
)
def test_an_interrupted_run_resumes_to_the_same_bits(
    sarcasm_cache, tmp_path, plm, monkeypatch, stop_at, changes
):
    settings = replace(QUICK, seeds=2, **changes)
    whole = run(sarcasm_cache, tmp_path / "runs", plm, settings)
    folders = start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, settings)
    save = finish.save_checkpoint

    def save_then_die(path, state):
        save(path, state)
        if state.step >= stop_at and path.parent == folders[-1]:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(finish, "save_checkpoint", save_then_die)
        with pytest.raises(Interrupted):
            finish_runs(folders, sarcasm_cache, plm, checkpoint_every=2, quiet=True)
    assert not (folders[0] / PROMPT).exists()
    finish_runs(folders, sarcasm_cache, plm, checkpoint_every=2, quiet=True)
    for undisturbed, resumed in zip(whole, folders, strict=True):
        before, after = trained_of(undisturbed), trained_of(resumed)
        assert set(before) == set(after)
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert (undisturbed / LOG).read_text() == (resumed / LOG).read_text()


@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_run_that_is_asked_to_stop_saves_its_step_and_resumes_to_the_same_bits(
    sarcasm_cache, tmp_path, plm, monkeypatch, stop_at
):
    settings = replace(QUICK, seeds=2)
    whole = run(sarcasm_cache, tmp_path / "runs", plm, settings)
    folders = start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, settings)
    taken = []

    def step():
        taken.append(True)
        if len(taken) == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    told = rf"stopped \(SIGTERM\) after step {stop_at + 1} of 7; go on: pfcli train --resume"
    with stopping() as stop, pytest.raises(Stopped, match=told):
        finish_runs(
            folders,
            sarcasm_cache,
            plm,
            checkpoint_every=99,
            quiet=True,
            after_step=step,
            stop=stop,
        )
    assert (folders[0] / CHECKPOINT).is_file()
    finish_runs(folders, sarcasm_cache, plm, checkpoint_every=2, quiet=True)
    for undisturbed, resumed in zip(whole, folders, strict=True):
        before, after = trained_of(undisturbed), trained_of(resumed)
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_checkpoint_of_other_parameters_is_refused(sarcasm_cache, tmp_path, plm, monkeypatch):
    settings = replace(QUICK, method="linear")
    (other,) = start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, settings)
    (folder,) = start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, QUICK)

    def stop(_path):
        raise Interrupted

    save = finish.save_checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(
            finish, "save_checkpoint", lambda path, state: (save(path, state), stop(path))
        )
        with pytest.raises(Interrupted):
            finish_runs([other], sarcasm_cache, plm, checkpoint_every=2, quiet=True)
    (other / CHECKPOINT).rename(folder / CHECKPOINT)
    with pytest.raises(RunError, match=r"holds .*projection\.weight.*this run trains .*\(3, 16\)"):
        finish_runs([folder], sarcasm_cache, plm, checkpoint_every=2, quiet=True)


def test_noprompt_trains_nothing(sarcasm_cache, tmp_path, plm):
    (folder,) = run(sarcasm_cache, tmp_path / "runs", plm, replace(QUICK, method="noprompt"))
    record = read_record(folder)
    assert (record.steps, record.trainable_parameters) == (0, 0)
    assert prompt_of(folder).shape == (0, 16)
    assert (
        evaluate_run(folder, sarcasm_cache, plm, EvalSettings(), quiet=True).metrics.examples == 6
    )


def test_training_changes_no_weight_of_the_model(sarcasm_cache, tmp_path):
    own = small_bart(seed=7)
    before = {name: value.clone() for name, value in own.model.state_dict().items()}
    run(sarcasm_cache, tmp_path / "runs", own)
    assert all(torch.equal(before[name], value) for name, value in own.model.state_dict().items())


def test_media_that_failed_are_left_out_of_training(tmp_path, plm):
    write_sarcasm(tmp_path / "c", train=6, test=2)
    names = names_of("train", 6) + names_of("test", 2)
    write_features(tmp_path / "c", "video", names[:4] + names[5:], failed=("train4",))
    settings = replace(QUICK, shots=None)
    (folder,) = run(tmp_path / "c", tmp_path / "runs", plm, settings)
    record = read_record(folder)
    assert (record.train_examples, record.dropped_examples) == (5, 1)


def test_what_cannot_be_trained_is_named(sarcasm_cache, tmp_path, plm):
    def start(**changes):
        start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, replace(QUICK, **changes))

    with pytest.raises(ShotsError, match="--shots 13: there are 12"):
        start(shots=13)
    with pytest.raises(UnknownName, match="unknown method 'lora'; choose one of: blackimage"):
        start(method="lora")
    with pytest.raises(ConfigError, match="--visibility belongs to methods with a prompt"):
        start(method="linear", visibility="blind")
    with pytest.raises(PlmError, match="prompt_length is 49, more than the language model's 48"):
        start(prompt_length=49)
    with pytest.raises(UnknownName, match="unknown preset 'big'"):
        start(preset="big")
    with pytest.raises(CacheError, match="jokes has no image; it has: video, audio"):
        start(modalities=("image",))
    with pytest.raises(CacheError, match="'dev'"):
        start(split="dev")
    assert not list((tmp_path / "runs").glob("*"))


def test_another_language_model_is_refused(sarcasm_cache, tmp_path, plm):
    (folder,) = run(sarcasm_cache, tmp_path / "runs", plm)
    with pytest.raises(RunError, match="was trained with small"):
        evaluate_run(folder, sarcasm_cache, small_bart(seed=1), EvalSettings(), quiet=True)


def test_an_unfinished_run_is_not_evaluated(sarcasm_cache, tmp_path, plm):
    (folder,) = start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, QUICK)
    with pytest.raises(RunError, match="pfcli train --resume"):
        evaluate_run(folder, sarcasm_cache, plm, EvalSettings(), quiet=True)


def test_a_folder_without_its_record_stands_in_nobodys_way(sarcasm_cache, tmp_path, plm):
    runs = tmp_path / "runs"
    (runs / "0001-jokes-promptfuse-6shots-seed0").mkdir(parents=True)
    (folder,) = start_runs(sarcasm_cache, runs, "jokes", plm, QUICK)
    assert folder.name == "0002-jokes-promptfuse-6shots-seed0"
    assert find_run(runs, None) == folder


def test_find_run(sarcasm_cache, tmp_path, plm):
    runs = tmp_path / "runs"
    with pytest.raises(RunError, match="holds no run"):
        find_run(runs, None)
    first, second = start_runs(sarcasm_cache, runs, "jokes", plm, replace(QUICK, seeds=2))
    assert find_run(runs, None) == second
    assert find_run(runs, "1") == find_run(runs, first.name) == find_run(runs, str(first)) == first
    (thousands := runs / first.name.replace("0001-", "1200-")).mkdir()
    write_record(thousands, read_record(first))
    assert find_run(runs, None) == thousands
    with pytest.raises(RunError, match="no run '12' in"):
        find_run(runs, "12")
    with pytest.raises(RunError, match="no run '77'"):
        find_run(runs, "77")


def test_training_that_runs_out_of_memory_says_what_to_lower(
    sarcasm_cache, tmp_path, plm, monkeypatch
):
    folders = start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, replace(QUICK, seeds=2))

    def full(*given, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(loop, "run_losses", full)
    expected = r"with 1 runs of 4 examples a step: lower --batch-size or --seeds.*allocate 2 GiB"
    with pytest.raises(RunError, match=expected):
        finish_runs(folders, sarcasm_cache, plm, checkpoint_every=9, quiet=True)
    assert not any((folder / PROMPT).exists() for folder in folders)


def test_a_run_whose_loss_is_not_finite_leaves_no_prompt(sarcasm_cache, tmp_path, plm):
    settings = replace(QUICK, lr_prompt=1e37)
    folders = start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, settings)
    expected = r"seed 0 is nan at step [23], with --lr-prompt 1e\+37; lower --lr-prompt"
    ended = finish_runs(folders, sarcasm_cache, plm, checkpoint_every=1, quiet=True)
    assert re.search(expected, str(ended[folders[0]]))
    assert not (folders[0] / PROMPT).exists()
    with pytest.raises(RunError, match="is not there; was the run interrupted"):
        load_prompt(folders[0])


def test_a_full_disk_leaves_no_run_behind(sarcasm_cache, tmp_path, plm, monkeypatch):
    def full(folder, record):
        if record.settings.seed == 1:
            raise OSError(28, "No space left on device")
        write_record(folder, record)

    with monkeypatch.context() as patch:
        patch.setattr(run_folders, "write_record", full)
        with pytest.raises(OSError, match="No space left"):
            start_runs(sarcasm_cache, tmp_path / "r", "jokes", plm, replace(QUICK, seeds=2))
    assert not list((tmp_path / "r").glob("0*"))


def test_two_runs_started_at_once_get_numbers_of_their_own(sarcasm_cache, tmp_path, plm):
    (first,) = start_runs(sarcasm_cache, tmp_path / "r", "jokes", plm, QUICK)
    record = read_record(first)
    with ThreadPoolExecutor(4) as pool:
        started = [
            pool.submit(run_folders.write_records, tmp_path / "many", [f"run{index}"], [record])
            for index in range(20)
        ]
    numbers = {future.result()[0].name.partition("-")[0] for future in started}
    assert len(numbers) == 20


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"pool": "after_norm"}, r"settings\.pool in .*run\.json is 'after_norm'; expected 'after"),
        (
            {"lr_prompt": -0.5},
            r"settings\.lr_prompt in .*run\.json is -0\.5; expected greater than",
        ),
        ({"data_seed": -3}, r"settings\.data_seed in .*run\.json is -3; expected greater than or"),
    ],
)
def test_a_record_edited_by_hand_is_refused(sarcasm_cache, tmp_path, plm, edit, message):
    (folder,) = start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, QUICK)
    values = json.loads((folder / RECORD).read_text())
    values["settings"] |= edit
    (folder / RECORD).write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=message):
        find_run(tmp_path / "runs", None) and read_record(folder)


@pytest.mark.parametrize(
    "key", ["steps", "dev_ids", "settings.pool", "settings.fold", "features.video.field"]
)
def test_a_record_that_lacks_an_entry_is_refused(sarcasm_cache, tmp_path, plm, key):
    (folder,) = start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, QUICK)
    values = json.loads((folder / RECORD).read_text())
    *path, name = key.split(".")
    owner = values
    for step in path:
        owner = owner[step]
    del owner[name]
    (folder / RECORD).write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=rf"run\.json has no {key}"):
        read_record(folder)


@pytest.mark.parametrize("shots", [6, None])
def test_a_run_does_not_go_on_with_other_examples(sarcasm_cache, tmp_path, plm, shots):
    settings = replace(QUICK, shots=shots)
    (folder,) = start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, settings)
    table = read_examples(sarcasm_cache, "jokes", "train")
    drawn = read_record(folder).example_ids or table.ids
    info = read_dataset(sarcasm_cache, "jokes")
    rest = list(read_examples(sarcasm_cache, "jokes", "test"))
    first = next(example for example in table if example.id == drawn[0])
    elsewhere = next(example for example in table if example.id != drawn[0])
    flipped = "False" if first.answer == "True" else "True"
    for change in ({"text": "blue"}, {"answer": flipped}, {"media": dict(elsewhere.media)}):
        other = [replace(first, **change) if row.id == first.id else row for row in table]
        write_examples(sarcasm_cache, info, {"train": other, "test": rest}, [])
        with pytest.raises(
            RunError, match=r"was started on (6|12) examples of jokes .*extract the"
        ):
            finish_runs([folder], sarcasm_cache, plm, checkpoint_every=9, quiet=True)
    write_examples(sarcasm_cache, info, {"train": list(table), "test": rest}, [])
    finish_runs([folder], sarcasm_cache, plm, checkpoint_every=9, quiet=True)
    assert (folder / PROMPT).is_file()


def test_all_examples_are_those_that_there_were(sarcasm_cache, tmp_path, plm):
    settings = replace(QUICK, shots=None)
    (folder,) = start_runs(sarcasm_cache, tmp_path / "runs", "jokes", plm, settings)
    write_sarcasm(sarcasm_cache, train=11)
    with pytest.raises(RunError, match=r"on 12 examples of jokes .* now holds 11 others"):
        finish_runs([folder], sarcasm_cache, plm, checkpoint_every=9, quiet=True)
