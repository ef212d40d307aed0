import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from promptfuse.errors import EncoderError
from promptfuse.extract.encoders import EncoderOptions, load_encoder
from promptfuse.extract.encoders import transformers_image as built
from promptfuse.extract.encoders.image import share_towers
from promptfuse.extract.encoders.transformers_image import KNOWN, Layout, known_layout
from promptfuse.pretrained import resolve

from ..tiny_models import TOWERS, save_tower


@pytest.mark.parametrize("model_type", sorted(set(TOWERS) - set(KNOWN)))
def test_another_tower_is_built_and_looked_at(model_type: str, tmp_path: Path):
    checkpoint = resolve(str(save_tower(tmp_path / model_type, model_type)))
    assert known_layout(checkpoint) is None
    probed = built.probe(built.build_model(checkpoint, EncoderOptions(device="cpu")), checkpoint)
    assert (probed.width, probed.pooler, probed.cls, probed.usual) == (32, True, False, ("pooler",))


@pytest.mark.parametrize("model_type", sorted(KNOWN))
def test_what_the_files_say_is_what_the_model_gives(
    model_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    checkpoint = resolve(str(save_tower(tmp_path / model_type, model_type)))
    known = known_layout(checkpoint)
    tower = built.build_model(checkpoint, EncoderOptions(device="cpu"))
    monkeypatch.setattr(built, "known_layout", lambda checkpoint: None)
    probed = built.probe(tower, checkpoint)
    assert known is not None
    assert (known.width, known.pooler, known.cls) == (probed.width, probed.pooler, probed.cls)
    output = tower.outputs(torch.rand(1, 3, 32, 32))
    if known.pooler and known.cls:
        first = output.last_hidden_state[:, 0]
        assert torch.equal(output.pooler_output, first) == known.pooler_is_cls


def test_a_pooler_counts_only_if_its_weights_are_stored(tmp_path: Path):
    from transformers import ViTConfig, ViTForImageClassification

    ViTForImageClassification(ViTConfig(**TOWERS["vit"])).save_pretrained(tmp_path / "vit")
    layout = known_layout(resolve(str(tmp_path / "vit")))
    assert layout == Layout(width=32, pooler=False, cls=True)
    assert layout.valid == ("cls", "average", "sequence")
    assert layout.usual == ("cls",)


def test_usual_fields():
    both = Layout(width=4, pooler=True, cls=True)
    assert both.usual == ("pooler", "cls")
    assert dataclasses.replace(both, pooler_is_cls=True).usual == ("pooler",)
    assert dataclasses.replace(both, cls=False).usual == ("pooler",)
    assert dataclasses.replace(both, pooler=False, cls=False).usual == ("average",)


def test_a_tower_that_masks_at_random_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit_mae"}))
    with pytest.raises(EncoderError, match="vit_mae masks patches at random"):
        known_layout(resolve(str(tmp_path)))


def test_a_width_left_to_the_library_is_not_guessed(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    assert known_layout(resolve(str(tmp_path))) is None


def test_images_and_video_of_one_tower_share_its_model(tmp_path: Path):
    tower = str(save_tower(tmp_path / "vit"))
    options = EncoderOptions(device="cpu", storage_dtype="float32")
    image, video = (load_encoder(name, tower, options=options) for name in ("image", "video"))
    other = load_encoder("video", str(save_tower(tmp_path / "other", seed=1)), options=options)
    halved = load_encoder("video", tower, options=EncoderOptions(device="cpu"))
    share_towers([image, video, other, halved])
    assert video.load() is image.load()
    assert len({id(encoder.load()) for encoder in (image, video, other, halved)}) == 3
    alone = load_encoder("video", tower, options=options)
    [row] = video.encode([video.blank()], batch_size=8)
    [expected] = alone.encode([alone.blank()], batch_size=8)
    assert all(np.array_equal(row[name], expected[name]) for name in expected)
