"""What people type after an option, as plain values: modalities, pairs, adapters' options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .cache.modalities import MODALITIES
from .errors import ConfigError


def modality_names(values: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return modalities given repeatedly or with commas; None for "all" and for none given."""
    names = [name.strip() for value in values or () for name in value.split(",") if name.strip()]
    return None if not names or "all" in names else tuple(dict.fromkeys(names))


def by_modality(
    option: str, values: Sequence[str] | None, modalities: Sequence[str] | None
) -> dict[str, str] | None:
    """Return `[MODALITY=]VALUE` options by modality; a bare value serves the modalities asked for.

    Raises:
        ConfigError: If a bare value is given and no modality is.
    """
    if not values:
        return None
    found: dict[str, str] = {}
    for value in values:
        name, separator, rest = value.partition("=")
        if separator and name in MODALITIES:
            found[name] = rest
        elif modalities is not None and len(modalities) == 1:
            found[modalities[0]] = value
        else:
            raise ConfigError(
                f"{option} {value}: of which modality? write {option} "
                f"{next(iter(MODALITIES))}={value}"
            )
    return found


def adapter_options(
    options: Sequence[str] | None, columns: Sequence[str] | None
) -> dict[str, Any] | None:
    """Return an adapter's options: values as JSON where they are JSON, else as text.

    Raises:
        ConfigError: If one has no `=`.
    """
    found: dict[str, Any] = {}
    for flag, values in (("--option", options), ("--column", columns)):
        for value in values or ():
            name, separator, text = value.partition("=")
            if not separator:
                raise ConfigError(f"{flag} {value}: write {flag} NAME=VALUE")
            if flag == "--column":
                found.setdefault("columns", {})[name] = text
                continue
            try:
                found[name] = json.loads(text)
            except json.JSONDecodeError:
                found[name] = text
    return found or None
