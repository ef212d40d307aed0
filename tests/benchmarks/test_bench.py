import pytest
import torch

from promptfuse.benchmarks.bench import Figure, Line, Taken, bench_table, measure, run_apart
from promptfuse.benchmarks.machine import Machine, Products
from promptfuse.commands.bench import run_bench
from promptfuse.errors import UnknownName
from promptfuse.library.workspace import BenchSettings

HERE = Machine("cpu", None)


def test_contenders_take_turns_in_every_round() -> None:
    calls: list[str] = []
    line = Line("w", {name: lambda name=name: calls.append(name) for name in "ab"}, once=True)
    measure(line, HERE, rounds=3)
    assert calls == ["a", "b"] * 3


def test_the_median_of_what_a_contender_says_of_itself_counts_and_its_highest_memory() -> None:
    told = iter([Taken(5.0, 10), Taken(1.0, 30), Taken(2.0, 20)])
    figures = measure(Line("w", {"a": lambda: next(told)}, once=True), HERE, rounds=3)
    assert figures == {"a": Figure(2.0, 30)}


def test_a_command_says_its_memory_and_why_it_failed(tmp_path) -> None:
    small = run_apart("-c", "")
    large = run_apart("-c", "open('made', 'w'); bytes(range(256)) * 400_000", folder=tmp_path)
    assert (tmp_path / "made").exists()
    assert (large.peak_bytes or 0) > (small.peak_bytes or 0) + 90_000_000
    with pytest.raises(RuntimeError, match="no such thing"):
        run_apart("-c", "raise SystemExit('no such thing')")


def test_a_table_names_ratio_floor_rate_and_who_is_absent() -> None:
    line = Line(
        "read",
        {"ours": lambda: Taken(2.0), "peer": lambda: Taken(3.0)},
        floor_seconds=1.0,
        amount=10,
        unit="rows",
        absent={"other": "pip install other"},
        once=True,
    )
    table = bench_table("t", [line], HERE, rounds=1, quiet=True)
    assert table.columns == ["work", "by", "seconds", "rate", "ours is faster", "× floor"]
    assert table.rows == [
        ["read", "ours", "2", "5 rows/s", None, "2.00"],
        ["", "peer", "3", "3 rows/s", "1.50 ×", "3.00"],
        ["", "floor", "1", "10 rows/s", None, None],
        ["", "other (pip install other)", None, None, None, None],
    ]


def test_product_seconds_adds_up_counts() -> None:
    once = HERE.product_seconds([Products(1, 8, 8, 8)])
    assert once > 0
    assert HERE.product_seconds([Products(3, 8, 8, 8)], torch.float32) == pytest.approx(3 * once)


def test_an_unknown_bench_is_named() -> None:
    with pytest.raises(UnknownName, match="nope"):
        run_bench(["nope"], BenchSettings())
