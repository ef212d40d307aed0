"""Scoring straight from the cache's examples."""

from pathlib import Path

from promptfuse.cache.examples import DatasetInfo, Example, read_examples, write_examples
from promptfuse.train.metrics import score, trivial_answers


def test_vqa_examples_of_a_cache_are_scored(tmp_path: Path) -> None:
    question = {"text": "What is it?", "answer_type": "other", "question_type": "what is"}
    splits = {
        "train": [Example("1", answer="cat", answers=("cat",) * 10, **question)],
        "val": [
            Example("2", answer="cat", answers=("cat",) * 4 + ("dog",) * 6, **question),
            Example("3", answer="dog", answers=("dog",) * 7 + ("cat",) * 3, **question),
        ],
    }
    info = DatasetInfo("animals", "vqav2", "vqa", splits={"train": 1, "val": 2})
    write_examples(tmp_path, info, splits)
    train = read_examples(tmp_path, "animals", "train")
    val = read_examples(tmp_path, "animals", "val")

    values = score(info.task, ["cat", "dog"], val).values
    assert values == {"overall": 100.0, "always-normalised": 100.0, "other": 100.0}
    trivial = trivial_answers(info, train, val)
    assert trivial["always yes"].values["overall"] == 0.0
    assert trivial["always cat (majority)"].values["overall"] == 95.0  # (1 + .9) / 2
    assert trivial["always cat (majority)"].by_question_type == {"what is": 95.0}
