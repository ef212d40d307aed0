import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import load_file, save_file

from promptfuse.errors import EncoderError, UnknownName, UnsafeWeights
from promptfuse.extract.encoders import Encoder, EncoderOptions, load_encoder
from promptfuse.extract.encoders.open_clip_image import find_source
from promptfuse.extract.media import Image

from ..tiny_models import OPEN_CLIP, TOKENS, WIDTH, save_open_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_open_clip(tmp_path_factory.mktemp("models") / "clip")


def encoder_of(spec: object, **options) -> Encoder:
    chosen = EncoderOptions(**{"device": "cpu", "storage_dtype": "float32", **options})
    return load_encoder("image", f"open_clip:{spec}", options=chosen)


def picture() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def test_features_are_the_librarys_own(folder: Path):
    encoder = encoder_of(folder)
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    pixels = preprocess(Pillow.fromarray(picture()))[None]
    prepared = encoder.prepare(Image(picture()))
    np.testing.assert_array_equal(encoder.load().inputs(prepared[None]), pixels)
    assert prepared.dtype == np.uint8
    (row,) = encoder.encode([prepared], batch_size=1)
    with torch.no_grad():
        expected = model.encode_image(pixels)[0]
        np.testing.assert_allclose(row["embedding"], expected, atol=1e-5)
        projected = torch.from_numpy(row["pooler"]) @ model.visual.proj
    np.testing.assert_allclose(projected, expected, atol=1e-5)


def test_fields_have_the_widths_before_and_after_the_projection(folder: Path):
    fields = ("pooler", "embedding", "cls", "average", "sequence")
    encoder = encoder_of(folder, fields=fields)
    shapes = {spec.name: spec.shape for spec in encoder.fields}
    assert shapes == {
        "pooler": (WIDTH,),
        "embedding": (24,),
        "cls": (WIDTH,),
        "average": (WIDTH,),
        "sequence": (TOKENS, WIDTH),
    }
    (row,) = encoder.encode([encoder.blank()], batch_size=1)
    assert {name: value.shape for name, value in row.items()} == shapes
    np.testing.assert_allclose(row["cls"], row["sequence"][0])
    np.testing.assert_allclose(row["average"], row["sequence"].mean(0), atol=1e-6)
    assert [spec.name for spec in encoder_of(folder).fields] == ["pooler", "embedding"]


@pytest.mark.parametrize(
    ("vision", "width"),
    [
        ({"layers": [1, 1, 1, 1], "width": 8, "image_size": 32, "head_width": 16}, 24),
        (
            {
                **OPEN_CLIP["vision_cfg"],
                "attentional_pool": True,
                "attn_pooler_heads": 2,
                "output_tokens": True,
            },
            24,
        ),
    ],
    ids=["resnet", "attentional-pool"],
)
def test_towers_of_one_step_give_one_vector(tmp_path: Path, vision: dict, width: int):
    encoder = encoder_of(save_open_clip(tmp_path / "clip", vision_cfg=vision))
    assert {spec.name: spec.shape for spec in encoder.fields} == {"pooler": (width,)}
    (row,) = encoder.encode([encoder.blank()], batch_size=1)
    model = open_clip.create_model(f"local-dir:{tmp_path / 'clip'}").eval()
    with torch.no_grad():
        expected = model.visual(encoder.load().inputs(encoder.blank()[None]))
    expected = expected[0] if isinstance(expected, tuple) else expected
    np.testing.assert_allclose(row["pooler"], expected[0], atol=1e-5)


def test_a_model_by_name_takes_its_weights_from_a_file(tmp_path: Path):
    weights = tmp_path / "weights.safetensors"
    save_file({"logit_scale": torch.zeros(1)}, weights)
    source = find_source(f"ViT-B-32:{weights}")
    assert source.shapes["pooler"] == (768,)
    assert source.shapes["sequence"] == (50, 768)
    assert source.preprocessing["size"] == 224
    with pytest.raises(EncoderError, match=r"weights\.safetensors: holds no tensor of an image"):
        encoder_of(f"ViT-B-32:{weights}").load()


def test_preprocessing_and_activation_are_part_of_the_identity(folder: Path, tmp_path: Path):
    base = encoder_of(folder).identity
    assert base["preprocessing"]["mean"] == [0.4, 0.5, 0.6]
    assert base["preprocessing"]["interpolation"] == "bilinear"
    quick = encoder_of(save_open_clip(tmp_path / "clip", quick_gelu=True)).identity
    assert {name for name in base if base[name] != quick[name]} == {"config_sha256"}


def test_a_tags_own_activation_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch):
    class Found:
        revision = "abc"

    found = Found()
    found.folder = folder
    asked = []
    monkeypatch.setattr(
        "promptfuse.extract.encoders.open_clip_image.resolve",
        lambda spec, **options: asked.append(spec) or found,
    )
    usual = find_source("ViT-B-32")
    assert (usual.pretrained, usual.tower["gelu"], usual.locate()[1]) == ("openai", True, "abc")
    other = find_source("ViT-B-32:laion2b_s34b_b79k")
    assert (other.tower["gelu"], other.locate()[1]) == (False, "abc")
    assert asked[0] != asked[1]


def test_unknown_models_and_tags_list_the_valid_ones():
    with pytest.raises(UnknownName, match=r"unknown open_clip model 'ViT-Z-1'.*ViT-B-32"):
        encoder_of("ViT-Z-1")
    with pytest.raises(UnknownName, match=r"'no_such_tag'; choose one of: .*laion2b_s34b_b79k"):
        encoder_of("ViT-B-32:no_such_tag")
    with pytest.raises(UnknownName, match=r"'\.\./ViT-B-32'"):
        encoder_of("../ViT-B-32")


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path):
    with pytest.raises(UnsafeWeights, match=r"weights\.pt: only \.safetensors"):
        encoder_of(f"ViT-B-32:{tmp_path / 'weights.pt'}")
    with pytest.raises(EncoderError, match=r"absent\.safetensors: no such weights file"):
        encoder_of(f"ViT-B-32:{tmp_path / 'absent.safetensors'}")
    copy = tmp_path / "pickled"
    copy.mkdir()
    (copy / "open_clip_config.json").write_text((folder / "open_clip_config.json").read_text())
    (copy / "open_clip_pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UnsafeWeights, match=r"open_clip_pytorch_model\.bin"):
        encoder_of(copy)


def test_a_configuration_without_a_tower_is_named(tmp_path: Path):
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"embed_dim": 3}}))
    save_file({"a": torch.zeros(1)}, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(EncoderError, match="no vision_cfg or embed_dim"):
        encoder_of(tmp_path)


def test_weights_that_lack_a_tensor_are_refused(folder: Path, tmp_path: Path):
    (tmp_path / "open_clip_config.json").write_text((folder / "open_clip_config.json").read_text())
    tensors = load_file(folder / "open_clip_model.safetensors")
    tensors.pop("visual.ln_post.weight")
    save_file(tensors, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(EncoderError, match=r"ln_post\.weight"):
        encoder_of(tmp_path).load()


def test_it_cannot_listen(folder: Path):
    with pytest.raises(EncoderError, match="cannot encode audio"):
        load_encoder("audio", f"open_clip:{folder}")
