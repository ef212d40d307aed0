"""Plain tables for the terminal, Markdown, LaTeX and CSV; nothing but the standard library."""

import csv
import io
import math
import statistics
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

WIDTH = 100
EMPTY = "–"
_GAP = "  "
_NARROWEST_TEXT = 12
_NARROWEST = 4
_RULES = {"unicode": "─", "ascii": "-"}
_SPELLED_OUT = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode categories that move or hide text

Rules = Literal["unicode", "ascii", "none"]


@dataclass(frozen=True)
class Spread:
    """A figure over several seeds: mean, sample standard deviation and how many there were.

    Attributes:
        mean: The mean.
        std: The sample standard deviation (n − 1 in the denominator), or None for one seed.
        count: The number of seeds.
    """

    mean: float
    std: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of one value a seed.

        Raises:
            ValueError: There are no values.
        """
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
    """A title, column names and rows of cells.

    Columns of numbers are aligned right, all else left. None and NaN are shown as a dash.

    Attributes:
        title: A line above the table; may be empty.
        columns: The columns' names.
        rows: The cells, one for each column.
        decimals: Digits after the point of every float and `Spread`.
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

    def text(self, *, width: int = WIDTH, rules: Rules = "unicode") -> str:
        """Return the table for a terminal, its lines at most `width` columns wide.

        Columns too wide to fit are wrapped: words first, then, where that is not enough (a
        column never gets narrower than 4), anywhere.
        """
        cells = [[printable(name) for name in self.columns], *self.cells()]
        right = self.numeric()
        widths = _fitted_widths(cells, right, width)
        header, *body = (_lines(row, widths, right) for row in cells)
        title = [printable(self.title)] if self.title else []
        rule = [] if rules == "none" else [_RULES[rules] * _total(widths)]
        return "\n".join([*title, *header, *rule, *(line for row in body for line in row)])

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
        return "\n".join(
            [
                "\\begin{table}",
                "\\centering",
                *caption,
                f"\\begin{{tabular}}{{{align}}}",
                "\\toprule",
                header,
                "\\midrule",
                *body,
                "\\bottomrule",
                "\\end{tabular}",
                "\\end{table}",
            ]
        )

    def csv(self) -> str:
        """Return the table as CSV without its title; a column of spreads has its deviations beside.

        Figures are not rounded. A missing one is an empty field.
        """
        spread = [any(isinstance(row[i], Spread) for row in self.rows) for i in self._places]
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        pairs = zip(self.columns, spread, strict=True)
        writer.writerow([one for name, wide in pairs for one in _csv_names(name, wide=wide)])
        for row in self.rows:
            pairs = zip(row, spread, strict=True)
            writer.writerow([one for cell, wide in pairs for one in _csv_cells(cell, wide=wide)])
        return file.getvalue().removesuffix("\n")

    @property
    def _places(self) -> range:
        return range(len(self.columns))

    def cells(self) -> list[list[str]]:
        """Return every cell as it is shown."""
        return [[_format(cell, self.decimals) for cell in row] for row in self.rows]

    def numeric(self) -> list[bool]:
        """Return for each column whether it is one of numbers, to be aligned right."""
        return [_is_numeric([row[i] for row in self.rows]) for i in range(len(self.columns))]


def seeds_table(
    title: str,
    results: Mapping[str, Sequence[Mapping[str, float]]],
    columns: Sequence[str],
    *,
    label: str = "method",
    decimals: int = 2,
) -> Table:
    """Return a table of mean ± standard deviation, one row a method, with the number of seeds.

    Args:
        title: The table's title.
        results: For each row's name, the figures of each seed.
        columns: The figures to show; one that a row's seeds do not all have is left empty.
        label: The first column's name.
        decimals: Digits after the point.
    """
    rows = [
        [name, *(_spread_of(seeds, column) for column in columns), len(seeds)]
        for name, seeds in results.items()
    ]
    return Table(title, [label, *columns, "seeds"], rows, decimals=decimals)


def _markdown_row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


_LATEX = {
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


def _latex_row(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(_latex, cells))} \\\\"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in printable(text))


def _csv_names(name: str, *, wide: bool) -> list[str]:
    return [name, f"{name} std"] if wide else [name]


def _csv_cells(cell: Cell, *, wide: bool) -> list[str | int | float]:
    if isinstance(cell, Spread):
        return [*_csv_cells(cell.mean, wide=False), *_csv_cells(cell.std, wide=False)]
    missing = cell is None or (isinstance(cell, float) and math.isnan(cell))
    value = "" if missing or cell is None else cell
    return [value, ""] if wide else [value]


def _spread_of(seeds: Sequence[Mapping[str, float]], column: str) -> Spread | None:
    if not seeds or any(column not in figures for figures in seeds):
        return None
    return Spread.of([figures[column] for figures in seeds])


def _format(cell: Cell, decimals: int) -> str:
    if cell is None:
        return EMPTY
    if isinstance(cell, Spread):
        return EMPTY if math.isnan(cell.mean) else cell.text(decimals=decimals)
    if isinstance(cell, float):
        return EMPTY if math.isnan(cell) else f"{cell:.{decimals}f}"
    return printable(str(cell))


def printable(text: str) -> str:
    """Return the text on one line, control characters (as in a file's name) spelled out."""
    return "".join(
        repr(char)[1:-1] if unicodedata.category(char) in _SPELLED_OUT else char for char in text
    )


def _is_numeric(cells: Sequence[Cell]) -> bool:
    filled = [cell for cell in cells if cell is not None]
    return bool(filled) and all(
        isinstance(cell, int | float | Spread) and not isinstance(cell, bool) for cell in filled
    )


def display_width(text: str) -> int:
    """Return how many terminal columns the text takes."""
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def _fitted_widths(cells: list[list[str]], right: list[bool], width: int) -> list[int]:
    """Return each column's width: its widest cell, less what must go for all to fit."""
    widths = [max(map(display_width, column)) for column in zip(*cells, strict=True)]
    excess = _total(widths) - width
    text_columns = [i for i, is_right in enumerate(right) if not is_right]
    excess = _shrink(widths, text_columns, excess, _NARROWEST_TEXT)
    _shrink(widths, list(range(len(widths))), excess, _NARROWEST)
    return widths


def _total(widths: list[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _shrink(widths: list[int], candidates: list[int], excess: int, narrowest: int) -> int:
    """Narrow the widest candidates in place; return what is still too much."""
    while excess > 0 and candidates:
        widest = max(candidates, key=lambda i: widths[i])
        if widths[widest] <= narrowest:
            break
        widths[widest] -= 1
        excess -= 1
    return excess


def _lines(row: list[str], widths: list[int], right: list[bool]) -> list[str]:
    wrapped = [_wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    height = max((len(lines) for lines in wrapped), default=0)
    return [
        _GAP.join(
            _padded(lines[i] if i < len(lines) else "", width, is_right)
            for lines, width, is_right in zip(wrapped, widths, right, strict=True)
        ).rstrip()
        for i in range(height)
    ]


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - display_width(text))
    return space + text if right else text + space


def _wrap(text: str, width: int) -> list[str]:
    if display_width(text) <= width:
        return [text]
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if display_width(joined) <= width:
            lines[-1] = joined
        else:
            pieces = _pieces(word, width)
            lines[-1:] = [lines[-1], *pieces] if lines[-1] else pieces
    return lines


def _pieces(word: str, width: int) -> list[str]:
    """Return a word cut to the width: behind its hyphens where it has any."""
    pieces = [""]
    for char in word:
        last = pieces[-1]
        if last and display_width(last + char) > width:
            cut = last.rfind("-") + 1 or len(last)
            pieces[-1:] = [last[:cut], last[cut:]]
        pieces[-1] += char
    return pieces
