"""Run as a program: do what is asked on standard input, each in a fork that has all imported.

A line is `["kills", FOLDER, …]`: a module beside this one, and what its `main` is called with. What
that returns is printed as a line of JSON, and what it raises as `{"traceback": TRACEBACK}`.
"""

import contextlib
import importlib
import json
import os
import sys
import traceback
from pathlib import Path

from . import workshop as _workshop  # noqa: F401  (imports what every child needs)


def do(name: str, folder: str, *arguments: object) -> dict[str, object]:
    """Return what a program returns, run in a fork."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)  # what it prints is no answer
        try:
            answer = importlib.import_module(f".{name}", __package__).main(Path(folder), *arguments)
        except BaseException:  # noqa: BLE001  (the test that asked is told)
            answer = {"traceback": traceback.format_exc()}
        with contextlib.suppress(OSError), os.fdopen(write, "w") as stream:
            json.dump(answer, stream)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        said = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(said) if said else {"traceback": f"{name} ended with status {status}"}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(do(*json.loads(line))), flush=True)
