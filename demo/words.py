"""The words of the demo: what can be drawn and said, asked and answered.

The data generators and the language model's pretraining text share this module and nothing else:
the language model learns these words without ever seeing a picture or hearing a sound.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

_WORDS: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))

RGB: dict[str, tuple[int, int, int]] = _WORDS["colors"]
COLORS: list[str] = list(RGB)
SHAPES: list[str] = _WORDS["shapes"]
COUNTS: list[int] = _WORDS["counts"]
COUNT_WORDS: list[str] = _WORDS["count_words"]
DISSENT: dict[str, str] = _WORDS["dissent"]
"""What a few of ten people say instead of the right answer."""

Mood = Literal["positive", "negative"]
MOODS: tuple[Mood, Mood] = ("positive", "negative")
QUESTION_SHARES = (0.40, 0.25, 0.21, 0.14)
YES_SHARE = 0.52


@dataclass(frozen=True)
class Scene:
    """What a picture of shapes shows: `count` equal things of one colour and one shape."""

    count: int
    color: str
    shape: str


@dataclass(frozen=True)
class Question:
    """A question on a scene, with its one right answer."""

    text: str
    answer: str
    answer_type: Literal["yes/no", "number", "other"]
    topic: str


def draw_scene(rng: Random) -> Scene:
    """Return a scene, each of its three attributes drawn evenly."""
    return Scene(rng.choice(COUNTS), rng.choice(COLORS), rng.choice(SHAPES))


def plural(noun: str) -> str:
    """Return the plural of one of the nouns used here."""
    return noun + ("es" if noun.endswith("s") else "s")


def ask(
    scene: Scene, rng: Random, *, shares: tuple[float, float, float, float] = QUESTION_SHARES
) -> Question:
    """Return a question on a scene: yes/no, number, colour or shape, in these shares."""
    topic = rng.choices(("yes/no", "count", "color", "shape"), shares)[0]
    if topic == "yes/no":
        return _yes_no(scene, rng)
    text = rng.choice(_WORDS["questions"][topic])
    text = text.format(color=scene.color, shapes=plural(scene.shape))
    kind = "number" if topic == "count" else "other"
    return Question(text, str(getattr(scene, topic)), kind, topic)


def _yes_no(scene: Scene, rng: Random) -> Question:
    """Return a question that is answered with yes a little more often than with no."""
    answer = "yes" if rng.random() < YES_SHARE else "no"
    topic = rng.choice(("color", "shape", "count"))
    value: Any = getattr(scene, topic)
    if answer == "no":
        values = {"color": COLORS, "shape": SHAPES, "count": COUNTS}[topic]
        value = rng.choice([other for other in values if other != value])
    text = rng.choice(_WORDS["yes_no"][topic])
    if topic != "color":
        value = plural(value) if topic == "shape" else COUNT_WORDS[value - 1]
    return Question(text.format(value), answer, "yes/no", topic)


def utter(mood: Mood, rng: Random) -> str:
    """Return an utterance whose words are positive or negative."""
    thing = rng.choice(_WORDS["things"])
    if rng.random() < 0.3:
        return rng.choice(_WORDS["with_verb"][mood]).format(thing=thing)
    adjective = rng.choice(_WORDS["adjectives"][mood])
    article = "an" if adjective[0] in "aeiou" else "a"
    template = rng.choice(_WORDS["with_adjective"])
    return template.format(a=article, adjective=adjective, thing=thing)


def open_talk(rng: Random) -> str:
    """Return what is said before an utterance."""
    return rng.choice(_WORDS["openers"]).format(thing=rng.choice(_WORDS["things"]))
