"""The tour of the library in docs/ runs as it is printed there, in an empty folder."""

import subprocess
import sys
from pathlib import Path

TOUR = Path(__file__).parents[1] / "docs" / "tour.py"


def test_the_tour_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, TOUR], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "{'train': 2080, 'val': 600}, 0 media failed" in done.stdout
    assert "a batch: 32 questions, images (32, 1, 128)" in done.stdout
    assert "Table 2. Methods: demo-vqa, 600 examples of 'val', in percent" in done.stdout
    assert len(list((tmp_path / "pf/runs").glob("*/eval-val/metrics.json"))) == 2
