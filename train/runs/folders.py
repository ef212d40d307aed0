"""The runs' folders: how they are numbered, and found again."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...cache.atomic import exclusive, make_folder
from ...errors import RunError
from ..record import RECORD, RunRecord, write_record

_NUMBERED = re.compile(r"(\d{4,})-")


def new_run_names(runs_root: Path, stems: Sequence[str]) -> list[str]:
    """Return a fresh, numbered name for each stem; higher numbers are later runs.

    A folder that a crash left without its record keeps its number: no name comes twice.
    """
    there = runs_root.iterdir() if runs_root.is_dir() else ()
    numbers = [int(match[1]) for path in there if (match := _NUMBERED.match(path.name))]
    first = max(numbers, default=0) + 1
    return [f"{first + offset:04d}-{stem}" for offset, stem in enumerate(stems)]


def write_records(
    runs_root: Path, stems: Sequence[str], records: Sequence[RunRecord]
) -> list[Path]:
    """Return the new, numbered folders of a group's runs; an error leaves none of them behind.

    Two processes that start runs at once get numbers of their own.
    """
    make_folder(runs_root)
    with exclusive(runs_root, doing="starting runs", wait=True):
        names = new_run_names(runs_root, stems)
        folders: list[Path] = []
        try:
            for name, record in zip(names, records, strict=True):
                folder = runs_root / name
                folder.mkdir()
                folders.append(folder)  # only what was made here is taken away again
                write_record(folder, replace(record, name=folder.name, group=names))
        except BaseException:
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
            raise
    return folders


def run_folders(runs_root: Path) -> list[Path]:
    """Return the folders of all runs, in the order in which they were started."""
    if not runs_root.is_dir():
        return []
    folders = [path for path in runs_root.iterdir() if (path / RECORD).is_file()]
    return sorted(folders, key=lambda path: (len(path.name.partition("-")[0]), path.name))


def find_run(runs_root: Path, wanted: str | None) -> Path:
    """Return the folder of a run given its path, name, number or a name's beginning, or the latest.

    Where there is none or several, the error lists the latest.
    """
    folders = run_folders(runs_root)
    if wanted is None:
        if not folders:
            raise RunError(f"{runs_root} holds no run; train one first: pfcli train")
        return folders[-1]
    if (Path(wanted) / RECORD).is_file():
        return Path(wanted)
    start = f"{int(wanted):04d}-" if wanted.isdecimal() else wanted
    matches = [folder for folder in folders if folder.name.startswith(start)]
    exact = [folder for folder in matches if folder.name == wanted]
    if len(exact or matches) == 1:
        return (exact or matches)[0]
    names = ", ".join(folder.name for folder in (matches or folders)[-5:])
    there = f"the latest there: {names}" if names else "train one first: pfcli train"
    problem = f"{len(matches)} runs begin with {wanted!r}" if matches else f"no run {wanted!r}"
    raise RunError(f"{problem} in {runs_root}; {there}")
