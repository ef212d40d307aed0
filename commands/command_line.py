"""The command line made of settings classes: a field is an option, and what is typed its value."""

import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path, PurePath
from typing import Annotated, Any, Generic, TypeVar

import typer

from ..errors import ConfigError, UnknownName
from ..library.workspace import SECTIONS, ConfigFile, Workspace
from ..settings import Help, declared, holds, number_or_text

ALL = "all"
"""As an item of a list: nothing is left out, whatever the file says."""

Told = TypeVar("Told")


@dataclass(frozen=True)
class Call(Generic[Told]):
    """What a command was called with: its settings resolved, and `typed` of them and of places."""

    config: ConfigFile
    workspace: Workspace
    settings: Told
    typed: Mapping[str, Any]


Command = Callable[..., bool | None]


def command(app: typer.Typer, name: str) -> Callable[[Command], Command]:
    """Return a decorator that registers a function of a `Call` and its own arguments.

    Its docstring is the help, and after an empty line the examples. Where it returns False, the
    command exits with status 1.
    """
    kind, places = SECTIONS[name]

    def register(function: Command) -> Command:
        _, *own = inspect.signature(function, eval_str=True).parameters.values()

        def run(**given: Any) -> None:
            config = ConfigFile.read(Path())
            rest = {parameter.name: given.pop(parameter.name) for parameter in own}
            typed, top = typed_values(kind, given), typed_values(Workspace, given)
            settings = config.settings(name, kind, **typed)
            call = Call(config, config.workspace(**top), settings, {**typed, **top})
            if function(call, **rest) is False:
                raise typer.Exit(1)

        where = [option for option in options_of(Workspace) if option.name in places]
        options = [option.replace(kind=option.KEYWORD_ONLY) for option in own]
        run.__signature__ = inspect.Signature(  # pyright: ignore[reportFunctionMemberAccess]
            [*options, *options_of(kind), *where]
        )
        told, _, examples = inspect.cleandoc(function.__doc__ or "").partition("\n\n")
        app.command(name, help=told, epilog=examples)(run)
        return function

    return register


def options_of(kind: type) -> list[inspect.Parameter]:
    """Return a settings class as the parameters of a Typer command; None means not given."""
    defaults = {field.name: field.default for field in fields(kind)}
    parameters: list[inspect.Parameter] = []
    for name, members, told in declared(kind):
        several = holds(members, tuple) or holds(members, Mapping)
        own = defaults[name]
        default = told.default or ("" if own in (None, False, MISSING, ()) else str(own))
        option = typer.Option(
            *told.flags,
            help=told.text + (f" [default: {default}]" if default else ""),
            metavar=told.metavar,
            rich_help_panel=told.panel,
        )
        kind_typed = str if members[0] is PurePath else members[0]
        typed = Annotated[(list[str] if several else kind_typed) | None, option]
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=typed)
        )
    return parameters


def typed_values(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed of a class's options as its values; None was not typed."""
    values: dict[str, Any] = {}
    for name, members, told in declared(kind):
        typed = given.get(name)
        if typed is None:
            continue
        if holds(members, Mapping):
            values[name] = _pairs(told.flag(name), typed, told, members)
        elif holds(members, tuple):
            values[name] = _items(typed, told.choices, members)
        else:
            values[name] = typed
    return values


def _items(texts: list[str], choices: Collection[str], members: list[Any]) -> list[Any] | None:
    """Return a list given repeatedly; where its items are no free text, also with commas."""
    plain = typing.get_args(members[0])[0] is str
    if plain and not choices:
        return texts
    items = [item.strip() for text in texts for item in text.split(",") if item.strip()]
    if choices and ALL in items:
        return None
    return [*dict.fromkeys(items)] if plain else [number_or_text(item) for item in items]


def _pairs(flag: str, texts: list[str], told: Help, members: list[Any]) -> Any:
    """Return `NAME=VALUE`s as a table; one value alone as it is where a bare one has a meaning."""
    choices = told.choices
    parse = number_or_text if typing.get_args(members[-1])[1] is Any else str
    table: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if separator and (not choices or name in choices):
            table[name] = parse(value)
        elif separator:
            raise UnknownName(f"name in {flag} {text}", name, choices)
        elif str in members and len(texts) == 1:
            return text
        else:
            wanted = f"{next(iter(choices))}={text}" if choices else told.metavar
            raise ConfigError(f"{flag} {text}: write {flag} {wanted}")
    return table
