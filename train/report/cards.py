"""What the report's page and the pages of explained examples are made of."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ...tables import Cell, Table

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""Nothing is fetched; a page shows what it holds."""


def asset(name: str) -> str:
    """Return the text of a file beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def table_card(table: Table, *, papers: bool = False, number: int = 0) -> str:
    """Return a table as a card, marked where it is the paper's own or one of its numbers."""
    numeric = table.numeric()
    head = "".join(
        f'<th scope="col"{_number(right)}>{escape(name)}</th>'
        for name, right in zip(table.columns, numeric, strict=True)
    )
    rows = [
        _row(cells, raw, previous, numeric)
        for cells, raw, previous in zip(
            table.cells(), table.rows, [None, *table.rows[:-1]], strict=False
        )
    ]
    kind = "card papers" if papers else "card"
    mark = f' data-table="{number}"' if number else ""
    return (
        f'<div class="{kind}"{mark}><h3>{escape(table.title)}</h3><div class="scroll"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></div>"
    )


def _row(
    cells: Sequence[str],
    raw: Sequence[Cell],
    previous: Sequence[Cell] | None,
    numeric: Sequence[bool],
) -> str:
    words = [str(cell) for cell in raw if isinstance(cell, str)]
    kinds = []
    if any(word.startswith("always ") for word in words):
        kinds.append("trivial")
    if any(word.startswith("the paper's ") for word in words):
        kinds.append("theirs")
    if previous is not None and isinstance(raw[0], str) and raw[0] != previous[0]:
        kinds.append("start")
    shown = "".join(
        f"<td{_number(right) or _wide(cell)}>{escape(cell)}</td>"
        for cell, right in zip(cells, numeric, strict=True)
    )
    return f'<tr class="{" ".join(kinds)}">{shown}</tr>' if kinds else f"<tr>{shown}</tr>"


def _number(right: bool) -> str:
    return ' class="number"' if right else ""


def _wide(cell: str) -> str:
    return ' class="wrap"' if len(cell) > 60 else ""
