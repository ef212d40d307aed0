import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from promptfuse.cache.fingerprint import explain_difference
from promptfuse.cache.manifest import FieldSpec
from promptfuse.errors import EncoderError, PretrainedError, UnknownName
from promptfuse.extract.encoders import Encoder, EncoderOptions, load_encoder
from promptfuse.extract.encoders import encoder_of as encoder_again
from promptfuse.extract.media import Frames, FrameSampling, Image
from promptfuse.extract.pipeline import manifest_of

from ..tiny_models import SIDE, TOKENS, TOWERS, WIDTH, save, save_tower, write_processor


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tower(tmp_path_factory.mktemp("models") / "vit")


def encoder_of(folder: Path, **options) -> Encoder:
    return load_encoder(
        options.pop("modality", "image"),
        str(folder),
        options=EncoderOptions(**{"device": "cpu", "storage_dtype": "float32", **options}),
    )


def pictures(count: int, *, height: int = 40, width: int = 56) -> list[np.ndarray]:
    generator = np.random.default_rng(7)
    shape = (count, height, width, 3)
    return list(generator.integers(0, 256, shape, dtype=np.uint8))


def encode(encoder: Encoder, images: list[np.ndarray], *, batch_size: int = 8):
    return encoder.encode([encoder.prepare(Image(p)) for p in images], batch_size=batch_size)


def test_features_are_the_librarys_own(vit: Path):
    rows = encode(encoder_of(vit, fields=("sequence", "average", "cls", "pooler")), pictures(3))
    model = transformers.ViTModel.from_pretrained(vit).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(vit)
    pixels = [torch.from_numpy(p).permute(2, 0, 1) for p in pictures(3)]
    with torch.no_grad():
        output = model(**processor(images=pixels, return_tensors="pt"))
    for i, row in enumerate(rows):
        states = output.last_hidden_state[i]
        np.testing.assert_allclose(row["sequence"], states, atol=1e-5)
        np.testing.assert_allclose(row["cls"], states[0], atol=1e-5)
        np.testing.assert_allclose(row["average"], states.mean(0), atol=1e-5)
        np.testing.assert_allclose(row["pooler"], output.pooler_output[i], atol=1e-5)


CROPPING = {"size": {"shortest_edge": 40}, "crop_size": {"height": SIDE, "width": SIDE}}
FLOATS = {"size": {"height": 24, "width": 24}}  # rescaled before it is resized


@pytest.mark.parametrize(
    ("changes", "dtype"),
    [
        *(({"resample": n}, "uint8") for n in range(4)),
        (
            {"image_processor_type": "CLIPImageProcessor", "do_center_crop": True, **CROPPING},
            "uint8",
        ),
        (
            {"image_processor_type": "BeitImageProcessor", "do_center_crop": True, **CROPPING},
            "uint8",
        ),
        ({"image_processor_type": "DINOv3ViTImageProcessor", **FLOATS}, "float32"),
        ({"do_pad": True, "pad_size": {"height": 48, "width": 40}}, "float32"),
        ({"do_resize": False, "do_normalize": False}, "uint8"),
    ],
    ids=str,
)
def test_preprocessing_in_two_halves_is_the_librarys(tmp_path: Path, changes, dtype: str):
    folder = save_tower(tmp_path / "vit")
    write_processor(folder, **changes)
    model = encoder_of(folder).load()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    for height, width in ((48, 64), (64, 47), (20, 30), (3, 50), (1, 1)):
        (picture,) = pictures(1, height=height, width=width)
        prepared = model.transform(picture)
        assert prepared.dtype == dtype
        pixels = torch.from_numpy(picture).permute(2, 0, 1)
        expected = processor(images=pixels, input_data_format="channels_first", return_tensors="np")
        found = model.inputs(prepared[None])
        np.testing.assert_allclose(found, expected["pixel_values"], atol=1e-6)


def test_a_batch_that_does_not_fit_is_halved_and_later_ones_are_small(vit, monkeypatch, capsys):
    encoder = encoder_of(vit)
    together, model, asked = encode(encoder, pictures(7)), encoder.load(), []

    def outputs(batch, **given):
        asked.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return type(model).outputs(model, batch, **given)

    monkeypatch.setattr(model, "outputs", outputs)
    for _ in range(2):
        for row, other in zip(encode(encoder, pictures(7)), together, strict=True):
            np.testing.assert_allclose(row["pooler"], other["pooler"], atol=1e-6)
    assert asked == [7, 3, 1, 1, 1, 1, 1, 1, 1] + [1] * 7
    assert (
        "out of memory: going on with 1 media a pass; a smaller --batch" in capsys.readouterr().err
    )


def test_usual_fields_are_pooler_and_cls_in_float16(vit: Path):
    encoder = load_encoder("image", str(vit), options=EncoderOptions(device="cpu"))
    assert encoder.fields == (
        FieldSpec("pooler", "float16", (WIDTH,)),
        FieldSpec("cls", "float16", (WIDTH,)),
    )
    (row,) = encode(encoder, pictures(1))
    assert {name: (v.dtype.name, v.shape) for name, v in row.items()} == {
        "pooler": ("float16", (WIDTH,)),
        "cls": ("float16", (WIDTH,)),
    }


def test_the_sequence_has_the_length_that_preprocessing_gives(vit: Path):
    encoder = encoder_of(vit, fields=("sequence",))
    assert encoder.fields == (FieldSpec("sequence", "float32", (TOKENS, WIDTH)),)
    assert encode(encoder, pictures(1))[0]["sequence"].shape == (TOKENS, WIDTH)


def test_what_shares_a_batch_does_not_change_a_feature(vit: Path):
    encoder = encoder_of(vit)
    together = encode(encoder, pictures(7), batch_size=7)
    for batch_size in (1, 3):
        for row, other in zip(
            together, encode(encoder, pictures(7), batch_size=batch_size), strict=True
        ):
            np.testing.assert_allclose(row["pooler"], other["pooler"], atol=1e-6)


def test_frames_of_different_clips_share_batches(vit: Path):
    video, image = encoder_of(vit, modality="video"), encoder_of(vit)
    frames = pictures(6)
    alone = encode(image, frames)
    transform = video.decoding.transform_frame
    assert transform is not None
    prepared = np.stack([transform(frame) for frame in frames])
    clips = [
        video.prepare(Frames(prepared[span], np.arange(len(prepared[span]), dtype=float)))
        for span in (slice(0, 1), slice(1, 4), slice(4, 6))
    ]
    rows = video.encode(clips, batch_size=4)
    assert [row["cls"].shape for row in rows] == [(1, WIDTH), (3, WIDTH), (2, WIDTH)]
    assert [video.units(clip) for clip in clips] == [1, 3, 2]
    joined = np.concatenate([row["cls"] for row in rows])
    np.testing.assert_allclose(joined, [row["cls"] for row in alone], atol=1e-6)


@pytest.mark.parametrize(
    ("sampling", "frames"),
    [(FrameSampling("uniform", count=6), 6), (FrameSampling("fps", fps=2.0, max_frames=64), 10)],
)
def test_a_blank_video_has_the_frames_of_five_seconds(
    vit: Path, sampling: FrameSampling, frames: int
):
    encoder = encoder_of(vit, modality="video", sampling=sampling)
    assert encoder.decoding.video == sampling
    assert encoder.blank_steps == frames
    (row,) = encoder.encode([encoder.blank()], batch_size=4)
    assert row["pooler"].shape == (frames, WIDTH)
    black = encode(encoder_of(vit), [np.zeros((9, 9, 3), np.uint8)])[0]["pooler"]
    np.testing.assert_allclose(row["pooler"], np.tile(black, (frames, 1)), atol=1e-6)


@pytest.mark.parametrize("compute", ["bfloat16", "float16"])
def test_lower_precision_comes_near(vit: Path, compute: str):
    exact = encode(encoder_of(vit), pictures(2))
    rough = encode(encoder_of(vit, compute_dtype=compute), pictures(2))
    for a, b in zip(exact, rough, strict=True):
        np.testing.assert_allclose(a["pooler"], b["pooler"], atol=0.05)
        assert not np.array_equal(a["pooler"], b["pooler"])


def test_an_image_three_pixels_high_is_not_taken_for_three_channels(vit: Path):
    encoder = encoder_of(vit)
    (picture,) = pictures(1, height=3, width=40)
    tall = np.repeat(np.repeat(picture, 8, axis=0), 8, axis=1)
    near = encoder.prepare(Image(picture)).astype(float) - encoder.prepare(Image(tall))
    assert np.abs(near).mean() < 12
    assert encoder.prepare(Image(picture)).shape == (3, SIDE, SIDE)


def test_the_vision_part_of_an_image_and_text_model_is_taken(tmp_path: Path):
    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 64,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    config = transformers.CLIPConfig(text_config=text, vision_config=TOWERS["clip_vision_model"])
    model = transformers.CLIPModel(config).eval()
    encoder = encoder_of(save(model, tmp_path / "clip"), fields=("pooler",))
    (row,) = encode(encoder, pictures(1))
    pixels = encoder.load().inputs(encoder.prepare(Image(pictures(1)[0]))[None])
    with torch.no_grad():
        expected = model.vision_model(pixel_values=pixels).pooler_output[0]
    np.testing.assert_allclose(row["pooler"], expected, atol=1e-5)


def test_an_architecture_that_is_not_listed_is_built_to_look_at(tmp_path: Path):
    config = transformers.RegNetConfig(
        hidden_sizes=[8, 16], depths=[1, 1], embedding_size=8, groups_width=8
    )
    encoder = encoder_of(save(transformers.RegNetModel(config), tmp_path / "regnet"))
    assert [spec.name for spec in encoder.fields] == ["pooler"]
    assert encode(encoder, pictures(1))[0]["pooler"].shape == (16,)


def test_weights_that_are_missing_are_not_drawn_at_random(tmp_path: Path):
    folder = save_tower(tmp_path / "vit")
    tensors = load_file(folder / "model.safetensors")
    lost = next(name for name in tensors if "attention" in name)
    kept = {name: value for name, value in tensors.items() if name != lost}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    encoder = encoder_of(folder)
    with pytest.raises(EncoderError, match=r"lacks 1 of the model's tensors.*random"):
        encoder.load()


def test_a_pooler_that_is_not_stored_is_not_offered(tmp_path: Path):
    model = transformers.ViTModel(transformers.ViTConfig(**TOWERS["vit"]), add_pooling_layer=False)
    folder = save(model, tmp_path / "vit")
    assert [spec.name for spec in encoder_of(folder).fields] == ["cls"]
    encode(encoder_of(folder), pictures(1))
    with pytest.raises(UnknownName, match="unknown field of encoder vit 'pooler'"):
        encoder_of(folder, fields=("pooler",))


def test_a_missing_processor_is_named(tmp_path: Path):
    folder = save_tower(tmp_path / "vit")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(PretrainedError, match=r"'vit': no preprocessor_config\.json"):
        encoder_of(folder)


def test_weights_of_another_shape_are_an_error(tmp_path: Path):
    folder = save_tower(tmp_path / "vit")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    with pytest.raises(EncoderError, match="'vit' cannot be loaded"):
        encoder_of(folder).load()


def test_the_identity_tells_weights_preprocessing_and_fields_apart(vit: Path, tmp_path: Path):
    base = encoder_of(vit)

    def differences(other: Encoder) -> list[str]:
        return [line.split(":")[0] for line in explain_difference(other.identity, base.identity)]

    moved = shutil.copytree(vit, tmp_path / "moved" / "vit")
    assert differences(encoder_of(moved)) == []
    assert differences(encoder_of(save_tower(tmp_path / "a" / "vit", seed=1))) == ["weights_sha256"]
    assert differences(encoder_of(vit, compute_dtype="float16")) == ["compute_dtype"]
    assert differences(encoder_of(vit, storage_dtype="float16")) == ["storage_dtype"]
    assert differences(encoder_of(vit, fields=("cls", "pooler"))) == []
    assert differences(encoder_of(vit, fields=("cls",))) == ["fields"]
    write_processor(moved, resample=3)
    assert differences(encoder_of(moved)) == ["preprocessing.resample"]
    three, four = (
        encoder_of(vit, modality="video", sampling=FrameSampling("uniform", count=n))
        for n in (3, 4)
    )
    assert explain_difference(three.identity, four.identity) == [
        'blank: "4 black frames" here, "3 black frames" wanted',
        "sampling.count: 4 here, 3 wanted",
    ]


def test_how_jpegs_are_decoded_is_part_of_the_identity_where_it_is_not_in_full(vit, tmp_path):
    assert "decode" not in encoder_of(vit).identity
    scaled = encoder_of(vit, decode="scaled")
    assert {**encoder_of(vit).identity, "decode": "scaled"} == scaled.identity
    assert scaled.decoding.least == (SIDE, SIDE)
    assert encoder_of(vit, modality="video", decode="scaled").identity == (
        encoder_of(vit, modality="video").identity
    )
    pixels = load_encoder("image", f"pixels:{vit}", options=EncoderOptions(decode="scaled"))
    assert (pixels.identity["decode"], pixels.decoding.least) == ("scaled", (SIDE, SIDE))
    for encoder in (scaled, pixels, encoder_of(vit)):
        again = encoder_again(manifest_of(encoder), device="cpu")
        assert (again.identity, again.decoding) == (encoder.identity, encoder.decoding)
    folder = shutil.copytree(vit, tmp_path / "vit")
    write_processor(folder, size={"shortest_edge": 40})
    assert encoder_of(folder, decode="scaled").decoding.least == (40, 40)
    write_processor(folder, do_resize=False)
    with pytest.raises(EncoderError, match="'vit': decode is 'scaled', but its preprocessing does"):
        encoder_of(folder, decode="scaled")
    with pytest.raises(UnknownName, match="way to decode 'half'; choose one of: full, scaled"):
        EncoderOptions(decode="half")


def test_the_device_is_not_part_of_the_identity(vit: Path):
    assert encoder_of(vit, device="auto").identity == encoder_of(vit).identity
