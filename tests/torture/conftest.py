import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def programs():
    """Return what runs a program of this folder in a process that is made for forking."""
    command = [sys.executable, "-m", "tests.torture.programs"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:

        def run(name, folder, *arguments):
            process.stdin.write(json.dumps([name, str(folder), *arguments]) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            assert line, f"the process that runs {name} is gone"
            answer = json.loads(line)
            assert "traceback" not in answer, answer["traceback"]
            return answer

        yield run
        process.stdin.close()


@pytest.fixture
def long(request):
    """Return whether the long form was asked for."""
    return request.config.getoption("--long")


@pytest.fixture
def note(record_property):
    """Return what puts a row into the table that is printed at the end of the long form."""

    def put(fault, times, outcome):
        record_property("torture", [fault, times, outcome])

    return put


def said(counts):
    """Return counts in words."""
    return ", ".join(f"{name} {count}" for name, count in counts.items())
