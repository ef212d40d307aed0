"""Metrics by task, in percent, and the trivial answers to set beside them. No torch."""

from .result import Metrics
from .scoring import METRICS, PER_QUESTION_TYPE, score, trivial_answers
from .vqa import official_results, vqa_accuracy

__all__ = [
    "METRICS",
    "PER_QUESTION_TYPE",
    "Metrics",
    "official_results",
    "score",
    "trivial_answers",
    "vqa_accuracy",
]
