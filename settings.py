"""How a setting is declared and read: a frozen dataclass a command, help and bounds on its fields.

    @dataclass(frozen=True)
    class EvalSettings(Settings):
        batch_size: Positive = setting(128, "Examples at a time.")

The command line's options are made from such a class, and `promptfuse.toml`, a run's record, a
sweep's and a prompt's metadata are read through it: a setting is said once.
"""

from __future__ import annotations

import json
import tomllib
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from annotated_types import Ge, Gt

from .errors import ConfigError, UnknownName

if typing.TYPE_CHECKING:
    from pydantic import ValidationError

COMMAND_LINE = "the command line"


@dataclass(frozen=True)
class Help:
    """What people are told of a setting, in one line below the heading `panel`.

    `flags` are the option's names where they are not the field's, `default` is what no value means
    where the field's own default does not say it, and `choices` the closed set of a name, of a
    list's items or of a table's keys.
    """

    text: str
    panel: str | None = None
    metavar: str | None = None
    flags: tuple[str, ...] = ()
    default: str | None = None
    choices: Collection[str] = ()

    def flag(self, name: str) -> str:
        """Return the option of the setting `name`."""
        return self.flags[0] if self.flags else f"--{name.replace('_', '-')}"


def setting(value: Any, text: str, panel: str | None = None, **told: Any) -> Any:
    """Return a field whose default is `value`, with its `Help`; a table is made anew each time.

    A type that several classes share, such as `Device`, carries its `Help` itself.
    """
    # pydantic takes a field's metadata as arguments of its own, of which this one is free
    metadata = {"json_schema_extra": {"help": Help(text, panel, **told)}}
    if isinstance(value, dict):
        return field(default_factory=value.copy, metadata=metadata)
    return field(default=value, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Base of what is read from people: strict types, finite numbers, no unknown keys."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


Positive = Annotated[int, Gt(0)]
NonNegative = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
Device = Annotated[str, Help("auto, cpu, cuda or cuda:N.", "Machine")]
Threads = Annotated[
    Positive | None, Help("CPU threads.", "Machine", default="torch's; 1 for small models")
]
TimeLimit = Annotated[
    str | None, Help("Stop in order after 90m, 2h or so many seconds.", "Machine", metavar="TIME")
]

Kind = TypeVar("Kind")

_WORDS = {
    "a valid integer": "a whole number",
    "a valid array": "a list",
    "a valid string": "a text",
    "an object": "a table",
}
"""What pydantic calls a type, as people do."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; a TOML file is expected") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a folder; a TOML file is expected") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def read_settings(
    kind: type[Kind], values: Mapping[str, Any], where: str, *, whole: bool = False
) -> Kind:
    """Return a dataclass made of values that people or a file gave; the rest are its defaults.

    Values are by field, as JSON or TOML has them: lists for tuples, tables for dataclasses. `where`
    is their source, for messages; `whole` ones must hold every field.

    Raises:
        UnknownName: If a key, or a name of a closed set, is unknown.
        ConfigError: If a value is absent, of the wrong type or out of range.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        settings: Any = TypeAdapter(kind).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise _explained(kind, error, where) from error
    _require_choices(settings, where)
    for name in _absent(asdict(settings), values) if whole else ():
        raise ConfigError(f"{where} has no {name}; it was edited: put it back")
    return settings


def _absent(made: Any, given: Any) -> Iterator[str]:
    """Yield the entries, at any depth, that a dataclass as JSON has and what was given has not."""
    if isinstance(made, list | tuple):
        made, given = dict(enumerate(made)), dict(enumerate(given))
    for name, part in made.items() if isinstance(made, dict) else ():
        if name in given:
            yield from (f"{name}.{below}" for below in _absent(part, given[name]))
        else:
            yield name


def _explained(kind: type, error: ValidationError, where: str) -> ConfigError | UnknownName:
    """Return the first problem as an error that names the key, the value and what was expected."""
    errors = error.errors(include_url=False)
    alike = [problem for problem in errors if problem["loc"][:1] == errors[0]["loc"][:1]]
    first = max(alike, key=lambda problem: len(problem["loc"]))  # the type that fits best
    path: list[str] = []
    owner: Any = kind
    for step in first["loc"]:
        if first["type"] == "unexpected_keyword_argument" and step == first["loc"][-1]:
            known = [field.name for field in fields(owner)] if is_dataclass(owner) else []
            owned = f"{'.'.join(path)} of {where}" if path else where
            return UnknownName(f"key in {owned}", str(step), known)
        members = _members_within(owner, str(step))
        if not members:  # what follows names one type of several
            break
        path.append(str(step))
        owner = members[0] if len(members) == 1 else None
    key = ".".join(path) or "its content"
    if isinstance(own := first.get("ctx", {}).get("error"), ConfigError):  # the dataclass's check
        return ConfigError(f"{where}: {own}")
    if first["type"] == "missing":
        if where == COMMAND_LINE:
            values = ", ".join(map(str, typing.get_args(owner))) or key.upper()
            return ConfigError(f"give --{key.replace('_', '-')}: {values}")
        return ConfigError(f"{where} has no {key}")
    wanted = first["msg"].removeprefix("Input should be ")
    wanted = _WORDS.get(wanted, wanted)
    return ConfigError(f"{key} in {where} is {first['input']!r}; expected {wanted}")


def _members_within(owner: Any, step: str) -> list[Any]:
    """Return the types that a dataclass's field, or an item of a list or table, can have."""
    if is_dataclass(owner):
        return _members(typing.get_type_hints(owner)[step])
    items = [item for item in typing.get_args(owner) if item is not Ellipsis]
    return _members(items[-1]) if items and typing.get_origin(owner) is not typing.Literal else []


def _require_choices(settings: Any, where: str, prefix: str = "") -> None:
    for name, part in vars(settings).items():
        if is_dataclass(part):
            _require_choices(part, where, f"{prefix}{name}.")
    for name, members, told in declared(type(settings)):
        value = getattr(settings, name)
        bare = isinstance(value, str)
        if not told.choices or value is None or (bare and holds(members, Mapping)):
            continue
        for item in (value,) if bare else value:
            if item not in told.choices:
                raise UnknownName(f"{prefix}{name} in {where}", item, list(told.choices))


def declared(kind: type) -> Iterator[tuple[str, list[Any], Help]]:
    """Yield each setting of a class: its name, the types that it can have, and its help."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for entry in fields(kind):
        own = entry.metadata.get("json_schema_extra", {}).values()
        for mark in (*own, *getattr(hints[entry.name], "__metadata__", ())):
            if isinstance(mark, Help):
                yield entry.name, _members(hints[entry.name]), mark
                break


def _members(hint: Any) -> list[Any]:
    """Return the types of a union but None, without their bounds; a type alone is one of one."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return _members(typing.get_args(hint)[0])
    if origin in (typing.Union, types.UnionType):
        return [kind for member in typing.get_args(hint) for kind in _members(member)]
    return [] if hint in (None, types.NoneType) else [hint]


def holds(members: list[Any], kind: type) -> bool:
    """Return whether a generic type is among those that a setting can have."""
    return any(typing.get_origin(member) is kind for member in members)


def number_or_text(text: str) -> Any:
    """Return what a text says in JSON, or the text where it is no JSON."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def by_modality(
    option: str, given: str | Mapping[str, str] | None, modalities: tuple[str, ...]
) -> dict[str, str]:
    """Return what was given by modality; a bare value is for the only one there is."""
    if not isinstance(given, str):
        return dict(given or {})
    if len(modalities) != 1:
        wanted = f"{option} {modalities[0] if modalities else 'MODALITY'}={given}"
        raise ConfigError(f"{option} {given}: of which modality? write {wanted}")
    return {modalities[0]: given}
