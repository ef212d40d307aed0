"""The commands with their cache on an S3 server: what they do in a folder, they do there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from promptfuse.cache.bucket import Bucket
from promptfuse.cache.client import client
from promptfuse.cache.objects import store_at
from promptfuse.cache.places import Url
from promptfuse.cache.store import feature_sets
from promptfuse.cli import app
from promptfuse.errors import StoreError

from .cache.s3 import Cutting, bucket, s3  # noqa: F401
from .torture.workshop import EXTRACT, TRAIN, lay_out

_WRITER = """
import sys
from promptfuse.cli import main
sys.argv = ["pfcli", *sys.argv[1:]]
main()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    lay_out(folder)
    return folder


def type_in(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    app(list(words), standalone_mode=False)
    return capsys.readouterr().out


def figures(folder: Path) -> list[dict]:
    return [
        json.loads(path.read_text())["metrics"]["values"]
        for path in sorted(folder.glob("**/eval-*/metrics.json"))
    ]


def rows(root) -> dict[str, list]:
    return {
        held.fingerprint: [
            (key, [held.read([key], name).values.tobytes() for name in held.manifest.names])
            for key in sorted(held.keys)
        ]
        for held in feature_sets(root)
    }


def test_a_cache_on_a_store_gives_the_figures_of_a_folder(
    made, bucket, s3, tmp_path, monkeypatch, capsys  # noqa: F811
):  # fmt: skip
    proxy = Cutting(s3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    monkeypatch.setenv("PROMPTFUSE_MIRROR_GB", "0.00002")
    monkeypatch.chdir(made)
    client.cache_clear()
    url, told = f"{bucket}/cache", {}
    for cache, runs in (("local", "runs-local"), (url, "runs-s3")):
        places = ("--cache", cache, "--runs", runs)
        proxy.cuts += [2000] * 2
        type_in(capsys, *EXTRACT, "--cache", cache)
        type_in(capsys, *TRAIN, *places)
        told[cache] = type_in(capsys, "eval", *places)
        again = type_in(capsys, *EXTRACT, "--cache", cache)
        assert f"wrote {cache}/features/image/" in again
        assert "0 damaged" in type_in(capsys, "verify", "--cache", cache)
        type_in(capsys, "convert", "--format", "hdf5", "--cache", cache)
        told[cache] += type_in(capsys, "predict", "1", "data/3.png", "--text", "how", *places)
        told[cache] += type_in(capsys, "inspect", "--cache", cache).partition("next:")[0]
    assert proxy.done == 4
    assert figures(made / "runs-local") == figures(made / "runs-s3") != []
    assert told["local"].replace("runs-local", "runs-s3").replace("local", url) == told[url]
    assert rows(made / "local") == rows(url)
    proxy.close()


def damage(store, whole: dict[str, bytes]) -> list[str]:
    """Damage a store's cache in five ways; return how verify names each."""
    cut, flipped, lost, orphan = [name for name in whole if "/image/" in name and "shard-" in name][
        :4
    ]
    store.put(cut, whole[cut][:100])
    middle = len(whole[flipped]) // 2
    store.put(flipped, whole[flipped][:middle] + b"!" + whole[flipped][middle + 1 :])
    store.delete(lost)
    folder, _, file = orphan.rpartition("/")
    store.delete(f"{folder}/commits/{file.split('-')[1]}.json")
    (manifest,) = [name for name in whole if "/video/" in name and "manifest" in name]
    store.delete(manifest)
    reasons = ("bytes changed", "bytes changed", "missing", "its commit is lost", "no such file")
    named = [name.partition("features/")[2] for name in (cut, flipped, lost, orphan, manifest)]
    return [f"damaged: {name}: .*{why}" for name, why in zip(named, reasons, strict=True)]


def test_damage_on_a_store_is_named_and_mended_to_the_same_bytes_and_figures(
    made, bucket, tmp_path, monkeypatch, capsys  # noqa: F811
):  # fmt: skip
    client.cache_clear()
    monkeypatch.chdir(made)
    place = ("--cache", f"{bucket}/cache")
    store, fetched, renew = store_at(place[1]), list[str](), Bucket.renew
    type_in(capsys, *EXTRACT, *place)
    whole = {kept.name: store.get(kept.name) for kept in store.walk()}
    named = damage(store, whole)
    for words in (("verify",), ("verify", "--repair")):
        said = type_in(capsys, *words, *place)
        assert all(re.search(line, said) for line in named)
        assert ", 5 damaged" in said
    type_in(capsys, *EXTRACT, *place)
    assert {kept.name: store.get(kept.name) for kept in store.walk()} == whole
    assert ", 0 damaged" in type_in(capsys, "verify", *place)
    type_in(capsys, "pull", place[1], "--cache", "mended")
    shutil.rmtree(tmp_path / "mirror")
    shards = [len(content) for name, content in whole.items() if "shard-" in name]
    monkeypatch.setenv("PROMPTFUSE_MIRROR_GB", str(1.2 * max(shards) / 1e9))
    monkeypatch.setattr(
        Bucket, "renew", lambda self, name: fetched.append(name) or renew(self, name)
    )
    for cache, runs in (("mended", "runs-mended"), (place[1], "runs-far")):
        type_in(capsys, *TRAIN, "--cache", cache, "--runs", runs)
        type_in(capsys, "eval", "--cache", cache, "--runs", runs)
    assert len(fetched) > len(set(fetched))  # what had gone from the mirror came again
    assert figures(made / "runs-far") == figures(made / "runs-mended") != []


def test_data_below_a_url_are_fetched_once_and_extracted(
    made, bucket, tmp_path, monkeypatch, capsys  # noqa: F811
):  # fmt: skip
    client.cache_clear()
    monkeypatch.chdir(made)
    monkeypatch.setenv("PROMPTFUSE_MIRROR", str(tmp_path / "mirror"))
    store = store_at(f"{bucket}/deep/data")
    for path in sorted((made / "data").iterdir()):
        store.put(path.name, path.read_bytes())
    store_at(bucket).put("deep/outside.png", (made / "data/0.png").read_bytes())
    words = [f"{bucket}/deep/data/rows.jsonl" if w == "data/rows.jsonl" else w for w in EXTRACT]
    type_in(capsys, *EXTRACT, "--cache", "here")
    told = type_in(capsys, *words, "--cache", "fetched")
    assert "1 damaged" in told
    assert rows("here") == rows("fetched")
    assert not list((tmp_path / "mirror").rglob("outside.png"))
    fetched = {path: path.stat().st_ino for path in (tmp_path / "mirror").rglob("*.png")}
    type_in(capsys, *words, "--cache", "fetched")
    assert {path: path.stat().st_ino for path in fetched} == fetched
    monkeypatch.setenv("PROMPTFUSE_MIRROR_GB", "0.000001")
    with pytest.raises(StoreError, match=r"bytes, and the mirror holds 1,000 at most"):
        type_in(capsys, *words, "--cache", "fetched")


def test_four_writers_at_once_commit_each_slice_once(made, bucket, tmp_path):  # noqa: F811
    url = f"{bucket}/four"
    client.cache_clear()
    command = [sys.executable, "-c", _WRITER, *EXTRACT]
    writers = [
        subprocess.Popen(
            [*command, "--cache", url],
            cwd=made,
            env={**os.environ, "PROMPTFUSE_MIRROR": str(tmp_path / f"mirror-{number}")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(4)
    ]
    outputs = [writer.communicate()[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, outputs
    shutil.rmtree(made / "one", ignore_errors=True)
    subprocess.run([*command, "--cache", "one"], cwd=made, check=True, capture_output=True)
    alone, together = feature_sets(made / "one"), feature_sets(Url(url))
    assert [held.commits for held in together] == [held.commits for held in alone]
