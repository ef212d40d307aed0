"""A record's cells → an `Example`: what any table and any recipe read alike."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...cache.atomic import shorten
from ...cache.example_table import Example
from ...cache.modalities import MODALITIES
from ...errors import AnnotationInvalid
from .annotations import Record
from .paths import Getter

COLUMNS = (
    "id", "text", "answer", "answers", "answer_type", "question_type", "split",
    *MODALITIES, "start_seconds", "end_seconds",
)  # fmt: skip
"""What an example is made of; all but the first two may be absent."""


def no_meta(_: Record) -> dict[str, str]:
    """Return nothing of a record."""
    return {}


@dataclass(frozen=True)
class Cells:
    """How the records of a dataset become examples.

    Attributes:
        getters: What reads a column of `COLUMNS`; those left out are absent.
        names: What messages call a column, where it is not its own name.
        labels: The closed set of answers, none where they are free.
        words: What an answer stands for, such as "sarcastic" of "1".
        meta: What else is kept of a record.
        strict: A list of answers that is there holds some.
        absent: What is said of a needed column that a record lacks.
    """

    getters: Mapping[str, Getter]
    names: Mapping[str, str] = field(default_factory=dict)
    labels: frozenset[str] = frozenset()
    words: Mapping[str, str] = field(default_factory=dict)
    meta: Callable[[Record], dict[str, str]] = no_meta
    strict: bool = False
    absent: Callable[[str], str] = lambda _: ""

    def example(self, record: Record) -> Example:
        """Return a record as an example."""
        answers = self._answers(record)
        answer = self._text(record, "answer")
        if answer is not None:
            answer = self.words.get(answer, answer)
        elif answers:
            answer = Counter(answers).most_common(1)[0][0]
        if self.labels and answer is not None and answer not in self.labels:
            problem = f"answer {shorten(answer)} is not one of the labels {sorted(self.labels)}"
            raise record.invalid(problem)
        return Example(
            id=self.needed(record, "id"),
            text=self.needed(record, "text"),
            answer=answer,
            answers=answers or (() if answer is None else (answer,)),
            answer_type=self._text(record, "answer_type"),
            question_type=self._text(record, "question_type"),
            paths=self._media(record),
            span_seconds=self._span(record),
            meta=self.meta(record),
        )

    def split(self, record: Record) -> str | None:
        """Return the split that a record names."""
        return self._text(record, "split")

    def needed(self, record: Record, column: str) -> str:
        """Return a cell as text; a record without it is wrong."""
        text = self._text(record, column)
        if text is None:
            name = self._name(column)
            if name in record.fields and record.fields[name] != "":
                raise self._wrong(record, column, record.fields[name], "text")
            held = ", ".join(record.fields)
            lacks = f"lacks the field {name!r}; it has: {held}{self.absent(column)}"
            raise record.invalid(lacks)
        return text

    def _name(self, column: str) -> str:
        return self.names.get(column, column)

    def _value(self, record: Record, column: str) -> Any:
        """Return a cell; None for an absent column and NaN."""
        read = self.getters.get(column)
        value = None if read is None else read(record)
        return None if isinstance(value, float) and math.isnan(value) else value

    def _text(self, record: Record, column: str) -> str | None:
        """Return a cell as text; numbers and true or false are written out."""
        value = self._value(record, column)
        if value is None or isinstance(value, str):
            return value
        if not isinstance(value, bool | int | float):
            raise self._wrong(record, column, value, "text")
        return str(value)

    def _wrong(self, record: Record, column: str, value: Any, expected: str) -> AnnotationInvalid:
        problem = f"field {self._name(column)!r} must be {expected}, not {shorten(value)}"
        return record.invalid(problem)

    def _media(self, record: Record) -> dict[str, str]:
        paths: dict[str, str] = {}
        for modality in MODALITIES:
            path = self._value(record, modality)
            if path is not None:
                if not isinstance(path, str):
                    raise self._wrong(record, modality, path, "a path")
                paths[modality] = path
        return paths

    def _answers(self, record: Record) -> tuple[str, ...]:
        given = value = self._value(record, "answers")
        if value is None:
            return ()
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                wanted = f"a JSON list ({error})"
                raise self._wrong(record, "answers", given, wanted) from error
        if value == [] and self.strict:
            raise record.invalid(f"field {self._name('answers')!r} is empty")
        if not isinstance(value, list) or not {*map(type, value)} <= {str, int, float, bool}:
            raise self._wrong(record, "answers", given, "a list of texts")
        texts = map(str, value)
        return tuple(self.words.get(text, text) for text in texts) if self.words else tuple(texts)

    def _seconds(self, record: Record, column: str) -> float | None:
        value = self._value(record, column)
        try:
            return None if value is None else float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._wrong(record, column, value, "seconds") from error

    def _span(self, record: Record) -> tuple[float, float] | None:
        start, end = (self._seconds(record, name) for name in ("start_seconds", "end_seconds"))
        if start is None and end is None:
            return None
        if end is None:
            raise record.invalid("has start_seconds without end_seconds")
        start = start or 0.0
        if not (math.isfinite(end) and 0 <= start < end):
            problem = f"a span is 0 <= start < end in seconds, not [{start}, {end})"
            raise record.invalid(problem)
        return (start, end)
