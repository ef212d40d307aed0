"""Several extractions at once on one cache, which ends as if one process had made it."""

from pathlib import Path

from . import workshop
from .workshop import EXTRACT, cache_contents, copy, files_of, lay_out, outcome, outcomes

#: What each of so many processes types, in turn.
KINDS = {
    "the same": [EXTRACT],
    "other modalities": [(*EXTRACT, "--modality", "image"), (*EXTRACT, "--modality", "video")],
    "two datasets": [EXTRACT, ("extract", "--dataset", "other", *EXTRACT[3:])],
}


def main(folder: Path, kind: str, processes: int, pictures: int, clips: int) -> dict[str, int]:
    """Return how many processes were refused with a reason, and where the cache differs."""
    if not (folder / "start").exists():
        lay_out(folder / "start", pictures=pictures, clips=clips)
    commands = [KINDS[kind][number % len(KINDS[kind])] for number in range(processes)]
    work = copy(folder / "start", folder / "work")
    for command in dict.fromkeys(commands):
        workshop.type_in(command, work)
    expected, files = cache_contents(work), files_of(work)  # which notice doubled rows
    copy(folder / "start", work)
    ended = outcomes(commands, work)
    refused = [said for status, said in ended if status]
    for said in refused:
        assert "error:" in said, said
    for command in dict.fromkeys(commands) if refused else ():
        outcome(command, work)
    held = cache_contents(work)
    return {
        "refused": len(refused),
        "lost": len(expected.keys() - held.keys()),
        "changed": sum(held.get(name) != value for name, value in expected.items()),
        "more": len(held.keys() - expected.keys()),
        "other files": len(files_of(work).items() ^ files.items()),
    }
