"""Show: an extraction killed at any instant and run again is as if it had never been killed."""

import json
import subprocess
import sys
from pathlib import Path

from promptfuse.cache.keys import file_sha256

from . import interrupted_extraction
from .flat_media import files_of
from .media_files import cut_short, grey_frames, tone, write_clip, write_image
from .tiny_models import save_listener, save_tower

KILLS = 20


def lay_out(folder: Path) -> None:
    """Write models, good and bad media, and the list of them."""
    save_tower(folder / "vit")
    save_listener(folder / "wav2vec2")
    media = [(write_image(folder / f"{i}.png", size=(30 + i, 40)), ["image"]) for i in range(20)]
    media.append((cut_short(write_image(folder / "bad.jpg", size=(64, 64)), 0.5), ["image"]))
    for i in range(8):
        path = folder / f"{i}.mp4"
        sounds = [tone(0.5 + 0.1 * i, 48_000)] if i != 3 else []
        write_clip(path, videos=[grey_frames(5 + i)], sounds=sounds)
        media.append((path, ["video", "audio"]))
    (folder / "none.mp4").write_text("not a clip")
    media.append((folder / "none.mp4", ["video", "audio"]))
    said = [(file_sha256(path).hex(), str(path), kinds) for path, kinds in media]
    (folder / "media.json").write_text(json.dumps(said))


def test_killed_extractions_end_like_undisturbed_ones(tmp_path: Path):
    lay_out(tmp_path)
    command = [sys.executable, interrupted_extraction.__file__, str(tmp_path), str(KILLS), "11"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    commits = json.loads(done.stdout.splitlines()[-1])
    whole = files_of(tmp_path / "whole")
    total = sum(name.endswith(".json") and "/commits/" in name for name in whole)
    assert total == (1 + 7) + (1 + 3) + (1 + 3)
    assert len(set(commits)) > 5, f"the kills fell at few points: {commits}"
    for number in range(KILLS):
        assert files_of(tmp_path / f"killed-{number}") == whole
