import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image as Picture
from safetensors.torch import save_file
from timm.data.transforms_factory import create_transform

from promptfuse.errors import EncoderError, UnknownName, UnsafeWeights
from promptfuse.extract.encoders import EncoderOptions, encoder_of, load_encoder, load_live
from promptfuse.extract.encoders.timm_image import _repository
from promptfuse.extract.media import Image
from promptfuse.extract.pipeline import manifest_of

TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
PREPROCESSING = {
    "input_size": [3, 32, 32],
    "crop_pct": 0.9,
    "interpolation": "bicubic",
    "mean": [0.5, 0.4, 0.3],
    "std": [0.5, 0.6, 0.7],
}
PICTURE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)


def save(
    folder: Path, architecture: str, *, wrapped: bool = False, **model_args
) -> torch.nn.Module:
    """Save a model with its classifier, as timm or as transformers' timm_wrapper does."""
    torch.manual_seed(0)
    model = timm.create_model(architecture, num_classes=3, **model_args).eval()
    folder.mkdir()
    config = {"architecture": architecture, "num_classes": 3, "model_args": model_args}
    if wrapped:
        config |= {"model_type": "timm_wrapper", "do_pooling": True}
    config["pretrained_cfg"] = PREPROCESSING
    (folder / "config.json").write_text(json.dumps(config))
    prefix = "timm_model." if wrapped else ""
    weights = {prefix + name: weight.contiguous() for name, weight in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    return model


@pytest.fixture
def vit(tmp_path: Path) -> torch.nn.Module:
    return save(tmp_path / "vit", "vit_tiny_patch16_224", **TINY)


def own_input() -> torch.Tensor:
    preprocess = create_transform(**{**PREPROCESSING, "input_size": (3, 32, 32)})
    return preprocess(Picture.fromarray(PICTURE))[None]


def encode(encoder, medium=None) -> dict[str, np.ndarray]:
    prepared = encoder.prepare(medium or Image(PICTURE))
    (row,) = encoder.encode([prepared], batch_size=2)
    return row


FIELDS = EncoderOptions(
    fields=("pooler", "cls", "average", "sequence"), storage_dtype="float32", device="cpu"
)


def test_a_tower_gives_what_timm_gives(vit: torch.nn.Module, tmp_path: Path):
    row = encode(load_encoder("image", f"timm:{tmp_path / 'vit'}", options=FIELDS))
    with torch.inference_mode():
        states = vit.forward_features(own_input())
        pooled = vit.forward_head(states, pre_logits=True)
    assert row["sequence"].shape == (17, 24)
    np.testing.assert_array_equal(row["sequence"], states[0].numpy())
    np.testing.assert_allclose(row["pooler"], pooled[0], atol=1e-6)
    np.testing.assert_array_equal(row["cls"], states[0, 0].numpy())
    np.testing.assert_allclose(row["average"], states[0].mean(0).numpy(), atol=1e-6)


@pytest.mark.parametrize("spec", ["timm:{}", "{}"])
def test_a_wrapped_folder_is_the_same_tower(vit: torch.nn.Module, tmp_path: Path, spec: str):
    save(tmp_path / "wrapped", "vit_tiny_patch16_224", wrapped=True, **TINY)
    ours = encode(load_encoder("image", spec.format(tmp_path / "wrapped"), options=FIELDS))
    plain = encode(load_encoder("image", f"timm:{tmp_path / 'vit'}", options=FIELDS))
    np.testing.assert_array_equal(ours["sequence"], plain["sequence"])


@pytest.mark.parametrize("architecture", ["resnet10t", "test_efficientnet", "test_convnext"])
def test_a_tower_without_a_class_token_gives_its_pooled_vector(tmp_path: Path, architecture: str):
    model = save(tmp_path / "net", architecture)
    options = EncoderOptions(storage_dtype="float32", device="cpu")
    encoder = load_encoder("image", str(tmp_path / "net"), options=options)
    row = encode(encoder)
    with torch.inference_mode():
        pooled = model.forward_head(model.forward_features(own_input()), pre_logits=True)
    np.testing.assert_allclose(row["pooler"], pooled[0], atol=1e-6)
    assert encoder.fields[0].shape == row["pooler"].shape
    with pytest.raises(UnknownName, match="'cls'; choose one of: average, pooler, sequence"):
        load_encoder("image", str(tmp_path / "net"), options=EncoderOptions(fields=("cls",)))


def test_it_runs_live_on_its_decoded_pixels(vit: torch.nn.Module, tmp_path: Path):
    folder = tmp_path / "vit"
    pixels = encode(load_encoder("image", f"pixels:timm:{folder}"))["pixels"]
    assert (pixels.dtype, pixels.shape) == (np.uint8, (3, 32, 32))
    bare = encode(load_encoder("image", f"pixels:{folder}"))["pixels"]
    np.testing.assert_array_equal(bare, pixels)
    live = load_live("image", f"timm:{folder}", device="cpu")
    decoded = torch.from_numpy(pixels)[None].float().requires_grad_()
    vector = live(decoded)
    cached = encode(load_encoder("image", f"timm:{folder}", options=FIELDS))["pooler"]
    np.testing.assert_allclose(vector[0].detach().numpy(), cached, atol=1e-5)
    vector.sum().backward()
    assert decoded.grad is not None
    assert decoded.grad.abs().sum() > 0


def test_it_is_found_again_from_its_manifest(vit: torch.nn.Module, tmp_path: Path):
    made = manifest_of(load_encoder("video", f"timm:{tmp_path / 'vit'}"))
    assert made.identity["family"] == "timm"
    assert made.identity["preprocessing"]["crop_mode"] == "center"  # timm's own default, said
    assert manifest_of(encoder_of(made)).fingerprint == made.fingerprint


def test_a_name_is_a_repository_of_the_hub():
    assert _repository("vit_tiny_patch16_224") == "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    assert _repository("vit_tiny_patch16_224.augreg_in21k") == (
        "timm/vit_tiny_patch16_224.augreg_in21k"
    )
    with pytest.raises(UnknownName, match=r"timm model 'vit_teeny_patch16_224'.*did you mean"):
        _repository("vit_teeny_patch16_224")
    with pytest.raises(UnknownName, match=r"no_such'.*vit_tiny_patch16_224\.augreg_in21k"):
        _repository("vit_tiny_patch16_224.no_such")


def test_a_folder_that_does_not_fit_is_refused(vit: torch.nn.Module, tmp_path: Path):
    folder = tmp_path / "vit"
    save_file({"head.weight": torch.zeros(3, 24)}, folder / "model.safetensors")
    with pytest.raises(EncoderError, match=r"lacks .* of the model's tensors, such as 'cls_token"):
        load_encoder("image", f"timm:{folder}")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnsafeWeights, match="only as pickle"):
        load_encoder("image", f"timm:{folder}")
    with pytest.raises(EncoderError, match="cannot encode audio"):
        load_encoder("audio", f"timm:{folder}")
