import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from promptfuse.cache.checked import MEMO_NAME, file_state
from promptfuse.cache.commits import slice_name
from promptfuse.cache.keys import BLANK_KEY, file_sha256
from promptfuse.cache.store import FeatureSet, feature_set_path
from promptfuse.cache.verify import repair
from promptfuse.errors import CacheError, ConfigError, EncoderError, MediumTooLarge, Stopped
from promptfuse.extract import pipeline, prepare
from promptfuse.extract.datasets.ingest import MediumRef
from promptfuse.extract.encoding import EncodingSummary
from promptfuse.extract.media import Limits
from promptfuse.extract.pipeline import default_shard_rows, extract_features, manifest_of
from promptfuse.stopping import Stop

from .media_files import cut_short, grey_frames, tone, write_clip, write_image, write_wav
from .plain_encoders import PlainEncoder
from .tiny_models import save_listener, save_tower

CLIP: frozenset[str] = frozenset({"video", "audio"})


def ref_of(path: Path, *modalities: str) -> MediumRef:
    return MediumRef(file_sha256(path), path, frozenset(modalities or ("image",)))


def flat_images(folder: Path, count: int) -> list[MediumRef]:
    """Returns images; image i is flat of value i."""
    refs = []
    for value in range(count):
        path = folder / f"{value}.png"
        Pillow.fromarray(np.full((4, 5, 3), value, np.uint8)).save(path)
        refs.append(ref_of(path))
    return refs


def extract(
    media: Sequence[MediumRef], cache: Path, *encoders: PlainEncoder, **options
) -> dict[str, EncodingSummary]:
    chosen = {encoder.modality: encoder for encoder in encoders}
    return extract_features(media, chosen, cache, progress=False, workers=2, **options)


def rows_of(
    summary: dict[str, EncodingSummary], modality: str = "image"
) -> dict[bytes, np.ndarray]:
    found = FeatureSet.open(summary[modality].path)
    packed = found.read(found.keys, found.manifest.fields[0].name)
    return {key: packed[i] for i, key in enumerate(found.keys)}


def commits_of(summary: dict[str, EncodingSummary]) -> dict[tuple[bytes, ...], int]:
    """Returns the number of failures of each commit, by the keys that were attempted together."""
    commits = FeatureSet.open(summary["image"].path).commits
    return {tuple(sorted(commit.all_keys)): len(commit.failures) for commit in commits}


def keys_of(media: Sequence[MediumRef]) -> tuple[bytes, ...]:
    return tuple(sorted(ref.key for ref in media))


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MEMO_NAME
    }


def test_every_medium_gets_its_row_and_the_blank_comes_first(tmp_path: Path):
    media = flat_images(tmp_path, 5)
    encoder = PlainEncoder("image")
    summary = extract(media, tmp_path / "cache", encoder, batch_size=2)
    rows = rows_of(summary)
    for value, ref in enumerate(media):
        np.testing.assert_array_equal(rows[ref.key][0], [value] * 3)
    np.testing.assert_array_equal(rows[BLANK_KEY][0], [0, 0, 0])
    assert encoder.batches == [1, 2, 2, 1]
    lane = summary["image"]
    assert (lane.planned, lane.done_before, lane.encoded, lane.failures) == (5, 0, 5, 0)


def test_a_medium_that_is_named_twice_is_encoded_once(tmp_path: Path):
    media = flat_images(tmp_path, 3)
    summary = extract([*media, media[1], media[0]], tmp_path / "cache", PlainEncoder("image"))
    assert sorted(rows_of(summary)) == sorted([BLANK_KEY, *(ref.key for ref in media)])


def test_a_second_run_encodes_nothing_and_builds_nothing(tmp_path: Path):
    media = flat_images(tmp_path, 3)
    extract(media, tmp_path / "cache", PlainEncoder("image"))
    before = files_of(tmp_path / "cache")
    encoder = PlainEncoder("image")
    summary = extract(media, tmp_path / "cache", encoder)
    assert (encoder.loads, encoder.batches) == (0, [])
    assert (summary["image"].encoded, summary["image"].done_before) == (0, 3)
    assert files_of(tmp_path / "cache") == before


def test_a_later_run_encodes_only_what_is_new(tmp_path: Path):
    media = flat_images(tmp_path, 6)
    extract(media[:4], tmp_path / "cache", PlainEncoder("image"))
    encoder = PlainEncoder("image")
    summary = extract(media, tmp_path / "cache", encoder)
    assert (summary["image"].encoded, summary["image"].done_before) == (2, 4)
    assert encoder.batches == [2]
    assert len(rows_of(summary)) == 7


def test_a_shard_is_committed_after_so_many_media_failed_ones_counted(tmp_path: Path):
    media = flat_images(tmp_path, 7)
    media[2].path.write_bytes(b"not an image")
    summary = extract(media, tmp_path / "cache", PlainEncoder("image"), shard_rows=4, batch_size=3)
    assert commits_of(summary) == {(BLANK_KEY,): 0, keys_of(media[:4]): 1, keys_of(media[4:]): 0}


def test_a_shard_in_which_all_failed_is_only_a_commit_of_failures(tmp_path: Path):
    media = flat_images(tmp_path, 5)
    for ref in media[2:4]:
        ref.path.write_bytes(b"not an image")
    summary = extract(media, tmp_path / "cache", PlainEncoder("image"), shard_rows=2)
    assert commits_of(summary) == {
        (BLANK_KEY,): 0,
        keys_of(media[:2]): 0,
        keys_of(media[2:4]): 2,
        keys_of(media[4:]): 0,
    }


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


def test_a_slice_of_large_rows_is_committed_in_parts_at_the_end_of_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    media = flat_images(tmp_path, 12)
    media[3].path.write_bytes(b"no image")
    monkeypatch.setattr("promptfuse.extract.encoding.PART_BYTES", 4 * 12)

    def run(cache: Path) -> dict[str, EncodingSummary]:
        return extract(media, cache, PlainEncoder("image"), shard_rows=10, batch_size=2)

    summary = run(tmp_path / "cache")
    ends = [(0, 5), (5, 9), (9, 10), (10, 12)]  # the fourth is no place in a batch
    parts = {keys_of(media[start:end]): int(start == 0) for start, end in ends}
    assert commits_of(summary) == {(BLANK_KEY,): 0, **parts}
    whole = files_of(tmp_path / "cache")
    for commit in FeatureSet.open(summary["image"].path).commits:
        folder = summary["image"].path
        (folder / "commits" / f"{commit.name}.json").unlink()
        (folder / str(commit.file)).unlink()
        run(tmp_path / "cache")
        assert files_of(tmp_path / "cache") == whole


def test_a_slice_that_another_writer_has_in_hand_is_left_for_the_end(tmp_path: Path):
    media = flat_images(tmp_path, 6)
    manifest = manifest_of(PlainEncoder("image"))
    path = feature_set_path(tmp_path / "cache", "image", manifest.fingerprint)
    claim = path / "claims" / slice_name(ref.key for ref in media[:2])
    claim.parent.mkdir(parents=True)
    claim.write_text("elsewhere-1")
    order: list[float] = []

    class Ordered(PlainEncoder):
        def encode(self, items, *, batch_size):
            order.extend(float(item[0]) for item in items)
            return super().encode(items, batch_size=batch_size)

    summary = extract(media, tmp_path / "cache", Ordered("image"), shard_rows=2, batch_size=2)
    assert order == [0, 2, 3, 4, 5, 0, 1]  # the blank's is 0 too
    assert len(rows_of(summary)) == 7
    extract(media, tmp_path / "alone", PlainEncoder("image"), shard_rows=2, batch_size=2)
    claim.unlink()
    assert files_of(tmp_path / "cache") == files_of(tmp_path / "alone")


def test_lost_commits_are_not_written_over(tmp_path: Path):
    media = flat_images(tmp_path, 6)
    summary = extract(media, tmp_path / "cache", PlainEncoder("image"), shard_rows=2)
    before = files_of(tmp_path / "cache")
    for path in (summary["image"].path / "commits").iterdir():
        path.unlink()
    with pytest.raises(CacheError, match=r"4 shards, such as shard-.*verify --repair"):
        extract(media, tmp_path / "cache", PlainEncoder("image"), shard_rows=2)
    repair(summary["image"].path)
    assert files_of(tmp_path / "cache") == before
    assert extract(media, tmp_path / "cache", PlainEncoder("image"))["image"].encoded == 0


def test_a_set_that_goes_on_under_other_versions_says_so(tmp_path: Path, monkeypatch):
    media = flat_images(tmp_path, 4)
    extract(media[:2], tmp_path / "cache", PlainEncoder("image"))
    monkeypatch.setattr("promptfuse.extract.pipeline.version", lambda name: "9.9")
    lane = extract(media, tmp_path / "cache", PlainEncoder("image"))["image"]
    assert any(line.startswith("pillow: ") for line in lane.other_versions)
    assert all(line.endswith('here, "9.9" wanted') for line in lane.other_versions)


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


def clips(folder: Path, count: int) -> list[MediumRef]:
    """Returns clips of different lengths with sound."""
    refs = []
    for i in range(count):
        frames = grey_frames(6 + i)
        sound = tone(0.6 + 0.1 * i, 48_000)
        path = write_clip(folder / f"{i}.mp4", videos=[frames], sounds=[sound])
        refs.append(ref_of(path, "video", "audio"))
    return refs


def test_a_clip_is_decoded_once_for_its_pictures_and_its_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    decoded = []
    decode = prepare.decode_clip
    monkeypatch.setattr(
        prepare, "decode_clip", lambda path, **kw: decoded.append(path) or decode(path, **kw)
    )
    media = clips(tmp_path, 3)
    encoders = PlainEncoder("video"), PlainEncoder("audio")
    summary = extract(media, tmp_path / "cache", *encoders)
    assert sorted(decoded) == [ref.path for ref in media]
    video, audio = rows_of(summary, "video"), rows_of(summary, "audio")
    assert [len(video[ref.key]) for ref in media] == [3, 3, 3]
    assert all(len(audio[ref.key]) == 6 + i for i, ref in enumerate(media))
    assert audio[media[0].key][2:5] == pytest.approx(np.full(3, 0.5 * 2 / np.pi), abs=0.02)


def test_modalities_one_after_the_other_give_the_same_as_together(tmp_path: Path):
    media = clips(tmp_path, 3)
    extract(media, tmp_path / "both", PlainEncoder("video"), PlainEncoder("audio"))
    for modality in ("audio", "video"):
        extract(media, tmp_path / "apart", PlainEncoder(modality))
    assert files_of(tmp_path / "both") == files_of(tmp_path / "apart")


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


def test_both_formats_hold_the_same(tmp_path: Path):
    media = clips(tmp_path, 3)
    arrow = extract(media, tmp_path / "arrow", PlainEncoder("audio"), format="arrow")
    hdf5 = extract(media, tmp_path / "hdf5", PlainEncoder("audio"), format="hdf5")
    one, other = rows_of(arrow, "audio"), rows_of(hdf5, "audio")
    assert list(one) == list(other)
    for key, row in one.items():
        np.testing.assert_array_equal(row, other[key])


def test_the_number_of_workers_changes_nothing(tmp_path: Path):
    media = flat_images(tmp_path, 20)
    for workers in (1, 5):
        extract_features(
            media,
            {"image": PlainEncoder("image")},
            tmp_path / f"cache{workers}",
            workers=workers,
            shard_rows=6,
            batch_size=4,
            progress=False,
        )
    assert files_of(tmp_path / "cache1") == files_of(tmp_path / "cache5")


def test_a_new_feature_set_says_how_it_differs_from_the_nearest(tmp_path: Path):
    media = clips(tmp_path, 1)
    first = extract(media, tmp_path / "cache", PlainEncoder("video", frames=3))
    assert first["video"].differs_from is None
    second = extract(media, tmp_path / "cache", PlainEncoder("video", frames=4))
    assert second["video"].differs_from == (
        first["video"].fingerprint,
        ("frames: 3 here, 4 wanted",),
    )
    third = extract(media, tmp_path / "cache", PlainEncoder("video", frames=4))
    assert third["video"].differs_from is None
    other = extract(media, tmp_path / "cache", PlainEncoder("video", frames=4, name="other"))
    found = other["video"].differs_from
    assert found is not None
    assert found[1] == ('id: "plain" here, "other" wanted',)


def test_decoding_does_not_run_far_ahead(tmp_path: Path):
    media = flat_images(tmp_path, 64)
    started, ahead, lock = 0, [], threading.Lock()

    class Slow(PlainEncoder):
        def prepare(self, medium):
            nonlocal started
            with lock:
                started += 1
            return super().prepare(medium)

        def encode(self, items, *, batch_size):
            ahead.append(started - sum(self.batches))
            return super().encode(items, batch_size=batch_size)

    extract(media, tmp_path / "cache", Slow("image"), batch_size=4)
    # a batch at the encoder, one that waits for it, one that is gathered, and the window
    assert 4 <= max(ahead) <= 3 * 4 + (4 + 2 * 2)


def test_one_large_medium_does_not_slow_the_rest_down(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(pipeline, "_WINDOW_BYTES", 10_000)
    media = flat_images(tmp_path, 64)
    started, ahead, lock = 0, [], threading.Lock()

    class Slow(PlainEncoder):
        def prepare(self, medium):
            nonlocal started
            with lock:
                started += 1
            item = super().prepare(medium)
            return np.resize(item, 30_000) if item[0] == 0 else item

        def encode(self, items, *, batch_size):
            time.sleep(0.02)
            ahead.append(started - sum(self.batches))
            return super().encode([item[:3] for item in items], batch_size=batch_size)

    extract(media, tmp_path / "cache", Slow("image"), batch_size=4)
    assert max(ahead[-6:]) >= 4 + 4  # a batch and half of the window, at least


def test_an_extraction_that_is_asked_to_stop_finishes_the_slices_in_hand(tmp_path: Path):
    media = flat_images(tmp_path, 20)
    stop = Stop()

    class Asking(PlainEncoder):
        def encode(self, items, *, batch_size):
            if len(self.batches) == 3:
                stop.ask("SIGTERM")
            return super().encode(items, batch_size=batch_size)

    options = {"batch_size": 2, "shard_rows": 6}
    with pytest.raises(Stopped, match=r"stopped \(SIGTERM\) with (8|14) media left to encode"):
        extract(media, tmp_path / "cache", Asking("image"), stop=stop, **options)
    summary = extract(media, tmp_path / "cache", PlainEncoder("image"), **options)
    assert summary["image"].done_before in (6, 12)
    extract(media, tmp_path / "whole", PlainEncoder("image"), **options)
    assert files_of(tmp_path / "cache") == files_of(tmp_path / "whole")


def test_an_error_in_the_middle_keeps_what_was_committed(tmp_path: Path):
    media = flat_images(tmp_path, 12)

    class Breaking(PlainEncoder):
        def encode(self, items, *, batch_size):
            if len(self.batches) == 3:
                raise EncoderError("the GPU has too little memory")
            return super().encode(items, batch_size=batch_size)

    with pytest.raises(EncoderError, match="too little memory"):
        extract(media, tmp_path / "cache", Breaking("image"), batch_size=3, shard_rows=4)
    summary = extract(media, tmp_path / "cache", PlainEncoder("image"), batch_size=3, shard_rows=4)
    assert summary["image"].done_before == 4
    extract(media, tmp_path / "whole", PlainEncoder("image"), batch_size=3, shard_rows=4)
    assert files_of(tmp_path / "cache") == files_of(tmp_path / "whole")


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


@pytest.mark.parametrize("place", ["prepare", "encode"])
def test_an_interruption_is_no_mediums_failure(tmp_path: Path, place: str):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    encoder = PlainEncoder("image")
    media = flat_images(tmp_path, 2)
    extract(media[:1], tmp_path / "cache", encoder)
    setattr(encoder, place, interrupt)
    with pytest.raises(KeyboardInterrupt):
        extract(media, tmp_path / "cache", encoder)
    assert extract(media, tmp_path / "cache", PlainEncoder("image"))["image"].encoded == 1


@pytest.mark.parametrize("option", ["batch_size", "shard_rows", "workers"])
def test_numbers_are_positive(tmp_path: Path, option: str):
    with pytest.raises(ConfigError, match=f"{option} must be at least 1, not 0"):
        extract_features([], {}, tmp_path, **{option: 0})


def test_heavy_rows_make_short_shards(tmp_path: Path):
    from promptfuse.cache.manifest import FieldSpec

    light = PlainEncoder("image")
    assert default_shard_rows(light) == 1024

    class Heavy(PlainEncoder):
        @property
        def fields(self):
            return (FieldSpec("pixels", "uint8", (3, 224, 224), ragged=True),)

    assert default_shard_rows(Heavy("video", frames=8)) == 64 * 2**20 // (8 * 3 * 224 * 224)


_SECOND_RUN = """
import json, sys, time
started = time.perf_counter()
from pathlib import Path
from promptfuse.extract.datasets.ingest import MediumRef
from promptfuse.extract.encoders import load_encoder
from promptfuse.extract.pipeline import extract_features
said = json.loads(sys.argv[1])
encoders = {name: load_encoder(name, folder) for name, folder in said["encoders"].items()}
media = [MediumRef(bytes.fromhex(k), Path(p), frozenset(kinds)) for k, p, kinds in said["media"]]
summary = extract_features(media, encoders, Path(said["cache"]), progress=False)
heavy = {"torch", "transformers", "torchvision", "open_clip"} & set(sys.modules)
encoded = sum(lane.encoded for lane in summary.values())
print(json.dumps([encoded, sorted(heavy), time.perf_counter() - started]))
"""


def test_the_whole_way_with_real_models_and_a_second_run_without_torch(tmp_path: Path):
    media = [*flat_images(tmp_path, 3), *clips(tmp_path, 2)]
    tower, listener = save_tower(tmp_path / "vit"), save_listener(tmp_path / "wav2vec2")
    said = {
        "encoders": {"image": str(tower), "video": str(tower), "audio": str(listener)},
        "media": [(ref.key.hex(), str(ref.path), sorted(ref.modalities)) for ref in media],
        "cache": str(tmp_path / "cache"),
    }

    def run() -> tuple[int, list[str], float]:
        command = [sys.executable, "-c", _SECOND_RUN, json.dumps(said)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    encoded, heavy, _ = run()
    assert encoded == 3 + 2 + 2
    assert "torch" in heavy
    encoded, heavy, seconds = run()
    assert (encoded, heavy) == (0, [])
    assert seconds < 5


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
