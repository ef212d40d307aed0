"""A report as text, Markdown, LaTeX or CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...tables import Table


def _csv(table: Table) -> str:
    return f"# {table.title}\n{table.csv()}"


FORMATS: dict[str, Callable[[Table], str]] = {
    "text": Table.text,
    "markdown": Table.markdown,
    "latex": Table.latex,
    "csv": _csv,
}
"""How one table is written; the fifth format, "html", is a page of its own."""


def render(tables: Sequence[Table], format: str, notes: Sequence[str] = ()) -> str:  # noqa: A002
    """Return the tables one after the other, and the notes where the format has room for them.

    Args:
        tables: At least one.
        format: A key of `FORMATS`.
        notes: Lines for people; left out of LaTeX and CSV.
    """
    written = [FORMATS[format](table) for table in tables]
    if format in ("text", "markdown"):
        written += list(notes)
    return "\n\n".join(written) + "\n"
