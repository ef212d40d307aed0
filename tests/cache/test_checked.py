import hashlib
import os
from pathlib import Path

import pytest

from promptfuse.cache import checked
from promptfuse.cache.checked import MEMO_NAME, check_files, sha256_once
from promptfuse.errors import ShardCorrupt

OLD = 1_600_000_000


@pytest.fixture
def hashed(monkeypatch) -> list[str]:
    """The names of the files that were hashed, in order; nothing is remembered from before."""
    names: list[str] = []
    file_sha256 = checked.file_sha256

    def noting(path: Path) -> bytes:
        names.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(checked, "file_sha256", noting)
    monkeypatch.setattr(checked, "_checked", {})
    return names


def write(path: Path, content: bytes, *, seconds: int = OLD) -> str:
    path.write_bytes(content)
    os.utime(path, (seconds, seconds))
    return hashlib.sha256(content).hexdigest()


def forget() -> None:
    checked._checked.clear()


def test_a_file_is_hashed_once_by_all_processes(tmp_path: Path, hashed: list[str]):
    expected = {"a": write(tmp_path / "a", b"one"), "b": write(tmp_path / "b", b"two")}
    for _ in range(3):
        check_files(tmp_path, expected, fix="restore it")
        forget()
    assert sorted(hashed) == ["a", "b"]


@pytest.mark.parametrize("names", [["a"], ["a", "b"]])
def test_a_hash_that_nobody_expects_is_remembered(tmp_path: Path, monkeypatch, names: list[str]):
    paths, times = [tmp_path / name for name in names], []
    files_sha256 = checked.files_sha256
    monkeypatch.setattr(
        checked, "files_sha256", lambda paths: times.append(1) or files_sha256(paths)
    )
    for path in paths:
        write(path, path.name.encode())
    expected = hashlib.sha256("".join(names).encode()).hexdigest()
    assert [sha256_once(paths) for _ in range(3)] == [expected] * 3
    assert len(times) == 1
    memo = tmp_path / MEMO_NAME
    memo.write_text(memo.read_text().replace(expected[:8], "0" * 8))  # a bit of it changed
    assert sha256_once(paths) == expected
    assert len(times) == 2
    write(paths[-1], b"other", seconds=OLD + 1)
    assert sha256_once(paths) != expected
    write(paths[-1], b"older still", seconds=4 * OLD)  # of the future: not remembered
    assert [sha256_once(paths) for _ in range(2)] == [files_sha256(paths)] * 2
    assert len(times) == 5


def test_what_changed_is_hashed_again_and_named(tmp_path: Path, hashed: list[str]):
    expected = {"a": write(tmp_path / "a", b"one")}
    check_files(tmp_path, expected, fix="restore it")
    write(tmp_path / "a", b"onf", seconds=OLD + 1)
    with pytest.raises(ShardCorrupt, match=r"/a: bytes changed.*restore it"):
        check_files(tmp_path, expected, fix="restore it")
    with pytest.raises(ShardCorrupt, match="/a: bytes changed"):
        check_files(tmp_path, expected, fix="restore it")
    assert hashed == ["a", "a", "a"]


def test_another_file_of_the_same_size_and_time_is_hashed_again(tmp_path: Path, hashed: list[str]):
    expected = {"a": write(tmp_path / "a", b"one")}
    check_files(tmp_path, expected, fix="")
    write(tmp_path / "copy", b"onf")
    (tmp_path / "copy").replace(tmp_path / "a")
    with pytest.raises(ShardCorrupt, match="/a: bytes changed"):
        check_files(tmp_path, expected, fix="")
    assert hashed == ["a", "a"]


def test_another_expected_hash_is_not_met_by_the_memory(tmp_path: Path, hashed: list[str]):
    check_files(tmp_path, {"a": write(tmp_path / "a", b"one")}, fix="")
    with pytest.raises(ShardCorrupt, match="sha256 00ff expected"):
        check_files(tmp_path, {"a": "00ff"}, fix="")


def test_a_file_of_this_very_moment_is_not_remembered(tmp_path: Path, hashed: list[str]):
    (tmp_path / "a").write_bytes(b"one")
    expected = {"a": hashlib.sha256(b"one").hexdigest()}
    check_files(tmp_path, expected, fix="")
    check_files(tmp_path, expected, fix="")
    assert hashed == ["a", "a"]
    assert not (tmp_path / MEMO_NAME).exists()


@pytest.mark.parametrize("memo", [b"\xff", b"[1]", b"[" * 100_000, b'{"a": [3, 1, 1, "00"]}'])
def test_a_damaged_memory_says_nothing(tmp_path: Path, hashed: list[str], memo: bytes):
    expected = {"a": write(tmp_path / "a", b"one")}
    (tmp_path / MEMO_NAME).write_bytes(memo)
    check_files(tmp_path, expected, fix="")
    assert hashed == ["a"]


def test_a_missing_file_is_named(tmp_path: Path, hashed: list[str]):
    with pytest.raises(ShardCorrupt, match=r"/a: No such file or directory; extract again"):
        check_files(tmp_path, {"a": "00"}, fix="extract again")


def test_a_folder_that_cannot_be_written_is_checked_once_a_process(
    tmp_path: Path, hashed: list[str], monkeypatch
):
    def refuse(path: Path, content: object) -> None:
        raise OSError("read-only file system")

    monkeypatch.setattr(checked, "write_atomic", refuse)
    expected = {"a": write(tmp_path / "a", b"one")}
    check_files(tmp_path, expected, fix="")
    check_files(tmp_path, expected, fix="")
    forget()
    check_files(tmp_path, expected, fix="")
    assert hashed == ["a", "a"]
