"""Puts tables of settings into the pages, for `<!-- settings: train.settings:TrainSettings -->`."""

import re
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

from promptfuse.commands.command_line import options_of
from promptfuse.settings import declared

_MARK = re.compile(r"<!-- settings: ([\w.]+):(\w+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page with its marks replaced by tables; mkdocs calls it for every page."""
    return _MARK.sub(lambda mark: settings_table(mark[1], mark[2]), markdown)


def settings_table(module: str, name: str) -> str:
    """Return the settings of a class in a module of promptfuse as a Markdown table, a row each."""
    kind = getattr(import_module(f"promptfuse.{module}"), name)
    texts = {option.name: option.annotation.__metadata__[0].help for option in options_of(kind)}
    rows = ["| setting | values | what it is |", "|---|---|---|"]
    for setting, members, told in declared(kind):
        literals = [
            v for member in members if get_origin(member) is Literal for v in get_args(member)
        ]
        values = ", ".join(f"`{value}`" for value in (*told.choices, *literals))
        text = re.sub(r"\[default: (.*)\]$", r"(default: \1)", texts[setting])
        rows.append(f"| `{setting}` | {values or told.metavar or ''} | {text} |")
    return "\n".join(rows)
