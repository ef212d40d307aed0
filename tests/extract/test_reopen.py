"""Encoders found again from what the cache says of them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from promptfuse.cache.examples import Example
from promptfuse.cache.keys import file_sha256
from promptfuse.cache.manifest import FieldSpec, Manifest
from promptfuse.errors import PromptFuseError
from promptfuse.extract import encoders
from promptfuse.extract.encoders import EncoderOptions, load_encoder
from promptfuse.extract.pipeline import manifest_of
from promptfuse.extract.reopen import live_encoders, media_decoder
from promptfuse.pretrained import Pretrained

from .media_files import write_image
from .tiny_models import SIDE, save_tower


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        ({"sampling": "x"}, "sampling of the video features [0-9a-f]{16} is 'x'"),
        ({"sampling": {"rule": "fps", "fps": 1e9, "max_frames": 10**9}}, "max_frames must be 1 to"),
        ({"sampling": {"rule": "fps", "fps": "many"}}, "fps in sampling of .* is 'many'"),
        ({"sampling": {"frames": 8}}, "uniform sampling takes a count"),
        ({"compute_dtype": ["float32"]}, r"compute_dtype of .* is \['float32'\]; expected a text"),
        ({"storage_dtype": "float1"}, "unknown storage dtype 'float1'"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(tmp_path, identity, message):
    spec = str(save_tower(tmp_path / "vit"))
    forged = Manifest("video", identity, (FieldSpec("cls", "float16", (8,)),), {"spec": spec})
    with pytest.raises(PromptFuseError, match=message):
        encoders.encoder_of(forged)


@pytest.mark.parametrize("spec", ["owner/vit", "pixels:owner/vit"])
def test_the_revision_that_was_recorded_is_asked_for_again(spec, tmp_path: Path, monkeypatch):
    folder = save_tower(tmp_path / "vit")
    asked: list[str | None] = []

    def resolve(name: str, *, revision: str | None = None, patterns: object = None) -> Pretrained:
        asked.append(revision)
        return Pretrained(folder, id=name, revision="0123abcd")

    monkeypatch.setattr(encoders, "resolve", resolve)
    options = EncoderOptions(revision="v1.0", device="cpu")
    manifest = manifest_of(load_encoder("image", spec, options=options))
    assert set(asked) == {"v1.0"}
    asked.clear()
    features = SimpleNamespace(manifest=manifest, fingerprint=manifest.fingerprint)
    assert live_encoders("cpu")(features, "cls").id == "owner/vit"
    key = file_sha256(write_image(tmp_path / "a.png", size=(50, 40)))
    example = Example("1", "", media={"image": key}, paths={"image": "a.png"})
    pixels = media_decoder(tmp_path)(features, example)
    assert pixels.shape == (3, SIDE, SIDE)
    assert pixels.dtype == np.float32
    assert set(asked) == {"0123abcd"}
