"""VQA accuracy as the official scorer computes it, and its results file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from ...errors import MetricError
from .normalise import clean_whitespace, normalise_answer
from .result import Figures, unanswered

if TYPE_CHECKING:
    from ...cache.examples import Example

Scoring = Literal["official", "always-normalised"]

MATCHES_FOR_FULL_SCORE = 3
ANSWER_TYPES = ("yes/no", "number", "other")
ALWAYS: Scoring = "always-normalised"
SCORINGS: tuple[Scoring, ...] = ("official", ALWAYS)


def vqa_accuracy(
    prediction: str, answers: Sequence[str], *, scoring: Scoring = "official"
) -> float:
    """Return one question's accuracy in [0, 1].

    The mean, over the subsets that leave one annotator out, of min(matches / 3, 1). With ten
    annotators 0, 1, 2, 3 and ≥ 4 matches give 0, .3, .6, .9 and 1. With fewer, the subsets are
    those of the annotators present, so that fewer than four cannot give 1, and one alone gives 0.

    Args:
        prediction: The answer to score.
        answers: The annotators' answers.
        scoring: ``official`` normalises both sides only where the annotators disagree;
            ``always-normalised`` does so for every question.

    Raises:
        MetricError: There are no answers, or the scoring is not one of the two.

    Source: the official VQA evaluation.
    """
    if scoring not in SCORINGS:
        raise MetricError(f"unknown VQA scoring {scoring!r}; choose one of: {', '.join(SCORINGS)}")
    if not answers:
        raise MetricError(f"no annotators' answers to score {prediction!r} against")
    predicted, references = _comparable(prediction, answers, scoring)
    matched = [reference == predicted for reference in references]
    total = sum(matched)
    subsets = (min(1.0, (total - left_out) / MATCHES_FOR_FULL_SCORE) for left_out in matched)
    return sum(subsets) / len(matched)


def official(
    predictions: Sequence[str], examples: Sequence[Example], _positive: str | None
) -> Figures:
    """Return the official accuracy: overall, by answer type, and apart by question type.

    A question without a type counts in the overall figure only. Answer types come as the
    literature has them (yes/no, number, other), further ones sorted.
    """
    accuracies = _accuracies(predictions, examples, "official")
    by_answer = _means_by_type(accuracies, [example.answer_type for example in examples])
    by_question = _means_by_type(accuracies, [example.question_type for example in examples])
    known = [name for name in ANSWER_TYPES if name in by_answer]
    order = [*known, *sorted(set(by_answer) - set(known))]
    return Figures(
        {"overall": _mean_percent(accuracies), **{name: by_answer[name] for name in order}},
        headline="overall",
        by_question_type={name: by_question[name] for name in sorted(by_question)},
    )


def always_normalised(
    predictions: Sequence[str], examples: Sequence[Example], _positive: str | None
) -> Figures:
    """Return the accuracy that normalises unanimous answers too, as the authors' code does."""
    return Figures({ALWAYS: _mean_percent(_accuracies(predictions, examples, ALWAYS))})


def official_results(ids: Sequence[str], predictions: Sequence[str]) -> str:
    """Return the text of the official results file: a JSON list, one object a question.

    Raises:
        MetricError: An id is not a whole number or is there twice, or the lengths differ.
    """
    if len(ids) != len(predictions):
        raise MetricError(f"{len(predictions)} predictions for {len(ids)} question ids")
    seen: set[int] = set()
    results = []
    for question_id, answer in zip(map(_question_number, ids), predictions, strict=True):
        if question_id in seen:
            raise MetricError(f"question_id {question_id} appears twice; results need one each")
        seen.add(question_id)
        results.append({"question_id": question_id, "answer": answer})
    return json.dumps(results, ensure_ascii=False)


def _comparable(prediction: str, answers: Sequence[str], scoring: Scoring) -> tuple[str, list[str]]:
    predicted = clean_whitespace(prediction)
    references = [clean_whitespace(answer) for answer in answers]
    if scoring == ALWAYS or len(set(references)) > 1:
        return normalise_answer(predicted), [normalise_answer(text) for text in references]
    return predicted, references


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
    grouped: dict[str, list[float]] = {}
    for accuracy, name in zip(accuracies, types, strict=True):
        if name is not None:
            grouped.setdefault(name, []).append(accuracy)
    return {name: _mean_percent(values) for name, values in grouped.items()}


def _mean_percent(accuracies: list[float]) -> float:
    # The official order of operations: the same last digit also where it is rounded.
    return round(100 * sum(accuracies) / len(accuracies), 2)


def _question_number(example_id: str) -> int:
    if not (example_id.isascii() and example_id.isdecimal()):
        raise MetricError(
            f"question id {example_id!r} is not a whole number, as the official results file needs"
        )
    return int(example_id)
