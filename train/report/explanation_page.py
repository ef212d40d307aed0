"""An explanation as HTML: a page of its own, and a card in the report."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from ...tables import Table
from .cards import POLICY, asset, table_card
from .explanation import ExplainedMethod, Explanation

_ABOUT = (
    "Integrated Gradients of the log-odds of each method's first answer token, from no "
    "signal to the input. Red raises it, blue lowers it; each method and medium has its own scale."
)


def figures_table(explanation: Explanation) -> Table:
    """Return each method's answer and how far its attributions can be trusted."""
    columns = [
        "method",
        "answer",
        "truth",
        "log-odds",
        "change",
        "delta",
        "|delta|/change",
        "steps",
    ]
    return Table("", columns, [_figures(one, explanation.truth) for one in explanation.methods], 4)


def _figures(one: ExplainedMethod, truth: str | None) -> list[str | float | int | None]:
    return [
        one.method,
        one.answer,
        truth,
        one.output,
        one.change,
        one.delta,
        f"{one.relative_delta:.1e}",
        one.steps,
    ]


def explanation_card(explanation: Explanation, picture: bytes) -> str:
    """Return the question, each method's words in red and blue, the picture and the figures."""
    encoded = base64.b64encode(picture).decode("ascii")
    title = f"{explanation.dataset}, {explanation.split}, {explanation.example}"
    words = "".join(_words(one) for one in explanation.methods)
    warned = "".join(
        f'<p class="wrong-delta">{escape(line)}</p>' for line in warnings_of(explanation)
    )
    return (
        f'<div class="card" data-explained><h3>{escape(title)}</h3>'
        f"<p>{escape(explanation.text)}</p>{words}"
        f'<img class="explained" alt="maps of {escape(title)}" loading="lazy" '
        f'src="data:image/png;base64,{encoded}">{warned}</div>{table_card(figures_table(explanation))}'
    )


def warnings_of(explanation: Explanation) -> list[str]:
    """Return a line for each method whose attributions do not sum to the change closely."""
    return [
        f"{one.method}: the attributions miss the change in log-odds by "
        f"{100 * one.relative_delta:.1f} % after {one.steps} steps; do not read much into its map"
        for one in explanation.methods
        if not one.converged
    ]


def _words(one: ExplainedMethod) -> str:
    largest = max((abs(value) for _, value in one.tokens), default=0.0) or 1.0
    drawn = " ".join(_word(word, value, value / largest) for word, value in one.tokens)
    return (
        f'<p class="words"><b>{escape(one.method)}</b> {escape(one.answer or "nothing")}: '
        f"{drawn}</p>"
    )


def _word(word: str, value: float, share: float) -> str:
    red, green, blue = word_colour(share)
    ink = "#ffffff" if abs(share) > 0.6 else "#1d2330"
    return (
        f'<span class="word" title="{value:+.4f}" style="background: rgb({red},{green},{blue}); '
        f'color: {ink}">{escape(word)}</span>'
    )


def word_colour(share: float) -> tuple[int, int, int]:
    """Return white at 0, red towards 1, blue towards -1."""
    end = (178, 24, 43) if share > 0 else (33, 102, 172)
    part = min(abs(share), 1.0)
    red, green, blue = (round(255 + part * (one - 255)) for one in end)
    return red, green, blue


def explanation_page(explanation: Explanation, picture: bytes) -> str:
    """Return the page of one example as a whole HTML document."""
    return _DOCUMENT.format(
        policy=POLICY,
        style=asset("page.css"),
        title=escape(f"{explanation.example} of {explanation.dataset}"),
        about=escape(_ABOUT),
        baseline=escape(explanation.baseline),
        body=explanation_card(explanation, picture),
    )


def explanation_cards(found: Sequence[tuple[Explanation, bytes]]) -> str:
    """Return the report's section of what was explained; empty where nothing was."""
    cards = "".join(explanation_card(one, picture) for one, picture in found)
    return f'<p class="soft">{escape(_ABOUT)}</p>{cards}' if cards else ""


_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><p class="soft">{about} The image's baseline: {baseline}.</p></header>
<main>{body}</main>
<footer>Made by pfcli explain.</footer>
</body>
</html>
"""
