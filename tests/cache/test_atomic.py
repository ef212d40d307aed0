import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from promptfuse.cache.atomic import (
    append_lines,
    exclusive,
    keep_lines,
    read_json_object,
    read_lines,
    remove_temporary_files,
    replacing,
    write_atomic,
    writer_name,
)
from promptfuse.errors import CacheBusy, CacheError, LocksMissing, RunError


def test_replacing_leaves_only_the_new_file(tmp_path: Path):
    path = tmp_path / "file"
    write_atomic(path, "old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_while_writing_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "file"
    write_atomic(path, "old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise OSError("disk is full")

    with pytest.raises(OSError, match="disk is full"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_writers_that_are_gone_are_removed(tmp_path: Path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    name = f".file.{writer_name().rpartition('-')[0]}-{gone.pid}.partial"
    (tmp_path / name).touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / ".file.elsewhere-1.partial").touch()
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("half")
        remove_temporary_files(tmp_path)
        assert temporary.exists()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".file.elsewhere-1.partial", ".hidden", "file"]


def test_lines_are_read_in_order(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    assert read_lines(path) == []
    append_lines(path, [{"n": 0, "text": "a\nb ü \udc80"}])
    append_lines(path, [{"n": 1}, {"n": 2}])
    assert [line["n"] for line in read_lines(path)] == [0, 1, 2]
    assert read_lines(path)[0]["text"] == "a\nb ü \udc80"


def test_a_torn_last_line_does_not_exist(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    append_lines(path, [{"n": 0}, {"n": 1}])
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole)):
        path.write_bytes(whole[:length])
        assert [line["n"] for line in read_lines(path)] == [0]
        keep_lines(path)
        assert path.read_bytes() == whole[:first]


@pytest.mark.parametrize("line", ['{"n": ', "[1]", "", "\x00\x00"])
def test_a_bad_line_that_was_finished_is_named(tmp_path: Path, line: str):
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"n": 0}}\n{line}\n{{"n": 2}}\n')
    with pytest.raises(CacheError, match=r"log\.jsonl:2: "):
        read_lines(path)


def test_keep_lines_cuts_after_a_count(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    keep_lines(path, 0)
    assert not path.exists()
    append_lines(path, [{"n": n} for n in range(4)])
    keep_lines(path, 2)
    assert [line["n"] for line in read_lines(path)] == [0, 1]
    with pytest.raises(CacheError, match="3 lines were committed, 2 are there"):
        keep_lines(path, 3)


def test_only_one_process_owns_a_folder(tmp_path: Path):
    script = (
        "import sys, pathlib\n"
        "from promptfuse.cache.atomic import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1]), doing='a trial'):\n"
        "    print('owned', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"owned\n"
        with (
            pytest.raises(CacheBusy, match="another process is writing here, so extraction cannot"),
            exclusive(tmp_path, doing="extraction"),
        ):
            pass
        owner.kill()
    with exclusive(tmp_path, doing="extraction"):
        pass  # the lock died with its owner


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch, code: int):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    problem = f"{tmp_path}: its file system has no locks .{os.strerror(code)}.*local_lock=flock"
    with pytest.raises(LocksMissing, match=problem), exclusive(tmp_path, doing="starting runs"):
        pass


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no such file; run: make it"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON: nested too deeply"),
        ("\xff", "not UTF-8 text at byte 0"),
        ("[1]", r"must be an object, not \[1\]"),
    ],
)
def test_what_is_no_json_object_is_named_with_its_file(tmp_path, content, problem):
    path = tmp_path / "told.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError, match=rf"model 'x': .*told\.json: {problem}"):
        read_json_object(path, RunError, owner="model 'x'", remedy="run: make it")
    path.write_text('{"a": [1]}')
    assert read_json_object(path) == {"a": [1]}
