"""Examples written out by hand, with no cache behind them."""

from promptfuse.cache.examples import Example


def asked(
    name: str = "1",
    answer: str | None = None,
    answers: tuple[str, ...] = (),
    answer_type: str | None = None,
    question_type: str | None = None,
) -> Example:
    """Return a question whose words no scorer reads."""
    return Example(name, "?", answer, answers, answer_type, question_type)


def labelled(*answers: str | None) -> list[Example]:
    """Return one example an answer, with ids from 0."""
    return [asked(str(i), answer) for i, answer in enumerate(answers)]
