"""Metrics by task, in percent, and the trivial answers to set beside them. No torch."""

from .result import Metrics, ScoreRules, Scoring, Task
from .scoring import METRICS, score
from .trivial import majority_answer, trivial_answers
from .vqa import VqaReport, official_results, vqa_accuracy, vqa_report

__all__ = [
    "METRICS",
    "Metrics",
    "ScoreRules",
    "Scoring",
    "Task",
    "VqaReport",
    "majority_answer",
    "official_results",
    "score",
    "trivial_answers",
    "vqa_accuracy",
    "vqa_report",
]
