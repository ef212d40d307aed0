"""Decoded media as rows, and encoders that run live on them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from promptfuse.cache.keys import BLANK_KEY
from promptfuse.cache.store import FeatureSet
from promptfuse.commands.params import run_params
from promptfuse.errors import EncoderError, UnknownName
from promptfuse.extract.datasets.ingest import MediumRef
from promptfuse.extract.encoders import (
    EncoderOptions,
    encoder_of,
    live_spec_of,
    load_encoder,
    load_live,
    spec_of,
)
from promptfuse.extract.media import Frames, FrameSampling, Image, Waveform
from promptfuse.extract.pipeline import default_shard_rows, extract_features, manifest_of
from promptfuse.library.workspace import DatasetRow
from promptfuse.train.settings import ParamsSettings

from ..media_files import make_clip, write_image
from ..tiny_models import SIDE, WIDTH, save_listener, save_open_clip, save_tower, write_processor

FLOAT32 = EncoderOptions(storage_dtype="float32", device="cpu")
RATE_HZ = 1600


def picture(height: int = 40, width: int = 56, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def sound(samples: int = 2000) -> np.ndarray:
    """Values that int16 holds exactly."""
    noise = np.random.default_rng(samples).integers(-9000, 9000, samples)
    return (noise / 32_768).astype(np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    cropping = save_tower(root / "crop", "dinov2")
    write_processor(
        cropping,
        image_processor_type="BitImageProcessor",
        size={"shortest_edge": SIDE + 8},
        do_center_crop=True,
        crop_size={"height": SIDE, "width": SIDE},
        image_mean=[0.4, 0.5, 0.6],
        image_std=[0.1, 0.2, 0.3],
    )
    return {
        "vit": str(save_tower(root / "vit")),
        "crop": str(cropping),
        "open_clip": f"open_clip:{save_open_clip(root / 'clip')}",
        "wav2vec2": str(save_listener(root / "wav2vec2")),
        "raw": str(save_listener(root / "raw", norm="layer", normalise=False)),
    }


def decoded_by(modality: str, spec: str, medium) -> torch.Tensor:
    """The row of one medium in the decoded set, as a float32 batch for the live encoder."""
    family = "samples" if modality == "audio" else "pixels"
    encoder = load_encoder(modality, f"{family}:{spec}")
    (row,) = encoder.encode([encoder.prepare(medium)], batch_size=4)
    (field,) = encoder.fields
    assert row[family].dtype == field.dtype
    assert row[family].shape[field.ragged :] == field.shape
    values = torch.from_numpy(row[family]).float()
    if modality == "audio":
        return values[None] / 32_768
    return values if modality == "video" else values[None]


def features_by(modality: str, spec: str, medium, field: str) -> np.ndarray:
    options = EncoderOptions(fields=(field,), storage_dtype="float32", device="cpu")
    encoder = load_encoder(modality, spec, options=options)
    return encoder.encode([encoder.prepare(medium)], batch_size=4)[0][field]


IMAGE_CASES = [
    ("vit", "pooler"),
    ("vit", "cls"),
    ("vit", "sequence"),
    ("crop", "average"),
    ("open_clip", "pooler"),
    ("open_clip", "embedding"),
    ("open_clip", "average"),
]


@pytest.mark.parametrize(("model", "field"), IMAGE_CASES)
def test_a_live_tower_gives_what_is_cached(models, model: str, field: str):
    live = load_live("image", models[model], field=field, device="cpu")
    found = live(decoded_by("image", models[model], Image(picture())))
    expected = features_by("image", models[model], Image(picture()), field)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    assert (live.field, live.width) == (field, expected.shape[-1])


@pytest.mark.parametrize("model", ["vit", "open_clip"])
def test_live_on_the_frames_of_a_video(models, model: str):
    encoder = load_encoder("video", models[model], options=FLOAT32)
    raw = [picture(seed=seed) for seed in range(3)]
    given = Frames(np.stack([encoder.decoding.transform_frame(one) for one in raw]), np.arange(3.0))
    expected = encoder.encode([encoder.prepare(given)], batch_size=2)[0]["pooler"]
    pixels = load_encoder("video", f"pixels:{models[model]}")
    kept = np.stack([pixels.decoding.transform_frame(one) for one in raw])
    assert kept.dtype == np.uint8
    found = load_live("video", models[model], device="cpu")(torch.from_numpy(kept).float())
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("model", ["wav2vec2", "raw"])
@pytest.mark.parametrize("samples", [20, 2000])
def test_a_live_listener_gives_what_is_cached(models, model: str, samples: int):
    heard = Waveform(sound(samples), RATE_HZ)
    live = load_live("audio", models[model], device="cpu")
    found = live(decoded_by("audio", models[model], heard))
    expected = features_by("audio", models[model], heard, "last_hidden_state")
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    assert (live.id, live.field, live.width) == (model, "last_hidden_state", WIDTH)


def test_rows_of_a_batch_do_not_affect_each_other(models):
    live = load_live("audio", models["wav2vec2"], device="cpu")
    batch = torch.from_numpy(np.stack([sound(1000), 0.1 * sound(1000)[::-1]]))
    alone = torch.cat([live(one[None]) for one in batch])
    torch.testing.assert_close(live(batch), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("modality", "model"), [("image", "vit"), ("image", "open_clip"), ("audio", "wav2vec2")]
)
def test_gradients_reach_the_input_and_the_weights(models, modality: str, model: str):
    live = load_live(modality, models[model], device="cpu")
    medium = Image(picture()) if modality == "image" else Waveform(sound(), RATE_HZ)
    decoded = decoded_by(modality, models[model], medium).requires_grad_()
    own = live.weights()
    assert not any(weight.requires_grad for weight in own.values())
    assert {str(weight.dtype) for weight in own.values()} == {"torch.float32"}
    given = {name: (1.01 * weight).requires_grad_() for name, weight in own.items()}
    found = live(decoded, given)
    found.square().sum().backward()
    assert decoded.grad is not None
    assert decoded.grad.abs().sum() > 0
    reached = [
        name for name, one in given.items() if one.grad is not None and one.grad.abs().sum() > 0
    ]
    unused = set(given) - set(reached)
    # a pooled class token leaves nothing else idle; open_clip's projection follows its pooler
    assert len(unused) <= 2, unused
    assert not torch.allclose(found, live(decoded))  # the given weights count
    torch.testing.assert_close(live(decoded), live(decoded, own))  # and its own came back
    assert not any(weight.requires_grad for weight in live.weights().values())


def test_embeddings_of_open_clip_train_the_projection(models):
    live = load_live("image", models["open_clip"], field="embedding", device="cpu")
    weights = {name: one.clone().requires_grad_() for name, one in live.weights().items()}
    live(decoded_by("image", models["open_clip"], Image(picture())), weights).sum().backward()
    assert weights["proj"].grad.abs().sum() > 0


def test_the_weights_are_those_that_params_counts(models, capsys):
    encoders = {"encoder": models["vit"], "audio_encoder": models["wav2vec2"]}
    counts = run_params(ParamsSettings(**encoders))["finetune"]
    sizes = [
        sum(weight.numel() for weight in load_live(modality, models[model]).weights().values())
        for modality, model in (("image", "vit"), ("audio", "wav2vec2"))
    ]
    assert counts == [sizes[0], sum(sizes)]


def test_the_default_field_and_the_valid_ones(models):
    assert load_live("video", models["vit"], device="cpu").field == "pooler"
    with pytest.raises(UnknownName, match="encoder vit 'middle'; choose one of: average, cls"):
        load_live("image", models["vit"], field="middle")
    with pytest.raises(EncoderError, match=r"'pixels:.*vit' gives decoded media"):
        load_live("image", f"pixels:{models['vit']}", field="pixels")


@pytest.mark.parametrize("file_format", ["arrow", "hdf5"])
def test_extraction_writes_decoded_media(models, tmp_path: Path, file_format: str):
    write_image(tmp_path / "a.png")
    make_clip(tmp_path)
    media = [
        MediumRef(b"a" * 32, tmp_path / "a.png", frozenset({"image"})),
        MediumRef(b"b" * 32, tmp_path / "clip.mp4", frozenset({"video", "audio"})),
    ]
    encoders = {
        "image": load_encoder("image", f"pixels:{models['vit']}"),
        "video": load_encoder(
            "video",
            f"pixels:{models['open_clip']}",
            options=EncoderOptions(sampling=FrameSampling(count=3)),
        ),
        "audio": load_encoder("audio", f"samples:{models['wav2vec2']}"),
    }
    done = extract_features(media, encoders, tmp_path, format=file_format, progress=False)
    assert sum(lane.failures for lane in done.values()) == 0
    sets = {name: FeatureSet.open(lane.path) for name, lane in done.items()}
    assert sets["image"].read([b"a" * 32, BLANK_KEY], "pixels").values.shape == (2, 3, SIDE, SIDE)
    frames = sets["video"].read([BLANK_KEY, b"b" * 32], "pixels")
    assert frames.offsets.tolist() == [0, 3, 6]
    assert frames[0].max() == 0
    assert frames[1].max() > 0
    silence, heard = (sets["audio"].read([key], "samples") for key in (BLANK_KEY, b"b" * 32))
    assert silence.values.shape == (5 * RATE_HZ,)
    assert not silence.values.any()
    assert heard.values.dtype == np.int16
    assert heard.values.any()
    assert all(found.manifest.decoded for found in sets.values())


def test_no_weights_are_needed(models, tmp_path: Path):
    for model, family, modality in (
        ("vit", "pixels", "image"),
        ("open_clip", "pixels:open_clip", "video"),
        ("wav2vec2", "samples", "audio"),
    ):
        folder = Path(models[model].removeprefix("open_clip:"))
        copy = tmp_path / folder.name
        copy.mkdir()
        for path in folder.glob("*.json"):
            (copy / path.name).write_bytes(path.read_bytes())
        here = manifest_of(load_encoder(modality, f"{family}:{copy}"))
        there = manifest_of(load_encoder(modality, f"{family}:{folder}"))
        assert here.fingerprint == there.fingerprint
        assert spec_of(here) == f"{family}:{copy}"
        assert manifest_of(encoder_of(here)).fingerprint == here.fingerprint
        assert live_spec_of(there) == models[model]
        assert live_spec_of(manifest_of(load_encoder(modality, models[model]))) == models[model]


def test_only_what_decides_the_pixels_is_in_the_identity(models, tmp_path: Path):
    def made(**changes) -> str:
        folder = tmp_path / "vit"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_bytes((Path(models["vit"]) / "config.json").read_bytes())
        write_processor(folder, **changes)
        return manifest_of(load_encoder("image", f"pixels:{folder}")).fingerprint

    usual = made()
    assert made(image_mean=[0, 0, 0], rescale_factor=1.0) == usual
    assert made(resample=3) != usual
    assert made(size={"height": 16, "width": 16}) != usual


def test_images_of_changing_size_are_refused(models, tmp_path: Path):
    folder = tmp_path / "vit"
    folder.mkdir()
    (folder / "config.json").write_bytes((Path(models["vit"]) / "config.json").read_bytes())
    write_processor(folder, do_resize=False)
    with pytest.raises(EncoderError, match=r"different sizes, \[\(3, 120, 160\), \(3, 224, 224\)"):
        load_encoder("image", f"pixels:{folder}")


def test_each_family_has_its_modalities(models):
    with pytest.raises(EncoderError, match=r"of audio: samples:.*wav2vec2"):
        load_encoder("audio", f"pixels:{models['wav2vec2']}")
    with pytest.raises(EncoderError, match=r"of video: .*pixels:.*vit"):
        load_encoder("video", f"samples:{models['vit']}")
    with pytest.raises(EncoderError, match=r"'wav2vec2' model and .* one that looks at images"):
        load_encoder("image", f"pixels:{models['wav2vec2']}")
    with pytest.raises(EncoderError, match=r"'vit' model and .* one that listens"):
        load_encoder("audio", f"samples:{models['vit']}")
    options = EncoderOptions(fields=("pooler",))
    with pytest.raises(UnknownName, match="'pooler'; choose one of: pixels"):
        load_encoder("image", f"pixels:{models['vit']}", options=options)


def test_full_scale_is_clipped_and_heavy_rows_make_small_shards(models, tmp_path: Path):
    listener = load_encoder("audio", f"samples:{models['wav2vec2']}")
    prepared = listener.prepare(Waveform(np.array([-2, -1, 0.5, 1, 2], np.float32), RATE_HZ))
    assert prepared.tolist() == [-32768, -32768, 16384, 32767, 32767]
    folder = tmp_path / "vit"
    transformers.ViTConfig().save_pretrained(folder)
    size = {"height": 224, "width": 224}
    write_processor(folder, size=size)
    assert default_shard_rows(load_encoder("video", f"pixels:{folder}")) == 55  # of 1.2 MB
    assert json.loads((folder / "config.json").read_text())["model_type"] == "vit"


def test_a_bare_family_takes_the_datasets_own_encoder():
    assert DatasetRow().encoder_for("video", "pixels") == "pixels:google/vit-base-patch16-224-in21k"
    assert DatasetRow().encoder_for("audio", "samples") == "samples:facebook/wav2vec2-base-960h"
    assert (
        DatasetRow(encoder={"image": "own/vit"}).encoder_for("image", "pixels") == "pixels:own/vit"
    )
    assert DatasetRow().encoder_for("image", "pixels:other/vit") == "pixels:other/vit"


def test_the_package_stays_light():
    script = (
        "import sys\nfrom promptfuse.extract.encoders import load_live\n"
        "heavy = {'torch', 'transformers', 'open_clip'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
