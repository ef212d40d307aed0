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
        """Return the table for a terminal of so many columns, in plain characters.

        Where it is too wide, names of columns wrap, then words, then figures; where even single
        words do not fit beside each other, each row becomes a list of its own. Without a width,
        it is the terminal's own, or `WIDTH` where there is none.
        """
        width = width or shutil.get_terminal_size((WIDTH, 24)).columns
        names, cells = [printable(name) for name in self.columns], self.cells()
        drawn = _drawn(names, cells, self.numeric(), width)
        if drawn is None:
            pairs = [pair for row in cells for pair in (*zip(names, row, strict=True), ("", ""))]
            drawn = _drawn(["", ""], pairs[:-1], [False, False], width, narrowest=1) or ""
        return "\n".join([*textwrap.wrap(printable(self.title), width), drawn])

    def markdown(self) -> str:
        """Return the table in Markdown, its title as a bold line."""
        ruler = ["---:" if right else "---" for right in self.numeric()]
        rows = [[printable(name) for name in self.columns], ruler, *self.cells()]
        lines = [f"| {' | '.join(cell.translate(_MARKDOWN) for cell in row)} |" for row in rows]
        title = [f"**{printable(self.title)}**", ""] if self.title else []
        return "\n".join([*title, *lines])

    def latex(self) -> str:
        """Return the table as a LaTeX `table` with booktabs' rules."""
        align = "".join("r" if right else "l" for right in self.numeric())
        rows = [f"{' & '.join(map(_latex, row))} \\\\" for row in (self.columns, *self.cells())]
        caption = [f"\\caption{{{_latex(self.title)}}}"] if self.title else []
        head = ["\\begin{table}", "\\centering", *caption, f"\\begin{{tabular}}{{{align}}}"]
        body = ["\\toprule", rows[0], "\\midrule", *rows[1:], "\\bottomrule"]
        return "\n".join([*head, *body, "\\end{tabular}", "\\end{table}"])

    def csv(self) -> str:
        """Return the table as CSV without its title; a column of spreads has its deviations beside.

        Figures are not rounded. A missing one is an empty field.
        """
        wide = [any(isinstance(cell, Spread) for cell in column) for column in self._by_column()]
        names = [(name, f"{name} std") for name in self.columns]
        rows = [names, *([_mean_and_std(cell) for cell in row] for row in self.rows)]
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(
            [value for pair, both in zip(row, wide, strict=True) for value in pair[: 1 + both]]
            for row in rows
        )
        return file.getvalue().removesuffix("\n")

    def cells(self) -> list[list[str]]:
        """Return every cell as it is shown."""
        return [[_format(cell, self.decimals) for cell in row] for row in self.rows]

    def numeric(self) -> list[bool]:
        """Return for each column whether it is one of numbers, to be aligned right."""
        known = [[cell for cell in column if cell is not None] for column in self._by_column()]
        return [bool(cells) and all(map(_is_number, cells)) for cells in known]

    def _by_column(self) -> list[list[Cell]]:
        return [[row[place] for row in self.rows] for place in range(len(self.columns))]


_MARKDOWN = str.maketrans({"\\": r"\\", "|": r"\|"})
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


def _latex(text: str) -> str:
    return printable(text).translate(_LATEX)


def _mean_and_std(cell: Cell) -> tuple[Cell, Cell]:
    known = _known(cell)
    return (known.mean, known.std) if isinstance(known, Spread) else (known, None)


def _known(cell: Cell) -> Cell:
    """Return a cell, None in place of NaN."""
    figure = cell.mean if isinstance(cell, Spread) else cell
    return None if isinstance(figure, float) and math.isnan(figure) else cell


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float | Spread) and not isinstance(cell, bool)


def _format(cell: Cell, decimals: int) -> str:
    known = _known(cell)
    if isinstance(known, Spread):
        return known.text(decimals=decimals)
    if isinstance(known, float):
        return f"{known:.{decimals}f}"
    return EMPTY if known is None else printable(str(known))


def printable(text: str) -> str:
    """Return the text on one line, control characters (as in a file's name) spelled out."""
    return "".join(
        repr(char)[1:-1] if unicodedata.category(char) in _SPELLED_OUT else char for char in text
    )


def _drawn(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[bool],
    width: int,
    narrowest: int = _NARROWEST,
) -> str | None:
    """Return the columns beside each other, or None where they cannot be."""
    from rich import box, console, table
    from rich.cells import cell_len
    from rich.text import Text

    widths, words, whole = [], [], []
    for place, name in enumerate(names):
        figures = [row[place] for row in rows]
        parts = [word for cell in (name, *figures) for word in re.split(r"\s|(?<=-)", cell)]
        words.append(min(max(map(cell_len, parts)), narrowest))
        whole.append(max(words[-1], *map(cell_len, figures)) if right[place] else words[-1])
        widths.append(max(map(cell_len, (name, *figures))))
    room = width - _GAP * (len(names) - 1)
    if not any(_shrink(widths, least, room) for least in (whole, words)):
        return None
    drawn = table.Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    drawn.show_header = any(names)
    for name, wide, is_right in zip(names, widths, right, strict=True):
        heading = Text(textwrap.fill(name, max(wide, 1)))
        drawn.add_column(
            heading, justify="right" if is_right else "left", width=wide, overflow="fold"
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
