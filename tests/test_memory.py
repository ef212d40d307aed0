import pytest
import torch

from promptfuse.errors import OutOfMemory
from promptfuse.memory import is_shortage, with_less

CPU = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: not enough memory: you tried"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError(f"{CPU} to allocate 9 bytes."), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("not enough memory"), False),
    ],
    ids=str,
)
def test_what_is_a_shortage(error, expected):
    assert is_shortage(error) is expected


def fitting(limit, asked):
    """Return work that runs out of memory above a limit, and notes what it was asked for."""

    def attempt(size):
        asked.append(size)
        if size > limit:
            raise RuntimeError(CPU)
        return f"{size} done"

    return attempt


def test_the_size_is_halved_until_it_fits(capsys):
    asked = []
    assert with_less(fitting(20, asked), 100, what="examples", lower="--batch-size") == (
        "12 done",
        12,
    )
    assert asked == [100, 50, 25, 12]
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"out of memory: going on with {size} examples; --batch-size" for size in (50, 25, 12)
    ]


def test_nothing_is_said_where_it_fits(capsys):
    assert with_less(fitting(9, []), 9, what="examples", lower="x")[1] == 9
    assert capsys.readouterr().err == ""


def test_a_size_of_one_that_does_not_fit_says_what_to_lower():
    with pytest.raises(
        OutOfMemory, match=r"out of memory with 1 examples: --threads \(.*DefaultCPUAllocator"
    ):
        with_less(fitting(0, []), 3, what="examples", lower="--threads")


def test_other_errors_pass_through():
    def broken(size):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        with_less(broken, 4, what="examples", lower="--batch-size")
