import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from promptfuse.cache.manifest import FieldSpec
from promptfuse.errors import EncoderError, MediumEmpty, UnknownName
from promptfuse.extract.encoders import EncoderOptions, audio, load_encoder
from promptfuse.extract.encoders.audio import ARCHITECTURES, AudioEncoder, batches
from promptfuse.extract.media import Image, Waveform
from promptfuse.extract.room import Room

from ..tiny_models import WIDTH, save_listener

FIELD = "last_hidden_state"
LENGTHS = (800, 801, 1600, 3333, 90, 40, 1600)


def encoder_of(folder: Path, **options) -> AudioEncoder:
    chosen = EncoderOptions(**{"device": "cpu", "storage_dtype": "float32", **options})
    encoder = load_encoder("audio", str(folder), options=chosen)
    assert isinstance(encoder, AudioEncoder)
    return encoder


def waveforms(lengths: tuple[int, ...] = LENGTHS) -> list[Waveform]:
    generator = np.random.default_rng(3)
    return [Waveform(generator.normal(0.02, 0.1, size=n).astype(np.float32), 1600) for n in lengths]


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("model_type", sorted(ARCHITECTURES))
def test_padding_cannot_change_a_feature(model_type: str, norm: str, tmp_path: Path):
    encoder = encoder_of(save_listener(tmp_path / model_type, model_type, norm=norm))
    clips = [encoder.prepare(waveform) for waveform in waveforms()]
    together = encoder.encode(clips, batch_size=8)
    for clip, row in zip(clips, together, strict=True):
        (alone,) = encoder.encode([clip], batch_size=1)
        np.testing.assert_allclose(row[FIELD], alone[FIELD], atol=2e-5)


def test_only_models_that_padding_cannot_change_are_padded(tmp_path: Path):
    def padding(model_type: str, norm: str, **config) -> str:
        folder = save_listener(
            tmp_path / f"{model_type}{norm}{len(config)}", model_type, norm=norm, **config
        )
        return encoder_of(folder).padding

    assert padding("wav2vec2", "layer") == "masked"
    assert padding("wav2vec2", "group") == "none"
    assert padding("data2vec-audio", "layer") == "none"
    assert padding("wav2vec2-conformer", "layer") == "none"
    assert padding("hubert", "layer", conv_pos_batch_norm=True) == "none"


def test_padding_a_group_norm_model_would_change_its_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    encoder = encoder_of(save_listener(tmp_path / "wav2vec2"))
    clips = [encoder.prepare(waveform) for waveform in waveforms((800, 1600))]
    alone = encoder.encode(clips, batch_size=8)
    monkeypatch.setattr(encoder, "padding", "masked")
    padded = encoder.encode(clips, batch_size=8)
    assert np.abs(alone[0][FIELD] - padded[0][FIELD]).max() > 0.1


def test_features_are_the_librarys_own(tmp_path: Path):
    folder = save_listener(tmp_path / "wav2vec2")
    encoder = encoder_of(folder)
    (waveform,) = waveforms((1600,))
    (row,) = encoder.encode([encoder.prepare(waveform)], batch_size=1)
    model = transformers.Wav2Vec2Model.from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(waveform.samples, sampling_rate=1600, return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).last_hidden_state[0]
    np.testing.assert_allclose(row[FIELD], expected, atol=1e-5)


def test_sound_is_normalised_only_where_the_checkpoint_says_so(tmp_path: Path):
    (waveform,) = waveforms((1600,))
    scaled = encoder_of(save_listener(tmp_path / "a")).prepare(waveform)
    assert scaled.mean() == pytest.approx(0, abs=1e-5)
    assert scaled.std() == pytest.approx(1, abs=1e-3)
    raw = encoder_of(save_listener(tmp_path / "b", normalise=False)).prepare(waveform)
    np.testing.assert_array_equal(raw, waveform.samples)


def test_a_clip_gives_as_many_vectors_as_the_convolutions(tmp_path: Path):
    encoder = encoder_of(save_listener(tmp_path / "wav2vec2"))
    # kernels 10, 3, 3 and strides 5, 4, 4: one vector needs ((3 - 1) 4 + 3 - 1) 5 + 10 samples
    assert encoder.shortest_samples == 60
    assert [encoder.vectors(n) for n in (60, 139, 140, 1600)] == [1, 1, 2, 20]
    rows = encoder.encode([encoder.prepare(w) for w in waveforms((60, 140, 1600))], batch_size=3)
    assert [row[FIELD].shape for row in rows] == [(1, WIDTH), (2, WIDTH), (20, WIDTH)]


def test_a_clip_shorter_than_the_receptive_field_is_extended_with_zeros(tmp_path: Path):
    encoder = encoder_of(save_listener(tmp_path / "wav2vec2"))
    prepared = encoder.prepare(waveforms((7,))[0])
    assert prepared.shape == (60,)
    assert np.count_nonzero(prepared) == 7
    assert encoder.encode([prepared], batch_size=1)[0][FIELD].shape == (1, WIDTH)


def test_a_sound_track_without_a_sample_is_empty(tmp_path: Path):
    encoder = encoder_of(save_listener(tmp_path / "wav2vec2"))
    with pytest.raises(MediumEmpty, match="no sample"):
        encoder.prepare(Waveform(np.zeros(0, np.float32), 1600))


def test_another_sample_rate_is_refused(tmp_path: Path):
    encoder = encoder_of(save_listener(tmp_path / "wav2vec2"))
    with pytest.raises(EncoderError, match="takes 1600 Hz, the waveform has 16000 Hz"):
        encoder.prepare(Waveform(np.zeros(100, np.float32), 16_000))
    with pytest.raises(TypeError, match="Image"):
        encoder.prepare(Image(np.zeros((2, 2, 3), np.uint8)))


def test_fields_and_the_blank_row(tmp_path: Path):
    encoder = load_encoder(
        "audio", str(save_listener(tmp_path / "w")), options=EncoderOptions(device="cpu")
    )
    assert encoder.fields == (FieldSpec(FIELD, "float16", (WIDTH,), ragged=True),)
    (row,) = encoder.encode([encoder.blank()], batch_size=1)
    assert row[FIELD].shape == (encoder.blank_steps, WIDTH) == (100, WIDTH)
    assert row[FIELD].dtype == np.float16
    assert np.isfinite(row[FIELD]).all()


def test_identity_says_how_sound_is_fed(tmp_path: Path):
    identity = encoder_of(save_listener(tmp_path / "w", norm="layer")).identity
    assert identity["padding"] == "masked"
    assert identity["sample_rate_hz"] == 1600
    assert identity["preprocessing"]["do_normalize"] is True
    assert len(identity["weights_sha256"]) == 64


@pytest.mark.parametrize(
    ("mixed", "expected"),
    [(True, [[2, 3], [0, 4], [1]]), (False, [[2, 3], [0], [4], [1]])],
)
def test_batches_are_short_clips_first(mixed: bool, expected: list[list[int]]):
    lengths = [20, 90, 10, 10, 21]
    assert batches(lengths, batch_size=2, most=1000, mixed=mixed) == expected


def test_a_batch_of_long_clips_is_small():
    assert batches([400, 400, 400], batch_size=8, most=1000, mixed=True) == [[0, 1], [2]]
    assert batches([4000, 4000], batch_size=8, most=1000, mixed=True) == [[0], [1]]


def test_a_long_clip_takes_several_places(tmp_path: Path):
    encoder = encoder_of(save_listener(tmp_path / "w"))
    lengths = (1, 16_000, 16_001, 60_000)
    assert [encoder.units(np.zeros(n, np.float32)) for n in lengths] == [1, 1, 2, 4]


def test_another_field_is_refused(tmp_path: Path):
    with pytest.raises(UnknownName, match="'pooler'; choose one of: last_hidden_state"):
        encoder_of(save_listener(tmp_path / "w"), fields=("pooler",))


def test_a_sampling_rate_that_is_none_is_named(tmp_path: Path):
    folder = save_listener(tmp_path / "w")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sampling_rate": None}))
    with pytest.raises(EncoderError, match="sampling_rate None"):
        _ = encoder_of(folder).decoding


def test_batches_that_do_not_fit_into_memory_together_run_one_by_one(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(audio, "_ROOM", Room(20 * 2**20))
    encoder = encoder_of(save_listener(tmp_path / "w"))
    model, running, most = encoder.load(), [], []
    forward = model.forward

    def counting(*arguments):
        running.append(True)
        most.append(len(running))
        time.sleep(0.02)
        states = forward(*arguments)
        running.pop()
        return states

    monkeypatch.setattr(model, "forward", counting)
    clips = [encoder.prepare(clip) for clip in waveforms((16_000,) * 6)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda clip: encoder.encode([clip], batch_size=1), clips))
    assert max(most) == 1
