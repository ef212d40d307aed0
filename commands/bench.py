"""`pfcli bench`."""

from collections.abc import Sequence
from importlib import import_module

from ..benchmarks import BENCHES
from ..errors import UnknownName
from ..library.workspace import BenchSettings
from ..pretrained import device_named


def run_bench(names: Sequence[str], settings: BenchSettings) -> None:
    """Measure some benches, or all, and print a table each."""
    from ..benchmarks.bench import bench_table
    from ..benchmarks.machine import Machine

    for name in names:
        if name not in BENCHES:
            raise UnknownName("bench", name, list(BENCHES))
    machine = Machine(str(device_named(settings.device)), settings.threads)
    for name in names or BENCHES:
        lines = import_module(f"promptfuse.benchmarks.{name}").lines
        title = f"{name}: {BENCHES[name]}"
        table = bench_table(title, lines(machine), machine, rounds=settings.rounds)
        print(table.markdown() if settings.markdown else table.text(), flush=True)
