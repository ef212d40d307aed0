"""One self-contained HTML page: tables, curves, masks and answers; nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ...tables import Table
from .cards import POLICY, asset, table_card
from .paper_tables import ReportTable
from .predictions import Browsed


@dataclass(frozen=True)
class PageContent:
    """What a page shows.

    Attributes:
        subtitle: A line under the title.
        notes: What a reader has to know, one line each.
        tables: The paper's tables made of runs.
        order: How the methods rank.
        failed: The cells that failed, or None where none did.
        curves: Learning curves, as HTML figures.
        lengths: Scores by prompt length, as HTML figures.
        masks: The attention masks, as HTML figures.
        browsed: Answers to browse.
        explained: What answers rest on, as HTML cards; empty where nothing was explained.
    """

    subtitle: str
    notes: Sequence[str]
    tables: Sequence[ReportTable]
    order: Sequence[Table]
    failed: Table | None
    curves: Sequence[str]
    lengths: Sequence[str]
    masks: Sequence[str]
    browsed: Sequence[Browsed]
    explained: str = ""


def html_page(content: PageContent) -> str:
    """Return the page as a whole HTML document."""
    order = [table_card(table) for table in content.order]
    failed = [] if content.failed is None else [table_card(content.failed)]
    sections = [
        ("tables", "Tables", "", "".join(map(_report_card, content.tables))),
        ("order", "Order of the methods", "", "".join(order)),
        ("failed", "Failed", "", "".join(failed)),
        ("curves", "Learning curves", _CURVES, _grid(content.curves)),
        ("lengths", "Prompt length", _LENGTHS, _grid(content.lengths)),
        ("masks", "What sees what", _MASKS, _grid(content.masks)),
        ("explained", "What answers rest on", "", content.explained),
        ("answers", "Answers", _ANSWERS, "".join(map(_browser, content.browsed))),
    ]
    there = [section for section in sections if section[3]]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _, _ in there)
    return _DOCUMENT.format(
        policy=POLICY,
        style=asset("page.css"),
        script=asset("page.js"),
        subtitle=escape(content.subtitle),
        notes="".join(f'<p class="soft">{escape(note)}</p>' for note in content.notes),
        links=links,
        sections="".join(_section(*section) for section in there),
    )


_CURVES = "The mean training loss over the seeds; the band spans them."
_LENGTHS = "Mean over the seeds; the band is one standard deviation to each side."
_MASKS = (
    "A row is a position of the fused sequence, a column what it may attend to. Drawn from the "
    "mask that the language model is given."
)
_ANSWERS = "The first seed of each row of the main tables, right or wrong, with what was asked."

_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>promptfuse report</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header><h1>promptfuse report</h1><p>{subtitle}</p>{notes}</header>
<nav><div>{links}</div></nav>
<main>{sections}</main>
<footer>Figures are mean ± sample standard deviation over runs that differ in their seed. The
paper: Liang, Zhao and Schütze, Modular and Parameter-Efficient Multimodal Fusion with Prompting,
Findings of ACL 2022. Made by pfcli report.</footer>
<script>{script}</script>
</body>
</html>
"""


def _section(name: str, title: str, about: str, body: str) -> str:
    said = f'<p class="soft">{escape(about)}</p>' if about else ""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{said}{body}</section>'


def _grid(figures: Sequence[str]) -> str:
    return f'<div class="grid-of">{"".join(figures)}</div>' if figures else ""


def _report_card(one: ReportTable) -> str:
    return table_card(one.table, papers=one.papers, number=one.number)


def _browser(browsed: Browsed) -> str:
    rest = (
        f'<p class="soft">{browsed.left_out:,} further examples are not in this page.</p>'
        if browsed.left_out
        else ""
    )
    return (
        f'<div class="card" data-browse><h3>{escape(browsed.title)}</h3><div class="controls">'
        '<input type="search" placeholder="words in question, answer or file" '
        'aria-label="words to look for"><select aria-label="run"></select>'
        '<select aria-label="right or wrong"><option value="all">right and wrong</option>'
        '<option value="right">right</option><option value="partly">partly right</option>'
        '<option value="wrong">wrong</option></select><button type="button">back</button>'
        '<button type="button">on</button><output></output></div>'
        '<div class="scroll"><table class="answers"><thead><tr><th>medium</th><th>text</th>'
        "<th>answered</th><th>truth</th></tr></thead><tbody></tbody></table></div>"
        f'{rest}<script type="application/json">{browsed.as_json()}</script></div>'
    )
