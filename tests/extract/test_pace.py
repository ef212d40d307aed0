"""How far decoding runs ahead, and what an extraction leaves that ends early or is not alone."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from promptfuse.cache.commits import slice_name
from promptfuse.cache.store import feature_set_path
from promptfuse.cache.verify import repair
from promptfuse.errors import CacheError, EncoderError, Stopped
from promptfuse.extract import pipeline
from promptfuse.extract.pipeline import manifest_of
from promptfuse.stopping import Stop

from .flat_media import extract, files_of, flat_images, rows_of
from .plain_encoders import PlainEncoder


class Watched(PlainEncoder):
    """Notes how many media were begun to be decoded, and not encoded, before each batch.

    Items of value 0 are made as large as `large` says.
    """

    def __init__(self, *, large: int = 0, seconds: float = 0.0) -> None:
        super().__init__("image")
        self.ahead: list[int] = []
        self._started, self._lock = 0, threading.Lock()
        self._large, self._seconds = large, seconds

    def prepare(self, medium):
        with self._lock:
            self._started += 1
        item = super().prepare(medium)
        return np.resize(item, self._large) if self._large and item[0] == 0 else item

    def encode(self, items, *, batch_size):
        time.sleep(self._seconds)
        self.ahead.append(self._started - sum(self.batches))
        return super().encode([item[:3] for item in items], batch_size=batch_size)


def test_decoding_does_not_run_far_ahead(tmp_path: Path):
    encoder = Watched()
    extract(flat_images(tmp_path, 64), tmp_path / "cache", encoder, batch_size=4)
    # a batch at the encoder, one that waits for it, one that is gathered, and the window
    assert 4 <= max(encoder.ahead) <= 3 * 4 + (4 + 2 * 2)


def test_one_large_medium_does_not_slow_the_rest_down(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(pipeline, "_WINDOW_BYTES", 10_000)
    encoder = Watched(large=30_000, seconds=0.02)
    extract(flat_images(tmp_path, 64), tmp_path / "cache", encoder, batch_size=4)
    assert max(encoder.ahead[-6:]) >= 4 + 4  # a batch and half of the window, at least


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
