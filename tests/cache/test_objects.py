import errno
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from promptfuse.cache import claims
from promptfuse.cache.commits import Commit, commit_names
from promptfuse.cache.keys import KEY_BYTES
from promptfuse.cache.objects import Folder
from promptfuse.errors import CacheError


def test_what_is_put_is_got_listed_sized_and_deleted(tmp_path: Path):
    folder = Folder(tmp_path / "new" / "cache")
    assert (folder.get("commits/a.json"), folder.size("commits/a.json")) == (None, None)
    folder.put("commits/b.json", b"two")
    folder.put("commits/a.json", b"one")
    folder.put("commits/a.json", b"three")
    assert folder.get("commits/a.json") == b"three"
    assert folder.size("commits/a.json") == 5
    (tmp_path / "new/cache/commits/.hidden").touch()
    assert list(folder.list("commits").items()) == [("commits/a.json", 5), ("commits/b.json", 3)]
    assert folder.list() == folder.list("nowhere") == {}
    assert folder.folders() == ["commits"]
    folder.delete("commits/a.json")
    folder.delete("commits/a.json")
    assert folder.list("commits") == {"commits/b.json": 3}


def test_of_many_writers_one_puts_what_was_absent(tmp_path: Path):
    folder, start, won = Folder(tmp_path), threading.Barrier(8), []

    def write(number: int) -> None:
        start.wait()
        own = Folder(tmp_path / ".")
        if own.put_if_absent(f"commits/{number // 8}.json", b"%d" % number):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert folder.get("commits/0.json") == b"%d" % won[0]
    assert [path.name for path in (tmp_path / "commits").iterdir()] == ["0.json"]


def test_a_file_system_without_links_still_refuses_a_second_writer(tmp_path: Path, monkeypatch):
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    folder = Folder(tmp_path)
    assert folder.put_if_absent("a", b"first")
    assert not folder.put_if_absent("a", b"second")
    assert folder.get("a") == b"first"
    assert folder.list() == {"a": 5}


def test_a_full_disk_leaves_neither_object_nor_leftover(tmp_path: Path, monkeypatch):
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="no space left"):
        Folder(tmp_path).put_if_absent("a", b"first")
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_cannot_be_read_is_named(tmp_path: Path):
    (tmp_path / "a").mkdir()
    with pytest.raises(CacheError, match="/a: cannot be read"):
        Folder(tmp_path).get("a")


def test_a_commit_whose_media_others_did_meanwhile_is_withdrawn(tmp_path, monkeypatch):
    folder, key = Folder(tmp_path), b"k" * KEY_BYTES
    bare = Commit(key)
    monkeypatch.setattr(claims, "writer_name", lambda: "elsewhere-1")
    assert claims.Claims(folder).take(bare.name)
    monkeypatch.undo()

    def place() -> Commit:
        file = f"shard-{bare.name}-{'0' * 16}.arrow"
        folder.put(file, b"rows")
        return replace(bare, file=file, size_bytes=4, sha256="0" * 64)

    told = iter([False, True])
    assert claims.Claims(folder).settle(bare, place, lambda: next(told)) is None
    assert (folder.list(), commit_names(folder)) == ({}, [])
