"""Media that cannot be used: recorded with their reason, tried again, and never another's fault."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from promptfuse.cache.checked import file_state
from promptfuse.cache.keys import BLANK_KEY
from promptfuse.cache.store import FeatureSet
from promptfuse.errors import EncoderError, MediumTooLarge
from promptfuse.extract.datasets.ingest import MediumRef
from promptfuse.extract.encoding import EncodingSummary
from promptfuse.extract.media import Limits

from .flat_media import clips, extract, flat_images, ref_of, rows_of
from .media_files import cut_short, grey_frames, tone, write_clip, write_image, write_wav
from .plain_encoders import PlainEncoder


def test_bad_images_are_recorded_with_their_reason_and_the_rest_goes_on(tmp_path: Path):
    good = flat_images(tmp_path, 3)
    empty, text, large = tmp_path / "e.jpg", tmp_path / "t.jpg", tmp_path / "l.png"
    empty.touch()
    text.write_text("hello")
    Pillow.new("RGB", (100, 100)).save(large)
    damaged = cut_short(write_image(tmp_path / "d.jpg", size=(64, 64)), 0.6)
    bad = [ref_of(path) for path in (empty, text, large, damaged)]
    gone = MediumRef(bytes([9] * 32), tmp_path / "gone.jpg", frozenset({"image"}))
    media = [bad[0], good[0], bad[1], gone, good[1], bad[2], good[2], bad[3]]
    summary = extract(
        media, tmp_path / "cache", PlainEncoder("image"), limits=Limits(max_pixels=9000)
    )
    assert set(rows_of(summary)) == {BLANK_KEY, *(ref.key for ref in good)}
    lane = summary["image"]
    reasons = {"empty": 1, "unreadable": 1, "missing": 1, "too-large": 1, "damaged": 1}
    assert lane.failed == reasons
    failures = FeatureSet.open(lane.path).failures
    assert [(f.key, Path(f.path).name) for f in failures] == [
        (bad[0].key, "e.jpg"),
        (bad[1].key, "t.jpg"),
        (gone.key, "gone.jpg"),
        (bad[2].key, "l.png"),
        (bad[3].key, "d.jpg"),
    ]
    again = extract(
        media, tmp_path / "cache", PlainEncoder("image"), limits=Limits(max_pixels=9000)
    )
    assert again["image"].failed == {}
    assert again["image"].failed_before == reasons
    assert again["image"].failures == 5


def test_failures_of_these_media_are_tried_again_when_asked(tmp_path: Path):
    media = flat_images(tmp_path, 4)
    whole = [ref.path.read_bytes() for ref in media]
    for ref in media:
        ref.path.write_bytes(b"no image")
    broken = extract(media, tmp_path / "cache", PlainEncoder("image"))
    for ref, content in zip(media, whole, strict=True):
        ref.path.write_bytes(content)
    assert broken["image"].failed == {"unreadable": 4}
    assert extract(media, tmp_path / "cache", PlainEncoder("image"))["image"].encoded == 0
    encoder = PlainEncoder("image", nan_above=1.5)
    retried = extract(media[:3], tmp_path / "cache", encoder, retry_failures=True)
    assert (retried["image"].encoded, retried["image"].failed) == (2, {"not-finite": 1})
    failures = FeatureSet.open(retried["image"].path).failures  # the fourth is another dataset's
    assert {f.key: f.reason for f in failures} == {
        media[2].key: "not-finite",
        media[3].key: "unreadable",
    }
    assert len(rows_of(retried)) == 3


def test_what_a_limit_refused_is_tried_again_once_the_limit_is_higher(tmp_path: Path):
    media = flat_images(tmp_path, 3)
    media[1].path.write_bytes(b"no image")

    def run(pixels: int) -> EncodingSummary:
        limits = Limits(max_pixels=pixels)
        return extract(media, tmp_path / "cache", PlainEncoder("image"), limits=limits)["image"]

    assert run(18).failed == {"too-large": 2, "unreadable": 1}
    assert (run(18).encoded, run(17).encoded, run(18).failed) == (0, 0, {})
    assert run(19).failed == {"too-large": 2}  # tried, and still refused
    last = run(20)
    assert (last.encoded, last.failed, last.failed_before) == (2, {}, {"unreadable": 1})


def test_features_that_are_not_finite_are_a_failure_of_that_medium(tmp_path: Path):
    media = flat_images(tmp_path, 6)
    summary = extract(media, tmp_path / "cache", PlainEncoder("image", nan_above=3.5))
    assert set(rows_of(summary)) == {BLANK_KEY, *(ref.key for ref in media[:4])}
    lane = summary["image"]
    assert lane.failed == {"not-finite": 2}
    failures = FeatureSet.open(lane.path).failures
    assert [failure.key for failure in failures] == [ref.key for ref in media[4:]]


def test_an_encoder_that_cannot_encode_its_blank_is_no_mediums_fault(tmp_path: Path):
    encoder = PlainEncoder("image", nan_above=-1.0)
    with pytest.raises(EncoderError, match="cannot encode its blank input: field 'mean' of 0000"):
        extract(flat_images(tmp_path, 2), tmp_path / "cache", encoder)


def test_a_file_replaced_between_hashing_and_decoding_is_not_kept_under_the_old_key(
    tmp_path: Path,
):
    media = [replace(ref, state=file_state(ref.path)) for ref in flat_images(tmp_path, 4)]
    old = media[1].path.read_bytes()
    shutil.copy(media[3].path, media[1].path)
    media[2].path.unlink()
    summary = extract(media, tmp_path / "cache", PlainEncoder("image"))
    assert set(rows_of(summary)) == {BLANK_KEY, media[0].key, media[3].key}
    assert summary["image"].failed == {"changed": 2}
    messages = [failure.message for failure in FeatureSet.open(summary["image"].path).failures]
    assert "1.png: replaced or written to since it was hashed" in messages[0]
    assert "2.png: cannot be found any more since it was hashed" in messages[1]
    media[1].path.write_bytes(old)
    hashed_again = [replace(media[1], state=file_state(media[1].path))]
    again = extract(hashed_again, tmp_path / "cache", PlainEncoder("image"), retry_failures=True)
    np.testing.assert_array_equal(rows_of(again)[media[1].key][0], [1] * 3)


class Choosy(PlainEncoder):
    """An encoder that meets what its author did not think of.

    Attributes:
        unprepared, unencoded: what is raised for an image of that value.
    """

    def __init__(self, unprepared: dict[int, Exception], unencoded: dict[int, Exception]) -> None:
        super().__init__("image")
        self.unprepared, self.unencoded = unprepared, unencoded

    def prepare(self, medium):
        item = super().prepare(medium)
        if error := self.unprepared.get(int(item[0])):
            raise error
        return item

    def encode(self, items, *, batch_size):
        for item in items:
            if error := self.unencoded.get(int(item[0])):
                raise error
        return super().encode(items, batch_size=batch_size)


def test_an_unexpected_exception_is_the_failure_of_its_medium_alone(tmp_path: Path):
    media = flat_images(tmp_path, 9)
    encoder = Choosy(
        {2: ZeroDivisionError("by zero"), 3: MemoryError()},
        {5: IndexError("axis 7"), 6: KeyError(1)},
    )
    summary = extract(media, tmp_path / "cache", encoder, batch_size=4)
    kept = [ref.key for value, ref in enumerate(media) if value not in (2, 3, 5, 6)]
    assert set(rows_of(summary)) == {BLANK_KEY, *kept}
    failures = FeatureSet.open(summary["image"].path).failures
    assert [(failure.reason, failure.message) for failure in failures] == [
        ("unexpected", "ZeroDivisionError: by zero"),
        ("unexpected", "MemoryError: "),
        ("unexpected", "IndexError: axis 7"),
        ("unexpected", "KeyError: 1"),
    ]


def test_an_encoder_that_broke_on_the_way_is_no_mediums_fault(tmp_path: Path):
    media = flat_images(tmp_path, 9)

    class Breaking(PlainEncoder):
        def encode(self, items, *, batch_size):
            if len(self.batches) > 1:
                raise RuntimeError("CUDA error: device-side assert")
            return super().encode(items, batch_size=batch_size)

    with pytest.raises(EncoderError, match="with its blank input too: RuntimeError: CUDA error"):
        extract(media, tmp_path / "cache", Breaking("image"), batch_size=3)
    assert extract(media, tmp_path / "cache", PlainEncoder("image"))["image"].failures == 0


def test_a_clip_without_sound_still_gives_its_pictures(tmp_path: Path):
    silent = ref_of(write_clip(tmp_path / "s.mp4", videos=[grey_frames(5)]), "video", "audio")
    spoken = ref_of(write_wav(tmp_path / "w.wav", tone(1, 16_000)), "video", "audio")
    text = tmp_path / "t.mp4"
    text.write_text("no clip")
    broken = ref_of(text, "video", "audio")
    encoders = PlainEncoder("video"), PlainEncoder("audio")
    summary = extract([silent, broken, spoken], tmp_path / "cache", *encoders)
    assert set(rows_of(summary, "video")) == {BLANK_KEY, silent.key}
    assert set(rows_of(summary, "audio")) == {BLANK_KEY, spoken.key}
    assert summary["video"].failed == {"unreadable": 1, "no-video-stream": 1}
    assert summary["audio"].failed == {"unreadable": 1, "no-audio-stream": 1}


def test_frames_that_an_encoder_refuses_do_not_cost_the_sound(tmp_path: Path):
    class Refusing(PlainEncoder):
        @property
        def decoding(self):
            def refuse(pixels: np.ndarray) -> np.ndarray:
                raise MediumTooLarge(f"{pixels.shape[1]} pixels wide")

            return replace(super().decoding, transform_frame=refuse)

    media = clips(tmp_path, 2)
    summary = extract(media, tmp_path / "cache", Refusing("video"), PlainEncoder("audio"))
    assert summary["video"].failed == {"too-large": 2}
    assert summary["audio"].encoded == 2
