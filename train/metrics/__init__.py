"""Metrics by task, in percent, and the trivial answers to set beside them. No torch."""

from .result import Figures, Metric, Metrics
from .scoring import METRICS, PER_QUESTION_TYPE, majority_answer, score, trivial_answers
from .vqa import official_results, vqa_accuracy

__all__ = [
    "METRICS",
    "PER_QUESTION_TYPE",
    "Figures",
    "Metric",
    "Metrics",
    "majority_answer",
    "official_results",
    "score",
    "trivial_answers",
    "vqa_accuracy",
]
