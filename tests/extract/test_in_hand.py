"""A decoder that ends the process costs its own medium, and a user's kill costs none."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from promptfuse.cache.atomic import writer_name
from promptfuse.cache.keys import BLANK_KEY
from promptfuse.cache.store import FeatureSet
from promptfuse.extract import in_hand
from promptfuse.extract.in_hand import InHand, crashing
from promptfuse.extract.media import Limits

from .flat_media import CLIP, extract, flat_images, ref_of, rows_of
from .plain_encoders import PlainEncoder

# Found by every Python below the test: a decoder that does not survive files of a certain name.
_SITE = """
import os, time
import PIL.Image
_open = PIL.Image.open
def deadly(path, *arguments, **options):
    if "abort" in str(path):
        os.abort()
    if "slow" in str(path) and "SLOW" in os.environ:
        time.sleep(60)
    return _open(path, *arguments, **options)
PIL.Image.open = deadly
"""


@pytest.fixture
def deadly(tmp_path, monkeypatch):
    """Run extractions as processes of their own in which a decoder may die."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_SITE)
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(site), before])))
    return tmp_path / "cache"


def command(cache: Path, media) -> list[str]:
    said = [(ref.key.hex(), str(ref.path)) for ref in media]
    program = Path(__file__).with_name("extraction_apart.py")
    return [sys.executable, str(program), str(cache), json.dumps(said)]


def run(cache: Path, media) -> int:
    return subprocess.run(command(cache, media), stderr=subprocess.DEVNULL).returncode


def test_a_decoder_that_ends_the_process_is_passed_over_by_the_next_run(tmp_path, deadly):
    media = flat_images(tmp_path, 5)
    media[2].path.rename(tmp_path / "abort.png")
    media[2] = ref_of(tmp_path / "abort.png")
    assert run(deadly, media) == -signal.SIGABRT
    assert run(deadly, media) == 0
    summary = extract(media, deadly, PlainEncoder("image"))
    assert summary["image"].failed_before == {"crashed": 1}
    assert set(rows_of(summary)) == {BLANK_KEY, *(ref.key for ref in media if ref is not media[2])}
    (failure,) = FeatureSet.open(summary["image"].path).failures
    assert failure.key == media[2].key
    assert "abort.png: its decoder ends the process: SIGABRT" in failure.message
    assert not list(deadly.glob(".in-hand*"))


def test_two_decoders_that_end_the_process_cost_two_media(tmp_path, deadly):
    media = flat_images(tmp_path, 6)
    for number in (1, 4):
        media[number].path.rename(tmp_path / f"abort{number}.png")
        media[number] = ref_of(tmp_path / f"abort{number}.png")
    statuses = [run(deadly, media) for _ in range(3)]
    assert statuses[-1] == 0
    assert extract(media, deadly, PlainEncoder("image"))["image"].failed_before == {"crashed": 2}


def test_a_kill_costs_nothing(tmp_path, deadly, monkeypatch):
    media = flat_images(tmp_path, 4)
    media[1].path.rename(tmp_path / "slow.png")
    media[1] = ref_of(tmp_path / "slow.png")
    process = subprocess.Popen(command(deadly, media), env={**os.environ, "SLOW": "1"})
    slow = media[1].key.hex().encode()
    deadline = time.monotonic() + 60
    while not any(slow in path.read_bytes() for path in deadly.glob(".in-hand*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert run(deadly, media) == 0
    summary = extract(media, deadly, PlainEncoder("image"))
    assert (summary["image"].done_before, summary["image"].failures) == (4, 0)


def test_what_the_dead_had_in_hand_is_taken_over(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    machine = writer_name().rpartition("-")[0]
    key, other = bytes(range(32)), bytes([7] * 32)
    dead = tmp_path / f".in-hand.12.{machine}-{child.pid}"
    dead.write_bytes(key.hex().encode() + b"\n" + b" " * 64 + b"\n" + b"garbage\xff\n")
    mine_before = tmp_path / f".in-hand.13.{writer_name()}"  # a container's processes share numbers
    mine_before.write_bytes(other.hex().encode() + b"\n")
    alive = tmp_path / f".in-hand.1.{machine}-{os.getppid()}"
    elsewhere, silent = tmp_path / ".in-hand.1.far-7", tmp_path / ".in-hand.1.lost-7"
    for path in (alive, elsewhere, silent):
        path.write_bytes(bytes([len(path.name)] * 32).hex().encode() + b"\n")
    os.utime(silent, (time.time() - 3600,) * 2)
    with InHand(tmp_path) as notes:
        assert notes.suspects == {key, other, bytes([len(silent.name)] * 32)}
        assert not dead.exists()
        assert not silent.exists()
        (own,) = set(tmp_path.glob(".in-hand*")) - {alive, elsewhere}
        with notes.noting(bytes([9] * 32)):
            held = own.read_bytes()
        assert all(one.hex().encode() in held for one in (*notes.suspects, bytes([9] * 32)))
        assert bytes([9] * 32).hex().encode() not in own.read_bytes()
    assert set(tmp_path.glob(".in-hand*")) == {alive, elsewhere}


def test_media_that_only_were_there_are_not_blamed(tmp_path):
    from .media_files import grey_frames, tone, write_clip

    image = flat_images(tmp_path, 1)[0]
    clip = ref_of(
        write_clip(tmp_path / "c.mp4", videos=[grey_frames(5)], sounds=[tone(1, 48_000)]), *CLIP
    )
    (tmp_path / "text.png").write_text("hello")
    text = ref_of(tmp_path / "text.png")
    encoders = {"video": PlainEncoder("video"), "audio": PlainEncoder("audio")}
    media = [(image, {"image": PlainEncoder("image")}), (text, {"image": PlainEncoder("image")})]
    assert crashing([*media, (clip, encoders)], Limits()) == {}
    asked = [in_hand.decoding_of(ref, wanted) | {"limits": {}} for ref, wanted in media]
    assert in_hand._decode_apart(asked) == (2, 0)
