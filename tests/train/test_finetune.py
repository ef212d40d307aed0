"""`finetune`: the encoders run live on decoded media and are trained, the language model is not."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from promptfuse.errors import CacheError, ConfigError, WidthMismatch
from promptfuse.train.checkpoint import load_trained
from promptfuse.train.data import FusionData, open_sources
from promptfuse.train.data.selection import select
from promptfuse.train.evaluate import evaluate_run
from promptfuse.train.fusion.methods import Fusion
from promptfuse.train.fusion.parameters import initial_parameters
from promptfuse.train.loop import run_losses, task_for
from promptfuse.train.presets import PRESETS, Preset, Presets
from promptfuse.train.record import CHECKPOINT, LOG, PROMPT, read_record
from promptfuse.train.runs.finish import finish_runs
from promptfuse.train.runs.start import start_runs
from promptfuse.train.settings import EvalSettings, TrainSettings

from .small_cache import WIDTH, names_of, write_features, write_questions, write_sarcasm
from .small_live import SIDE, LiveEncoders, write_decoded
from .small_plms import SMALL, embedded

QUICK = TrainSettings(
    method="finetune", shots=6, max_steps=5, epochs=9, batch_size=4, lr_other=0.01
)
CLIPS = names_of("train", 12) + names_of("test", 6)
IMAGE_WEIGHTS = WIDTH * 3 * SIDE * SIDE + WIDTH + 2
SOUND_WEIGHTS = WIDTH * 8 + WIDTH + 2


@pytest.fixture
def live():
    return LiveEncoders()


@pytest.fixture
def jokes(tmp_path):
    """A cache with both the encoders' outputs and the decoded media."""
    cache = tmp_path / "cache"
    write_sarcasm(cache)
    for modality in ("video", "audio"):
        write_features(cache, modality, CLIPS)
        write_decoded(cache, modality, CLIPS)
    return cache


@pytest.fixture
def shapes(tmp_path):
    cache = tmp_path / "cache"
    write_questions(cache)
    write_decoded(cache, "image", names_of("train", 5) + names_of("val", 2))
    return cache


def run(cache, runs, plm, live, settings=QUICK, *, dataset="jokes", every=100, **options):
    selection = select(cache, dataset, settings.split, settings.inputs)
    folders = start_runs(selection, runs, plm, settings, live=live)
    finish_runs(folders, cache, plm, checkpoint_every=every, quiet=True, live=live, **options)
    return folders


def trained_of(folder):
    return load_trained(folder / PROMPT)[0]


def opened(cache, plm, live, *, dataset="jokes", settings=QUICK, runs=1, **changes):
    selection = select(cache, dataset, "train", settings.inputs)
    sources = open_sources(selection, plm, live)
    fusion = replace(Fusion.of("finetune"), **changes)
    data = FusionData(selection.table, sources, plm, fusion)
    parameters = initial_parameters(
        fusion,
        plm,
        range(runs),
        prompt_length=0,
        modalities=list(selection.features),
        prompt_init="tokens",
        encoders={one.modality: one.encoder.weights() for one in sources},
    )
    return selection, data, parameters


@pytest.mark.parametrize("family", sorted(SMALL))
def test_it_trains_and_answers(jokes, tmp_path, live, family):
    plm = SMALL[family]()
    settings = replace(QUICK, max_steps=80, epochs=99)
    (folder,) = run(jokes, tmp_path / "runs", plm, live, settings)
    losses = [json.loads(line)["loss"] for line in (folder / LOG).read_text().splitlines()]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    found = evaluate_run(folder, jokes, plm, EvalSettings(), quiet=True, live=live)
    assert found.metrics.examples == 6
    record = read_record(folder)
    assert record.trainable_parameters == IMAGE_WEIGHTS + SOUND_WEIGHTS
    assert record.settings.prompt_length == 0
    assert {name: use.field for name, use in record.features.items()} == {
        "video": "pooler",
        "audio": "last_hidden_state",
    }
    assert record.features["video"].encoder == "small"
    assert record.settings.inputs.live


def test_the_trained_weights_are_the_encoders_own(jokes, tmp_path, plm, live):
    (folder,) = run(jokes, tmp_path / "runs", plm, live)
    trained = trained_of(folder)
    assert tuple(trained.pop("prompt").shape) == (0, WIDTH)
    pretrained = {
        f"encoder.{modality}.{name}": weight
        for modality, inputs in (("video", 3 * SIDE * SIDE), ("audio", 8))
        for name, weight in next(
            one.weights() for one in live.made if one.weights()["layer.weight"].shape[1] == inputs
        ).items()
    }
    assert set(trained) == set(pretrained)
    for name, weight in pretrained.items():
        moved = not torch.equal(trained[name], weight)
        assert moved == (not name.endswith("never.used")), name


def test_gradients_reach_the_encoders_and_nothing_else(jokes, plm, live):
    selection, data, drawn = opened(jokes, plm, live)
    parameters = {name: one.clone().requires_grad_() for name, one in drawn.items()}
    task = task_for(plm, selection.info.labels, selection.table)
    run_losses(plm, data, task, parameters, np.arange(4)).sum().backward()
    reached = {name for name, one in parameters.items() if one.grad is not None and one.grad.any()}
    layers = {
        f"encoder.{one}.layer.{kind}" for one in ("video", "audio") for kind in ("weight", "bias")
    }
    assert reached == layers
    assert not any(weight.requires_grad for weight in plm.model.parameters())


def test_runs_side_by_side_are_the_same_runs_alone(jokes, tmp_path, plm, live):
    together = run(jokes, tmp_path / "both", plm, live, replace(QUICK, seeds=2))
    for seed, folder in enumerate(together):
        (alone,) = run(jokes, tmp_path / f"{seed}", plm, live, replace(QUICK, seed=seed))
        for name, weight in trained_of(alone).items():
            torch.testing.assert_close(trained_of(folder)[name], weight, atol=1e-5, rtol=1e-4)
    first, second = (trained_of(one)["encoder.video.layer.weight"] for one in together)
    assert not torch.allclose(first, second)  # each its own examples in its own order


@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_resumed_run_ends_with_the_same_bits(jokes, tmp_path, plm, live, stop_at):
    class Interrupted(Exception):
        pass

    (whole,) = run(jokes, tmp_path / "whole", plm, live)
    calls = []

    def interrupt():
        calls.append(1)
        if len(calls) == stop_at:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(jokes, tmp_path / "cut", plm, live, every=2, after_step=interrupt)
    (cut,) = (tmp_path / "cut").glob("[0-9]*")
    assert (cut / CHECKPOINT).is_file()
    changed = LiveEncoders(seed=1)  # the encoder's files, after the run was started
    finish_runs([cut], jokes, plm, checkpoint_every=2, quiet=True, live=changed)
    expected = trained_of(whole)
    assert all(torch.equal(one, expected[name]) for name, one in trained_of(cut).items())
    assert (cut / LOG).read_bytes() == (whole / LOG).read_bytes()


@pytest.mark.parametrize("pool", ["after-norm", "before-norm", "none"])
def test_live_vectors_are_fed_in_as_cached_ones_are(jokes, plm, live, pool):
    """The encoder as it was pretrained, run live or run once into the cache: the same segments."""
    _, data, parameters = opened(jokes, plm, live, pool=pool)
    indices = np.arange(5)
    found = data.segments(indices, parameters)
    without = data.segments(indices)  # no parameters: as pretrained
    for modality, segment, same in zip(("video", "audio"), found, without, strict=False):
        torch.testing.assert_close(segment.vectors, same.vectors)
        source = next(one for one in data.sources if one.modality == modality)
        for row, index in enumerate(indices):
            (raw,) = source.features.manifest.fields
            stored = source.features.read_rows(data.rows[modality][[index]], raw.name).values
            given = torch.from_numpy(stored).float()
            steps = source.encoder(given if modality == "video" else given[None] / 32768)
            steps = steps.flatten(0, -2)[None]
            if pool == "before-norm":
                expected = embedded(plm, steps.mean(1, keepdim=True))
            elif pool == "after-norm":
                expected = embedded(plm, steps).mean(1, keepdim=True)
            else:
                expected = embedded(plm, steps)
            vectors = segment.vectors[row][segment.present[row]]
            torch.testing.assert_close(vectors, expected[0], atol=1e-5, rtol=1e-5)


def test_batches_of_the_encoder(jokes, shapes, plm, live, monkeypatch):
    """Frames share a pass, clips of one length do, a medium that comes twice is encoded once."""
    monkeypatch.setattr("promptfuse.train.live._IMAGES_AT_ONCE", 3)
    _, data, parameters = opened(jokes, plm, live, runs=2)
    data.segments(np.array([0, 1, 2, 0, 0, 0]), parameters)
    video, audio = live.made
    frames = [
        data.sources[0].features.read_rows(data.rows["video"][[at]], "pixels").values
        for at in range(6)
    ]
    first, second = sum(map(len, frames[:3])), len(frames[0])
    assert sum(shape[0] for shape in video.batches) == first + second
    assert max(shape[0] for shape in video.batches) == 3
    lengths = [shape[1] for shape in audio.batches]
    assert sum(shape[0] for shape in audio.batches) == 4
    assert len(lengths) == len(set(lengths[:-1])) + 1  # one pass a length and run
    _, data, parameters = opened(shapes, plm, live, dataset="shapes")
    live.made[-1].batches.clear()
    data.segments(np.array([0, 1, 2, 3]), parameters)  # two questions an image
    assert live.made[-1].batches == [(2, 3, SIDE, SIDE)]


@pytest.mark.parametrize("field", ["pooler", "sequence"])
def test_the_field_is_the_live_encoders(shapes, tmp_path, plm, live, field):
    settings = replace(QUICK, fields={"image": field})
    (folder,) = run(shapes, tmp_path / "runs", plm, live, settings, dataset="shapes")
    assert read_record(folder).features["image"].field == field
    assert {one.field for one in live.made} == {field}
    found = evaluate_run(folder, shapes, plm, EvalSettings(batch_size=3), quiet=True, live=live)
    assert found.metrics.examples == 4
    assert live.made[-1].field == field


def test_another_width_needs_a_map(jokes, tmp_path, plm):
    narrow = LiveEncoders(width=8)
    with pytest.raises(WidthMismatch, match=r"video encoder small gives width 8.*--width-fix"):
        run(jokes, tmp_path / "runs", plm, narrow)
    (folder,) = run(jokes, tmp_path / "runs", plm, narrow, replace(QUICK, width_fix="orthogonal"))
    assert read_record(folder).trainable_parameters == 8 * (3 * SIDE * SIDE + 8) + 2 * 8 + 2 * 2


def test_each_kind_of_method_finds_its_own_sets(jokes, tmp_path, plm, live):
    usual = select(jokes, "jokes", "train", TrainSettings().inputs)
    ours = select(jokes, "jokes", "train", QUICK.inputs)
    names = {
        kind: [one.manifest.fields[0].name for one in found.features.values()]
        for kind, found in (("usual", usual), ("live", ours))
    }
    assert names == {"usual": ["pooler", "last_hidden_state"], "live": ["pixels", "samples"]}
    write_decoded(jokes, "video", CLIPS, encoder="other")
    with pytest.raises(CacheError, match=r"several sets of decoded video hold jokes.*\(other\)"):
        select(jokes, "jokes", "train", QUICK.inputs)
    again = select(jokes, "jokes", "train", TrainSettings().inputs)  # nothing ambiguous here
    assert again.features["video"].fingerprint == usual.features["video"].fingerprint
    wanted = {"video": ours.features["video"].fingerprint}
    chosen = select(jokes, "jokes", "train", replace(QUICK, features=wanted).inputs)
    assert chosen.features["video"].fingerprint == wanted["video"]


def test_missing_decoded_media_name_the_command(tmp_path, plm):
    write_sarcasm(tmp_path)
    for modality in ("video", "audio"):
        write_features(tmp_path, modality, CLIPS)
    with pytest.raises(
        CacheError,
        match=r"no decoded media, which finetune needs, of jokes; run: pfcli extract --modality "
        r"video,audio --encoder video=pixels --encoder audio=samples --dataset jokes",
    ):
        select(tmp_path, "jokes", "train", QUICK.inputs)
    with pytest.raises(
        CacheError,
        match=r"no decoded audio of jokes; run: pfcli extract --modality audio --encoder samples ",
    ):
        select(tmp_path, "jokes", "train", replace(QUICK, modalities=("audio",)).inputs)
    write_decoded(tmp_path, "video", CLIPS[2:])
    with pytest.raises(CacheError, match="the decoded video of jokes lack 2 of 12 media"):
        select(tmp_path, "jokes", "train", QUICK.inputs)


def test_decoded_media_alone_are_no_features(tmp_path):
    write_sarcasm(tmp_path)
    write_decoded(tmp_path, "video", CLIPS)
    with pytest.raises(CacheError, match="holds no features of jokes; run: pfcli extract --modal"):
        select(tmp_path, "jokes", "train", TrainSettings().inputs)
    assert list(select(tmp_path, "jokes", "train", QUICK.inputs).features) == ["video"]


def test_a_preset_may_set_encoders_up_otherwise(jokes, tmp_path, plm, live):
    own = Preset(
        lr_prompt=0.1, batch_size=4, epochs=9, max_steps=5, lr_encoder=3e-4, encoder_steps=2
    )
    presets = Presets({**PRESETS, "own": own}, few="own")
    settings = TrainSettings(method="finetune", shots=6)
    selection = select(jokes, "jokes", "train", settings.inputs)
    (folder,) = start_runs(selection, tmp_path / "runs", plm, settings, live=live, presets=presets)
    record = read_record(folder)
    assert record.settings.preset == "own"
    assert (record.settings.lr_other, record.steps) == (3e-4, 2)
    assert own.training("layer").max_steps == 5
    papers = PRESETS["mustard_full"]
    assert papers.training("encoder") == papers  # table 8 has one rate for all but the prompt


def test_without_an_encoder_it_is_refused(jokes, tmp_path, plm):
    with pytest.raises(ConfigError, match=r"video features \w+ are decoded media, and no encoder"):
        run(jokes, tmp_path / "runs", plm, None)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("option", "changes"),
    [
        ("--visibility", {"visibility": "blind"}),
        ("--prompt-position", {"prompt_position": "end"}),
        ("--prompt-encoder", {"prompt_encoder": "lstm"}),
        ("--train-norms", {"train_norms": True}),
    ],
)
def test_options_of_a_prompt_are_refused(jokes, tmp_path, plm, live, option, changes):
    with pytest.raises(ConfigError, match=f"{option} belongs to methods with a prompt; finetune"):
        run(jokes, tmp_path / "runs", plm, live, replace(QUICK, **changes))
