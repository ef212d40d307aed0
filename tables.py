"""Tables for the terminal (drawn by rich), Markdown, LaTeX and CSV."""

import csv
import io
import math
import re
import shutil
import statistics
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

WIDTH = 100
"""Of a table that is not drawn in a terminal."""

EMPTY = "–"
_NARROWEST = 20
"""A word longer than this can be cut, such as a path."""

_GAP = 2
_SPELLED_OUT = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode categories that move or hide text


@dataclass(frozen=True)
class Spread:
    """A figure over `count` seeds; `std` is the sample deviation (n − 1), None of one seed."""

    mean: float
    std: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of one value a seed."""
        if not values:
            raise ValueError("a mean needs at least one value; got 0")
        std = statistics.stdev(values) if len(values) > 1 else None
        return cls(mean=statistics.fmean(values), std=std, count=len(values))

    def text(self, *, decimals: int = 2) -> str:
        """Return ``63.40 ± 1.20``, or ``63.40`` for one seed."""
        mean = f"{self.mean:.{decimals}f}"
        return mean if self.std is None else f"{mean} ± {self.std:.{decimals}f}"


Cell = str | int | float | Spread | None


@dataclass(frozen=True)
class Table:
    """A title, column names and rows of cells, floats shown with so many decimals.

    Columns of numbers are aligned right, all else left. None and NaN are shown as a dash.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    decimals: int = 2

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"row {number} of table {self.title!r} has {len(row)} cells "
                    f"for {len(self.columns)} columns"
                )

    def text(self, *, width: int | None = None) -> str:
        """Return the table for a terminal, in plain characters.

        Where it is too wide, names of columns wrap, then words, then figures; where even single
        words do not fit beside each other, each row becomes a list of its own.

        Args:
            width: Columns of the terminal; None takes the terminal's own, or `WIDTH` without one.
        """
        width = width or shutil.get_terminal_size((WIDTH, 24)).columns
        names, cells = [printable(name) for name in self.columns], self.cells()
        drawn = _drawn(names, cells, self.numeric(), width)
        if drawn is None:
            pairs = [
                list(pair) for row in cells for pair in (*zip(names, row, strict=True), ("", ""))
            ]
            drawn = _drawn(["", ""], pairs[:-1], [False, False], width, narrowest=1) or ""
        return "\n".join([*textwrap.wrap(printable(self.title), width), drawn])

    def markdown(self) -> str:
        """Return the table in Markdown, its title as a bold line."""
        ruler = ["---:" if right else "---" for right in self.numeric()]
        rows = [[printable(name) for name in self.columns], ruler, *self.cells()]
        lines = [_markdown_row(row) for row in rows]
        title = [f"**{printable(self.title)}**", ""] if self.title else []
        return "\n".join([*title, *lines])

    def latex(self) -> str:
        """Return the table as a LaTeX `table` with booktabs' rules."""
        align = "".join("r" if right else "l" for right in self.numeric())
        header, *body = (_latex_row(row) for row in [list(self.columns), *self.cells()])
        caption = [f"\\caption{{{_latex(self.title)}}}"] if self.title else []
        head = ["\\begin{table}", "\\centering", *caption, f"\\begin{{tabular}}{{{align}}}"]
        rows = ["\\toprule", header, "\\midrule", *body, "\\bottomrule"]
        return "\n".join([*head, *rows, "\\end{tabular}", "\\end{table}"])

    def csv(self) -> str:
        """Return the table as CSV without its title; a column of spreads has its deviations beside.

        Figures are not rounded. A missing one is an empty field.
        """
        wide = [
            any(isinstance(row[i], Spread) for row in self.rows) for i in range(len(self.columns))
        ]
        names = [[name, f"{name} std"] for name in self.columns]
        rows = [[_csv_values(cell) for cell in row] for row in self.rows]
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        for row in (names, *rows):
            writer.writerow(
                value for pair, both in zip(row, wide, strict=True) for value in pair[: 1 + both]
            )
        return file.getvalue().removesuffix("\n")

    def cells(self) -> list[list[str]]:
        """Return every cell as it is shown."""
        return [[_format(cell, self.decimals) for cell in row] for row in self.rows]

    def numeric(self) -> list[bool]:
        """Return for each column whether it is one of numbers, to be aligned right."""
        return [_is_numeric([row[i] for row in self.rows]) for i in range(len(self.columns))]


def _markdown_row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "≈": r"$\approx$",
        ">": r"$>$",
        "<": r"$<$",
        "–": "--",
        **{char: f"\\{char}" for char in "&%$#_{}"},
    }
)


def _latex_row(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(_latex, cells))} \\\\"


def _latex(text: str) -> str:
    return printable(text).translate(_LATEX)


def _csv_values(cell: Cell) -> list[str | int | float]:
    """Return a cell's value and its deviation; what is missing is empty."""
    values = (cell.mean, cell.std) if isinstance(cell, Spread) else (cell, None)
    return ["" if value is None or _is_nan(value) else value for value in values]


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _format(cell: Cell, decimals: int) -> str:
    if cell is None or _is_nan(cell.mean if isinstance(cell, Spread) else cell):
        return EMPTY
    if isinstance(cell, Spread):
        return cell.text(decimals=decimals)
    return f"{cell:.{decimals}f}" if isinstance(cell, float) else printable(str(cell))


def printable(text: str) -> str:
    """Return the text on one line, control characters (as in a file's name) spelled out."""
    return "".join(
        repr(char)[1:-1] if unicodedata.category(char) in _SPELLED_OUT else char for char in text
    )


def _is_numeric(cells: Sequence[Cell]) -> bool:
    """Return whether there are cells, all numbers or missing."""
    kinds = {type(cell) for cell in cells} - {type(None)}
    numbers = (int, float, Spread)
    return bool(kinds) and bool not in kinds and all(issubclass(kind, numbers) for kind in kinds)


def _drawn(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[bool],
    width: int,
    narrowest: int = _NARROWEST,
) -> str | None:
    """Return the columns beside each other, or None where they cannot be."""
    from rich import box, console, table
    from rich.text import Text

    columns = [[name, *(row[i] for row in rows)] for i, name in enumerate(names)]
    words = [min(_widest(column, apart=True), narrowest) for column in columns]
    whole = [
        max(word, _widest(column[1:])) if is_right else word
        for word, column, is_right in zip(words, columns, right, strict=True)
    ]
    room = width - _GAP * (len(names) - 1)
    widths = [_widest(column) for column in columns]
    if not any(_shrink(widths, least, room) for least in (whole, words)):
        return None
    drawn = table.Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    drawn.show_header = any(names)
    for name, wide, is_right in zip(names, widths, right, strict=True):
        heading = textwrap.fill(name, max(wide, 1))
        drawn.add_column(
            Text(heading), justify="right" if is_right else "left", width=wide, overflow="fold"
        )
    for row in rows:
        drawn.add_row(*map(Text, row))
    file = io.StringIO()
    console.Console(file=file, width=width, color_system=None).print(drawn)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def _shrink(widths: list[int], least: Sequence[int], room: int) -> bool:
    """Narrow columns in place, the one with most to spare first; return whether all fit."""
    while sum(widths) > room:
        spare, place = max((wide - least[i], i) for i, wide in enumerate(widths))
        if spare <= 0:
            return False
        widths[place] -= 1
    return True


def _widest(cells: Sequence[str], *, apart: bool = False) -> int:
    """Return how many terminal columns the widest cell takes, or the widest of its words."""
    from rich.cells import cell_len

    pieces = [
        piece for cell in cells for piece in (re.split(r"\s|(?<=-)", cell) if apart else [cell])
    ]
    return max(map(cell_len, pieces), default=0)
