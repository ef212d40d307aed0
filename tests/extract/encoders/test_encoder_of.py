"""The encoder that made a feature set, found again from the set's manifest."""

from pathlib import Path

import pytest

from promptfuse.cache.manifest import Manifest
from promptfuse.errors import EncoderError
from promptfuse.extract.encoders import EncoderOptions, encoder_of, load_encoder, spec_of
from promptfuse.extract.media import FrameSampling
from promptfuse.extract.pipeline import manifest_of

from ..tiny_models import save_listener, save_open_clip, save_tower


@pytest.mark.parametrize(
    "options",
    [
        EncoderOptions(),
        EncoderOptions(fields=("cls", "average"), storage_dtype="float32"),
        EncoderOptions(sampling=FrameSampling(rule="fps", fps=2.0, max_frames=9)),
    ],
)
@pytest.mark.parametrize("modality", ["image", "video"])
def test_a_tower_is_found_again(tmp_path: Path, modality, options):
    manifest = manifest_of(
        load_encoder(modality, str(save_tower(tmp_path / "vit")), options=options)
    )
    assert manifest_of(encoder_of(manifest)).fingerprint == manifest.fingerprint


def test_audio_and_open_clip_are_found_again(tmp_path: Path, monkeypatch):
    save_listener(tmp_path / "wav2vec2")
    folder = save_open_clip(tmp_path / "clip")
    monkeypatch.chdir(tmp_path)
    audio = manifest_of(load_encoder("audio", "wav2vec2"))
    clip = manifest_of(load_encoder("image", f"open_clip:{folder.name}"))
    monkeypatch.chdir("/")
    assert spec_of(audio) == str(tmp_path / "wav2vec2")
    assert manifest_of(encoder_of(audio)).fingerprint == audio.fingerprint
    assert manifest_of(encoder_of(clip)).fingerprint == clip.fingerprint


def test_another_encoder_is_refused(tmp_path: Path):
    manifest = manifest_of(load_encoder("image", str(save_tower(tmp_path / "vit"))))
    other = save_tower(tmp_path / "other", seed=1)
    with pytest.raises(EncoderError, match=r"other would not make the image features .*weights"):
        encoder_of(manifest, spec=str(other))


def test_a_set_that_does_not_say_where_its_encoder_was(tmp_path: Path):
    found = manifest_of(load_encoder("image", str(save_tower(tmp_path / "vit"))))
    bare = Manifest(found.modality, found.identity, found.fields)
    with pytest.raises(EncoderError, match="'vit' was; name it with --encoder image=HUB_ID"):
        encoder_of(bare)
