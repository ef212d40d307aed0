import shutil
from pathlib import Path

import huggingface_hub
import pytest

from promptfuse.cache import claims
from promptfuse.cache.client import client
from promptfuse.cache.copies import copy_cache
from promptfuse.cache.example_table import Example
from promptfuse.cache.examples import DatasetInfo, read_examples, write_examples
from promptfuse.cache.hub import fetch_from_hub, push_to_hub
from promptfuse.cache.places import Url
from promptfuse.cache.store import FeatureWriter, feature_sets
from promptfuse.cache.verify import feature_folders, verify, verify_examples
from promptfuse.errors import CacheError, ConfigError, ShardCorrupt

from .s3 import bucket, s3  # noqa: F401


@pytest.fixture
def local(tmp_path, manifest, make_rows) -> Path:
    root, rows = tmp_path / "local", make_rows(9)
    with FeatureWriter(root, manifest) as writer:
        for number, (key, row) in enumerate(rows.items()):
            writer.append(key, row)
            if number % 3 == 2:
                writer.commit()
    info = DatasetInfo("d", "table", "text", splits={"train": 2})
    write_examples(root, info, {"train": [Example(str(n), "why", "x") for n in range(2)]})
    return root


@pytest.fixture
def elsewhere(bucket) -> Url:  # noqa: F811
    client.cache_clear()
    return Url(bucket) / "shared"


def holds_the_same(one, other) -> bool:
    (mine,), (theirs,) = feature_sets(one), feature_sets(other)
    checks = [*verify(feature_folders(other)[0]), *verify_examples(other, "d")]
    assert all(check.ok for check in checks), checks
    answers = [read_examples(root, "d", "train").answers for root in (one, other)]
    return mine.commits == theirs.commits and answers[0] == answers[1]


def test_a_cache_goes_to_a_store_and_comes_back(local, elsewhere, tmp_path):
    sent = copy_cache(local, elsewhere)
    assert [(part.name.partition("/")[0], part.files, part.there) for part in sent] == [
        ("d", 2, 0),
        ("video", 3, 0),
    ]
    assert [(p.files, p.size_bytes) for p in copy_cache(local, elsewhere)] == [(0, 0), (0, 0)]
    assert holds_the_same(local, elsewhere)
    copy_cache(elsewhere, tmp_path / "back")
    assert holds_the_same(local, tmp_path / "back")


def test_an_interrupted_copy_goes_on(local, tmp_path, monkeypatch):
    put, puts = claims.put_commit, []

    def cut(*arguments):
        if len(puts) == 1:
            raise KeyboardInterrupt
        puts.append(put(*arguments))
        return puts[-1]

    monkeypatch.setattr(claims, "put_commit", cut)
    with pytest.raises(KeyboardInterrupt):
        copy_cache(local, tmp_path / "there")
    monkeypatch.undo()
    (part,) = feature_sets(tmp_path / "there")
    assert len(part) == 3
    *_, rest = copy_cache(local, tmp_path / "there")
    assert (rest.files, rest.there) == (1, 1)  # of two, one lay there without its commit
    assert holds_the_same(local, tmp_path / "there")


def test_what_is_no_cache_and_what_is_damaged_is_refused(local, tmp_path):
    with pytest.raises(CacheError, match="nothing holds no cache: neither examples"):
        copy_cache(tmp_path / "nothing", tmp_path / "there")
    shard = sorted(local.rglob("shard-*"))[1]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ShardCorrupt, match=f"{shard.name}.*the source is damaged"):
        copy_cache(local, tmp_path / "there")
    (part,) = feature_sets(tmp_path / "there")
    assert all(check.ok for check in verify(part.path))
    assert len(part) < 9


class FakeHub:
    """What of the hub's client is used, on a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.uploads = folder, []

    def create_repo(self, name, *, repo_type, private, exist_ok):
        (self.folder / name).mkdir(parents=True, exist_ok=True)

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, ignore_patterns, **_):
        names = [p.relative_to(folder_path).as_posix() for p in Path(folder_path).rglob("*")]
        chosen = list(
            huggingface_hub.utils.filter_repo_objects(
                [name for name in names if (Path(folder_path) / name).is_file()],
                allow_patterns=allow_patterns,
                ignore_patterns=ignore_patterns,
            )
        )
        self.uploads.append(chosen)
        for name in chosen:
            to = self.folder / repo_id / name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(folder_path) / name, to)

    def file_exists(self, repo_id, name, *, repo_type):
        return (self.folder / repo_id / name).exists()

    def upload_file(self, *, path_or_fileobj, path_in_repo, repo_id, repo_type):
        (self.folder / repo_id / path_in_repo).write_bytes(path_or_fileobj)

    def snapshot_download(self, name, *, repo_type, local_dir, allow_patterns):
        shutil.copytree(self.folder / name, local_dir, dirs_exist_ok=True)


def test_a_cache_goes_to_the_hub_with_a_card_and_comes_back(local, tmp_path, monkeypatch):
    hub = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    monkeypatch.setenv("PROMPTFUSE_MIRROR", str(tmp_path / "mirror"))
    (local / ".in-hand.1").write_text("mine alone")
    url = "hf://datasets/me/jokes"
    push_to_hub(local, url)
    files, counting = hub.uploads
    assert not [name for name in files if "/commits/" in name or name.endswith("dataset.json")]
    assert all("/commits/" in name or name.endswith("dataset.json") for name in counting)
    assert not [name for name in (*files, *counting) if "/." in f"/{name}"]
    card = (tmp_path / "hub/me/jokes/README.md").read_text()
    assert "| d | text | 2 |" in card
    assert f"pfcli pull {url}" in card
    copy_cache(fetch_from_hub(url), tmp_path / "back")
    assert holds_the_same(local, tmp_path / "back")
    with pytest.raises(ConfigError, match="hf://datasets/jokes: name a dataset as"):
        push_to_hub(local, "hf://datasets/jokes")
