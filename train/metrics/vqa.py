"""VQA accuracy as the official scorer computes it, and its results file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...errors import MetricError
from .normalise import clean_whitespace, normalise_answer
from .result import Metrics, ScoredExample, ScoreRules, Scoring

MATCHES_FOR_FULL_SCORE = 3
ANSWER_TYPES = ("yes/no", "number", "other")
ALWAYS: Scoring = "always-normalised"
SCORINGS: tuple[Scoring, ...] = ("official", ALWAYS)


@dataclass(frozen=True)
class VqaReport:
    """VQA accuracy in percent, each figure to two decimals.

    Attributes:
        overall: Mean over all questions.
        by_answer_type: Mean by answer type: yes/no, number, other, then any further ones sorted.
        by_question_type: Mean by question type, sorted by name.
        questions: How many questions were scored.
        scoring: Which normalisation was used.
    """

    overall: float
    by_answer_type: Mapping[str, float]
    by_question_type: Mapping[str, float]
    questions: int
    scoring: Scoring


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


def vqa_report(
    predictions: Sequence[str],
    examples: Sequence[ScoredExample],
    *,
    scoring: Scoring = "official",
) -> VqaReport:
    """Return the accuracy overall, by answer type and by question type.

    A question without a type counts in the overall figure only.

    Raises:
        MetricError: A question has no answers; the message names it.
    """
    accuracies = [
        vqa_accuracy(prediction, _annotated(example), scoring=scoring)
        for prediction, example in zip(predictions, examples, strict=True)
    ]
    by_answer_type = _means_by_type(accuracies, (example.answer_type for example in examples))
    by_question_type = _means_by_type(accuracies, (example.question_type for example in examples))
    return VqaReport(
        overall=_mean_percent(accuracies),
        by_answer_type={name: by_answer_type[name] for name in _in_order(by_answer_type)},
        by_question_type={name: by_question_type[name] for name in sorted(by_question_type)},
        questions=len(accuracies),
        scoring=scoring,
    )


def score_vqa(
    predictions: Sequence[str], examples: Sequence[ScoredExample], rules: ScoreRules
) -> Metrics:
    """Return the official accuracy, overall and by answer type, and the other scoring beside it.

    The other one normalises unanimous answers too, as the authors' code does.
    """
    del rules
    report = vqa_report(predictions, examples)
    other = vqa_report(predictions, examples, scoring=ALWAYS)
    values = {"overall": report.overall, ALWAYS: other.overall, **report.by_answer_type}
    return Metrics(
        values=values,
        columns=tuple(values),
        headline="overall",
        examples=report.questions,
        by_question_type=report.by_question_type,
    )


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


def _annotated(example: ScoredExample) -> Sequence[str]:
    if not example.answers:
        raise MetricError(
            f"question {example.id!r} has no answers to score against; "
            "score a split that has annotations"
        )
    return example.answers


def _means_by_type(accuracies: list[float], types: Iterable[str | None]) -> dict[str, float]:
    grouped: dict[str, list[float]] = {}
    for accuracy, name in zip(accuracies, types, strict=True):
        if name is not None:
            grouped.setdefault(name, []).append(accuracy)
    return {name: _mean_percent(values) for name, values in grouped.items()}


def _mean_percent(accuracies: list[float]) -> float:
    if not accuracies:
        raise MetricError("no questions to score")
    # The official order of operations: the same last digit also where it is rounded.
    return round(100 * sum(accuracies) / len(accuracies), 2)


def _in_order(by_answer_type: Mapping[str, float]) -> list[str]:
    known = [name for name in ANSWER_TYPES if name in by_answer_type]
    return known + sorted(set(by_answer_type) - set(known))


def _question_number(example_id: str) -> int:
    if not (example_id.isascii() and example_id.isdecimal()):
        raise MetricError(
            f"question id {example_id!r} is not a whole number, as the official results file needs"
        )
    return int(example_id)
