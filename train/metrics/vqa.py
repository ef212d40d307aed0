"""VQA accuracy as the official scorer computes it, with all of its quirks, and its results file.

Source: the VQA evaluation's description at visualqa.org and the behaviour of its released scorer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ...errors import MetricError
from .result import Metrics, unanswered

if TYPE_CHECKING:
    from ...cache.examples import Example

Scoring = Literal["official", "always-normalised"]

MATCHES_FOR_FULL_SCORE = 3
ANSWER_TYPES = ("yes/no", "number", "other")
ALWAYS: Scoring = "always-normalised"

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
ARTICLES = frozenset({"a", "an", "the"})
NUMBER_WORDS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5",
    "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip

# The official pattern means to spare decimal points with a look-behind, which is mistyped and
# always holds: what is left is "a period that no digit follows".
_LOOSE_PERIOD = re.compile(r"\.(?!\d)")
# The official call passes a flag (value 32) where the count belongs.
_MOST_PERIODS_DELETED = 32
_COMMA_IN_NUMBER = re.compile(r"\d,\d")


@cache
def contractions() -> dict[str, str]:
    """Return the official list: a word without its apostrophe → the word with it."""
    listed = Path(__file__).with_name("vqa_contractions.json")
    return json.loads(listed.read_text(encoding="utf-8"))


def clean_whitespace(text: str) -> str:
    """Return the text with newlines and tabs as spaces, stripped at both ends."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def strip_punctuation(text: str) -> str:
    """Return the text after the official punctuation step.

    A mark is deleted, everywhere, if it stands next to a space anywhere in the text or if the
    text has a digit,comma,digit anywhere (then every mark is); otherwise it becomes a space.
    Periods that no digit follows go last.
    """
    number_with_comma = _COMMA_IN_NUMBER.search(text) is not None
    result = text
    for mark in PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if beside_space or number_with_comma else " ")
    return _LOOSE_PERIOD.sub("", result, count=_MOST_PERIODS_DELETED)


def standardise_words(text: str) -> str:
    """Return the text after the official digit and article step.

    Lower-cased; number words up to ten as digits; articles dropped; apostrophes of listed
    contractions restored; words joined by single spaces.
    """
    restored = contractions()
    digits = (NUMBER_WORDS.get(word, word) for word in text.lower().split())
    return " ".join(restored.get(word, word) for word in digits if word not in ARTICLES)


@lru_cache(maxsize=1 << 16)
def normalise_answer(text: str) -> str:
    """Return the text after both steps: punctuation, then digits and articles."""
    return standardise_words(strip_punctuation(text))


def vqa_accuracy(
    prediction: str, answers: Sequence[str], *, scoring: Scoring = "official"
) -> float:
    """Return one question's accuracy in [0, 1].

    The mean, over the subsets that leave one annotator out, of min(matches / 3, 1). With ten
    annotators 0, 1, 2, 3 and ≥ 4 matches give 0, .3, .6, .9 and 1. With fewer, the subsets are
    those of the annotators present, so that fewer than four cannot give 1, and one alone gives 0.
    ``official`` normalises both sides only where the annotators disagree, ``always-normalised``
    for every question.
    """
    if scoring not in get_args(Scoring):
        known = ", ".join(get_args(Scoring))
        raise MetricError(f"unknown VQA scoring {scoring!r}; choose one of: {known}")
    if not answers:
        raise MetricError(f"no annotators' answers to score {prediction!r} against")
    predicted, *references = map(clean_whitespace, (prediction, *answers))
    if scoring == ALWAYS or len(set(references)) > 1:
        predicted, *references = map(normalise_answer, (predicted, *references))
    matched = [reference == predicted for reference in references]
    total = sum(matched)
    subsets = (min(1.0, (total - left_out) / MATCHES_FOR_FULL_SCORE) for left_out in matched)
    return sum(subsets) / len(matched)


def official(
    predictions: Sequence[str], examples: Sequence[Example], _positive: str | None
) -> Metrics:
    """Return the official accuracy: overall, by answer type, and apart by question type.

    A question without a type counts in the overall figure only. Answer types come as the
    literature has them (yes/no, number, other), further ones sorted.
    """
    accuracies = _accuracies(predictions, examples, "official")
    by_answer = _means_by_type(accuracies, [example.answer_type for example in examples])
    by_question = _means_by_type(accuracies, [example.question_type for example in examples])
    order = [name for name in dict.fromkeys((*ANSWER_TYPES, *by_answer)) if name in by_answer]
    values = {"overall": _mean_percent(accuracies)} | {name: by_answer[name] for name in order}
    return Metrics(values, tuple(values), "overall", len(examples), by_question)


def always_normalised(
    predictions: Sequence[str], examples: Sequence[Example], _positive: str | None
) -> Metrics:
    """Return the accuracy that normalises unanimous answers too, as the authors' code does."""
    mean = _mean_percent(_accuracies(predictions, examples, ALWAYS))
    return Metrics({ALWAYS: mean}, (ALWAYS,), ALWAYS, len(examples))


def official_results(ids: Sequence[str], predictions: Sequence[str]) -> str:
    """Return the text of the official results file: a JSON list, one object a question.

    Raises:
        MetricError: An id is not a whole number or is there twice, or the lengths differ.
    """
    if len(ids) != len(predictions):
        raise MetricError(f"{len(predictions)} predictions for {len(ids)} question ids")
    results: dict[int, str] = {}
    for example_id, answer in zip(ids, predictions, strict=True):
        if not (example_id.isascii() and example_id.isdecimal()):
            raise MetricError(
                f"question id {example_id!r} is not a whole number, as the official results file "
                "needs"
            )
        if int(example_id) in results:
            raise MetricError(f"question_id {int(example_id)} appears twice; results need one each")
        results[int(example_id)] = answer
    listed = [{"question_id": number, "answer": answer} for number, answer in results.items()]
    return json.dumps(listed, ensure_ascii=False)


def _accuracies(
    predictions: Sequence[str], examples: Sequence[Example], scoring: Scoring
) -> list[float]:
    for example in examples:
        if not example.answers:
            raise unanswered(example)
    return [
        vqa_accuracy(prediction, example.answers, scoring=scoring)
        for prediction, example in zip(predictions, examples, strict=True)
    ]


def _means_by_type(accuracies: list[float], types: Sequence[str | None]) -> dict[str, float]:
    """Return the mean of each type, sorted by name."""
    grouped: dict[str, list[float]] = {}
    for accuracy, name in zip(accuracies, types, strict=True):
        if name is not None:
            grouped.setdefault(name, []).append(accuracy)
    return {name: _mean_percent(values) for name, values in sorted(grouped.items())}


def _mean_percent(accuracies: list[float]) -> float:
    # The official order of operations: the same last digit also where it is rounded.
    return round(100 * sum(accuracies) / len(accuracies), 2)
