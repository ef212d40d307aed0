"""What is planned, encoded and committed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from promptfuse.cache.keys import BLANK_KEY
from promptfuse.cache.store import FeatureSet
from promptfuse.errors import ConfigError
from promptfuse.extract import prepare
from promptfuse.extract.encoding import EncodingSummary
from promptfuse.extract.pipeline import default_shard_rows, extract_features

from .flat_media import (
    clips,
    commits_of,
    extract,
    files_of,
    flat_images,
    keys_of,
    rows_of,
)
from .plain_encoders import PlainEncoder
from .tiny_models import save_listener, save_tower


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


def test_a_set_that_goes_on_under_other_versions_says_so(tmp_path: Path, monkeypatch):
    media = flat_images(tmp_path, 4)
    extract(media[:2], tmp_path / "cache", PlainEncoder("image"))
    monkeypatch.setattr("promptfuse.cluster.version", lambda name: "9.9")
    lane = extract(media, tmp_path / "cache", PlainEncoder("image"))["image"]
    assert any(line.startswith("pillow: ") for line in lane.other_versions)
    assert all(line.endswith('here, "9.9" wanted') for line in lane.other_versions)


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
