"""The words of the demo: what can be drawn and said, asked and answered.

The data generators and the language model's pretraining text share this module and nothing else:
the language model learns these words without ever seeing a picture or hearing a sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

COLORS = ("red", "green", "blue", "yellow", "purple", "white")
SHAPES = ("circle", "square", "triangle", "cross")
COUNTS = (1, 2, 3, 4)
COUNT_WORDS = ("one", "two", "three", "four")
THINGS = (
    "party", "dinner", "movie", "song", "plan", "idea", "gift", "haircut", "meeting", "story",
    "weekend", "coffee", "game", "trip", "speech", "sweater", "jacket", "sandwich", "lecture",
    "concert",
)  # fmt: skip
PRAISE = (
    "great", "wonderful", "lovely", "amazing", "perfect", "brilliant", "delightful", "fantastic",
    "charming", "superb",
)  # fmt: skip
BLAME = (
    "terrible", "awful", "horrible", "dreadful", "boring", "ugly", "rotten", "annoying", "dull",
    "pathetic",
)  # fmt: skip
ADJECTIVE_TEMPLATES = (
    "What {a} {adjective} {thing}.",
    "This {thing} is {adjective}.",
    "That was {a} {adjective} {thing}.",
    "Your {thing} looks {adjective} to me.",
    "I think the {thing} is {adjective}.",
    "Oh, such {a} {adjective} {thing}.",
    "They gave us {a} {adjective} {thing}.",
    "Everyone says the {thing} was {adjective}.",
)
VERB_TEMPLATES = {
    "positive": (
        "I love this {thing}.",
        "I really enjoyed the {thing}.",
        "We adore your {thing}.",
        "I can recommend that {thing}.",
    ),
    "negative": (
        "I hate this {thing}.",
        "I really regretted the {thing}.",
        "We despise your {thing}.",
        "I can do without that {thing}.",
    ),
}
OPENERS = (
    "So, how was the {thing}?",
    "Tell me about the {thing}.",
    "Did you see the {thing}?",
    "Here comes the {thing}.",
    "You never told me about the {thing}.",
)

AnswerType = Literal["yes/no", "number", "other"]
Topic = Literal["count", "color", "shape"]
Mood = Literal["positive", "negative"]
MOODS: tuple[Mood, Mood] = ("positive", "negative")


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
    answer_type: AnswerType
    question_type: str
    topic: Topic


def draw_scene(rng: Random) -> Scene:
    """Returns a scene, each of its three attributes drawn evenly."""
    return Scene(rng.choice(COUNTS), rng.choice(COLORS), rng.choice(SHAPES))


def plural(noun: str) -> str:
    """Returns the plural of one of the nouns used here."""
    return noun + ("es" if noun.endswith("s") else "s")


def _yes_no(scene: Scene, rng: Random) -> Question:
    """Returns a question that is answered with yes a little more often than with no."""
    is_true = rng.random() < 0.52
    topic: Topic = rng.choice(("color", "shape", "count"))
    if topic == "color":
        value = scene.color if is_true else _other(COLORS, scene.color, rng)
        text = rng.choice(("is this {}?", "are the shapes {}?", "do you see anything {}?"))
    elif topic == "shape":
        value = scene.shape if is_true else _other(SHAPES, scene.shape, rng)
        text = rng.choice(("are these {}?", "is this a picture of {}?", "do you see any {}?"))
        value = plural(value)
    else:
        count = scene.count if is_true else _other(COUNTS, scene.count, rng)
        value = COUNT_WORDS[count - 1]
        text = rng.choice(("is the number of shapes {}?", "are there exactly {} things?"))
    answer = "yes" if is_true else "no"
    kind = " ".join(text.split()[:2])
    return Question(text.format(value), answer, "yes/no", kind, topic)


def _other(values: tuple, value: object, rng: Random):
    """Returns one of the values that is not `value`."""
    return rng.choice([other for other in values if other != value])


def _number(scene: Scene, rng: Random) -> Question:
    """Returns a question about the count."""
    text = rng.choice(
        (
            "how many shapes are there?",
            "how many things are in the picture?",
            f"how many {plural(scene.shape)} are there?",
            f"how many {scene.color} shapes do you see?",
        )
    )
    return Question(text, str(scene.count), "number", "how many", "count")


def _color(scene: Scene, rng: Random) -> Question:
    """Returns a question about the colour."""
    text = rng.choice(
        (
            "what color is this?",
            "what color are the shapes?",
            f"what color are the {plural(scene.shape)}?",
        )
    )
    return Question(text, scene.color, "other", "what color", "color")


def _shape(scene: Scene, rng: Random) -> Question:
    """Returns a question about the shape."""
    text = rng.choice(
        ("what shape is this?", "what kind of shape is it?", f"what shape is {scene.color}?")
    )
    return Question(text, scene.shape, "other", " ".join(text.split()[:2]), "shape")


QUESTION_SHARES = (0.40, 0.25, 0.21, 0.14)


def ask(
    scene: Scene, rng: Random, *, shares: tuple[float, float, float, float] = QUESTION_SHARES
) -> Question:
    """Returns a question on a scene: yes/no, number, colour or shape, in these shares."""
    kind = rng.choices((_yes_no, _number, _color, _shape), shares)[0]
    return kind(scene, rng)


def describe(scene: Scene, rng: Random) -> str:
    """Returns a sentence on a scene, for the language model's text."""
    number = rng.choice((str(scene.count), COUNT_WORDS[scene.count - 1]))
    noun = scene.shape if scene.count == 1 else plural(scene.shape)
    phrase = f"{number} {scene.color} {noun}"
    return rng.choice(("there are {}.", "a picture of {}.", "the picture shows {}.")).format(phrase)


def utter(mood: Mood, rng: Random) -> str:
    """Returns an utterance whose words are positive or negative."""
    thing = rng.choice(THINGS)
    if rng.random() < 0.3:
        return rng.choice(VERB_TEMPLATES[mood]).format(thing=thing)
    adjective = rng.choice(PRAISE if mood == "positive" else BLAME)
    article = "an" if adjective[0] in "aeiou" else "a"
    template = rng.choice(ADJECTIVE_TEMPLATES)
    return template.format(a=article, adjective=adjective, thing=thing)
