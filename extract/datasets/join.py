"""Two files that speak of the same things, read side by side: questions and their annotations."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from ...cache.atomic import shorten
from ...errors import AnnotationInvalid
from .annotations import Record
from .paths import Getter


class Joined:
    """Records looked up by a key as they are read; those passed over are kept.

    Where both files name the keys in the same order, that takes no memory.

    Args:
        records: The other file's.
        key: What reads a record's key.
        same: Fields that must be equal in both.
        what: The key's name, for messages.
        many: Several records share one of theirs, and not all of theirs are asked for.
    """

    def __init__(
        self,
        records: Iterable[Record],
        key: Getter,
        *,
        what: str,
        same: Sequence[str] = (),
        many: bool = False,
    ) -> None:
        self._coming = iter(records)
        self._key, self._same, self._what, self._many = key, same, what, many
        self._passed: dict[Any, Record] = {}
        self._lacking, self._first = 0, ""

    def beside(self, key: Any, record: Record) -> Record | None:
        """Return a record with what the other file says under its key; None where it is silent."""
        key = self._name(record, key)
        found = self._passed.get(key) if self._many else self._passed.pop(key, None)
        for other in self._coming if found is None else ():
            name = self._name(other, self._key(other))
            if name in self._passed:
                raise other.invalid(f"this {self._what} comes twice: {shorten(name)}")
            if name != key or self._many:
                self._passed[name] = other
            if name == key:
                found = other
                break
        if found is None:
            self._lacking += 1
            lacking = f"{record.where}: no annotation has {self._what} {shorten(key)}"
            self._first = self._first or lacking
            return None
        for name in self._same:
            if found.needed(name) != record.needed(name):
                told = f"{name} {shorten(found.fields[name])}, but {record.where} has "
                raise found.invalid(f"{told}{name} {shorten(record.fields[name])}")
        where = f"{found.where}; {record.where}"
        return Record({**found.fields, **record.fields}, where)

    def _name(self, record: Record, key: Any) -> str | int:
        if not isinstance(key, str | int):
            raise record.invalid(f"{self._what} must be text or a whole number, not {shorten(key)}")
        return key

    def check(self, *, optional: bool) -> None:
        """Return if every record found its like and nothing is left over.

        Raises:
            AnnotationInvalid: If records are without, unless that is `optional`, or some are left.
        """
        if self._lacking and not optional:
            raise AnnotationInvalid(f"{self._first}; {self._lacking} records have none")
        left = next(chain(self._passed.values(), self._coming), None)
        if left is not None and not self._many:
            told = f"{self._what} {shorten(self._key(left))}"
            raise left.invalid(f"{told} is not asked for, or comes twice")
