"""The language model's pretraining text, as batches; no picture and no sound is involved.

Every example is a sequence of segments [prompt ; visual ; audio ; text] and an answer. What stands
in the visual and audio segments is always made of words, in one of three forms:

- text: the description's tokens themselves;
- pooled: the description's token embeddings averaged into one vector, with noise;
- coded: one vector that is a sum of random codes, one code a word, drawn anew for each example.
  The prompt segment then holds the code book: each of its vectors is a code plus a word's
  embedding. This teaches the model that the vectors in front of it may say how to read the
  vectors after them, which is what a trained prompt has to do for an encoder's output.

Half of the text and pooled examples stand behind random tokens, and half of all examples let the
prompt see only itself, so that both visibility rules are familiar.
"""
# ruff: noqa: S311 (content is drawn from a seed; nothing here is a secret)

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import numpy as np
from transformers import PreTrainedTokenizerFast

from . import words
from .tokenizer import MASK

SLOT_TOKENS = 4  # a slot's vector is a weighted sum of at most this many token embeddings
MAX_PROMPT = 24
IGNORED = -100
MOOD_WORDS = {
    ("visual", "positive"): ("smile", "smiling", "happy", "pleased"),
    ("visual", "negative"): ("frown", "frowning", "unhappy", "upset"),
    ("audio", "positive"): ("rise", "rising", "cheerful", "bright"),
    ("audio", "negative"): ("fall", "falling", "gloomy", "dark"),
}
MOOD_SENTENCES = {"visual": "the face is {}.", "audio": "the voice is {}."}
FORMS = ("text", "pooled", "coded")
TASKS = ("mood", "tone", "scene", "denoise")
TONE_QUESTION = "how is it said?"
LIST_QUESTION = "what is this?"


@dataclass(frozen=True)
class Mix:
    """How often each task and form occurs, in the order of `TASKS` and `FORMS`.

    `listing` is the share of scenes where all attributes are asked for at once, which teaches the
    attributes' words much sooner; `questions` are the shares of `words.ask` in the others.
    """

    tasks: tuple[float, float, float, float] = (0.17, 0.13, 0.69, 0.01)
    forms: tuple[float, float, float] = (0.45, 0.40, 0.15)
    listing: float = 0.4
    questions: tuple[float, float, float, float] = (0.35, 0.15, 0.25, 0.25)


@dataclass
class Slot:
    """One input vector: weighted tokens plus a random part, both multiplied by `gain`."""

    tokens: tuple[int, ...] = ()
    weight: float = 1.0
    extra: np.ndarray | None = None
    gain: float = 1.0


@dataclass
class Example:
    """One example: its four segments, its answer's ids and where it belongs."""

    task: str
    form: str
    target: list[int]
    segments: dict[str, list[Slot]] = field(default_factory=dict)
    blind: bool = False


@dataclass(frozen=True)
class Batch:
    """Arrays of a batch: B examples, S slots, J tokens a slot, H hidden size, L answer tokens."""

    token_ids: np.ndarray  # [B, S, J] int64
    weights: np.ndarray  # [B, S, J] float32
    extra: np.ndarray  # [B, S, H] float32, in units of the embeddings' root mean square
    gains: np.ndarray  # [B, S, 1] float32
    positions: np.ndarray  # [B, S] int64, counted from 0 in every segment
    visible: np.ndarray  # [B, S, S] bool: may the first see the second
    attention_mask: np.ndarray  # [B, S] int64
    labels: np.ndarray  # [B, L] int64
    kinds: tuple[tuple[str, str], ...]


def tokenizer_lines(rng: Random, count: int = 6_000) -> Iterator[str]:
    """Yields the lines that the tokenizer is trained on: sentences, questions and lone answers."""
    lone = [*words.COLORS, *words.SHAPES, *map(str, words.COUNTS), *words.COUNT_WORDS]
    lone += [
        "yes",
        "no",
        "True",
        "False",
        *words.MOODS,
        *(w for ws in MOOD_WORDS.values() for w in ws),
    ]
    for _ in range(count):
        scene = words.draw_scene(rng)
        yield words.describe(scene, rng)
        yield words.ask(scene, rng).text
        yield words.utter(rng.choice(words.MOODS), rng)
        yield rng.choice(words.OPENERS).format(thing=rng.choice(words.THINGS))
        medium, mood = rng.choice(sorted(MOOD_WORDS))
        yield MOOD_SENTENCES[medium].format(rng.choice(MOOD_WORDS[medium, mood]))
        word = rng.choice(lone)
        yield word
        yield f"the answer is {word}"
        yield TONE_QUESTION
        yield LIST_QUESTION


class Corpus:
    """Draws examples and batches them."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, *, hidden: int, seed: int, mix: Mix | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._hidden = hidden
        self._rng = Random(seed)
        self._noise = np.random.default_rng(seed)
        self._mix = mix or Mix()
        self._difficulty = 1.0
        self._ids: dict[str, list[int]] = {}
        self._word_ids: dict[str, int] = {}

    def batch(self, size: int, *, task: str | None = None, form: str | None = None) -> Batch:
        """Returns a batch of `size` examples, of one task and form if they are given."""
        examples = [self._example(task, form) for _ in range(size)]
        return _collate(examples, self._hidden)

    def batches(self, size: int, count: int, *, progress: float) -> list[Batch]:
        """Returns `count` batches; examples of like length stand together."""
        self._difficulty = min(progress / 0.5, 1.0)
        drawn = [self._example(None, None) for _ in range(size * count)]
        drawn.sort(key=lambda example: sum(map(len, example.segments.values())))
        groups = [drawn[i : i + size] for i in range(0, len(drawn), size)]
        self._rng.shuffle(groups)
        return [_collate(group, self._hidden) for group in groups]

    def _example(self, task: str | None, form: str | None) -> Example:
        """Returns one example."""
        task = task or self._rng.choices(TASKS, self._mix.tasks)[0]
        form = form or self._rng.choices(FORMS, self._mix.forms)[0]
        makers = {
            "mood": self._mood,
            "tone": self._tone,
            "scene": self._scene,
            "denoise": self._denoise,
        }
        example = makers[task](form)
        example.blind = self._rng.random() < 0.5
        return example

    def _mood(self, form: str) -> Example:
        """Returns an utterance and its delivery; the answer says whether they disagree."""
        said, meant = self._rng.choice(words.MOODS), self._rng.choice(words.MOODS)
        example = Example("mood", form, self._encode("True" if said != meant else "False"))
        self._deliver(example, meant)
        example.segments["text"] = self._tokens(words.utter(said, self._rng))
        return example

    def _tone(self, form: str) -> Example:
        """Returns words without a delivery or a delivery without words, and which mood it is."""
        mood = self._rng.choice(words.MOODS)
        example = Example("tone", form, self._encode(mood))
        if self._rng.random() < 0.4:
            example.segments["prompt"] = self._random_prompt()
            example.segments["text"] = self._tokens(words.utter(mood, self._rng))
        else:
            self._deliver(example, mood)
            example.segments["text"] = self._tokens(TONE_QUESTION)
        return example

    def _deliver(self, example: Example, mood: words.Mood) -> None:
        """Fills the visual or the audio segment or both, and the prompt, with a delivery."""
        rng = self._rng
        media = rng.choice((["visual", "audio"], ["visual", "audio"], ["visual"], ["audio"]))
        if example.form == "coded":
            simple = self._rng.random() > self._difficulty
            keys = [key for key in MOOD_WORDS if key[0] in media or not simple]
            book = self._code_book([(key, MOOD_WORDS[key]) for key in keys])
            for medium in media:
                example.segments[medium] = [self._coded([book.codes[medium, mood]])]
            example.segments["prompt"] = book.slots
            return
        for medium in media:
            word = rng.choice(MOOD_WORDS[medium, mood])
            sentence = MOOD_SENTENCES[medium].format(word)
            example.segments[medium] = (
                self._tokens(sentence) if example.form == "text" else [self._pooled([word])]
            )
        example.segments["prompt"] = self._random_prompt()

    def _scene(self, form: str) -> Example:
        """Returns a description of a scene and a question on it."""
        rng = self._rng
        scene = words.draw_scene(rng)
        question = words.ask(scene, rng, shares=self._mix.questions)
        example = Example("scene", form, self._encode(question.answer))
        listing = rng.random() < self._mix.listing
        if listing:  # every attribute at once, in the tokens that answers are made of
            example.target = self._encode(f"{scene.count},{scene.color},{scene.shape}")
        count = str(scene.count)
        if form == "coded":
            topics = ["count", "color", "shape"]
            if rng.random() > self._difficulty and not listing:
                topics = [question.topic]
            book = self._code_book([entry for topic in topics for entry in _scene_words(topic)])
            facts = {"count": count, "color": scene.color, "shape": scene.shape}
            codes = [book.codes[facts[topic]] for topic in topics]
            example.segments["visual"] = [self._coded(codes)]
            example.segments["prompt"] = book.slots
        else:
            example.segments["visual"] = (
                self._tokens(words.describe(scene, rng))
                if form == "text"
                else [self._pooled(self._synonyms(scene))]
            )
            example.segments["prompt"] = self._random_prompt()
        example.segments["text"] = self._tokens(LIST_QUESTION if listing else question.text)
        return example

    def _denoise(self, form: str) -> Example:
        """Returns a sentence with masked tokens; the answer is the sentence (`form` is unused)."""
        rng = self._rng
        sentence = (
            words.describe(words.draw_scene(rng), rng)
            if rng.random() < 0.5
            else words.utter(rng.choice(words.MOODS), rng)
        )
        ids = self._encode(sentence)
        noisy = [ids[0], *(MASK if rng.random() < 0.3 else i for i in ids[1:-1]), ids[-1]]
        slots = [Slot((i,)) for i in noisy]
        return Example("denoise", form, ids, {"prompt": self._random_prompt(), "text": slots})

    def _code_book(self, entries: list[tuple[object, tuple[str, ...]]]) -> _CodeBook:
        """Returns random codes for the entries and prompt slots that bind them to their words."""
        rng, noise = self._rng, self._noise
        codes = noise.standard_normal((len(entries), self._hidden), dtype=np.float32)
        slots = []
        for code, (_, choices) in zip(codes, entries, strict=True):
            balance = rng.uniform(0.4, 0.75)
            extra = balance * code + 0.1 * noise.standard_normal(self._hidden, dtype=np.float32)
            slots.append(Slot((self._word_id(rng.choice(choices)),), 1 - balance, extra))
        room = round(self._difficulty * max(MAX_PROMPT - len(slots), 0))
        slots += [self._filler() for _ in range(rng.randint(0, room))]
        rng.shuffle(slots)
        return _CodeBook({key: code for code, (key, _) in zip(codes, entries, strict=True)}, slots)

    def _coded(self, codes: list[np.ndarray]) -> Slot:
        """Returns a slot that adds up codes, a common offset and noise."""
        rng = self._rng
        parts = sum(rng.uniform(0.8, 1.2) * code for code in codes)
        hard = self._difficulty
        offset = (
            hard * rng.uniform(0, 1) * self._noise.standard_normal(self._hidden, dtype=np.float32)
        )
        blur = (
            hard * rng.uniform(0, 0.6) * self._noise.standard_normal(self._hidden, dtype=np.float32)
        )
        return Slot((), 0.0, parts + offset + blur, gain=float(np.exp(rng.uniform(-0.5, 2.5))))

    def _pooled(self, chosen: list[str]) -> Slot:
        """Returns a slot that averages words' embeddings, with noise."""
        rng = self._rng
        blur = rng.uniform(0, 0.5) / len(chosen)
        extra = blur * self._noise.standard_normal(self._hidden, dtype=np.float32)
        ids = tuple(self._word_id(word) for word in chosen)
        return Slot(ids, 1 / len(ids), extra, gain=float(np.exp(rng.uniform(-0.5, 2.5))))

    def _random_prompt(self) -> list[Slot]:
        """Returns nothing half of the time, else random tokens as stand-ins for a prompt."""
        if self._rng.random() < 0.5:
            return []
        return [self._filler() for _ in range(self._rng.randrange(1, MAX_PROMPT))]

    def _filler(self) -> Slot:
        """Returns a random token, a random vector or a mix of both."""
        weight = self._rng.choice((0.0, 0.5, 1.0))
        extra = (1 - weight) * self._noise.standard_normal(self._hidden, dtype=np.float32)
        return Slot((self._rng.randrange(5, len(self._tokenizer)),), weight, extra)

    def _synonyms(self, scene: words.Scene) -> list[str]:
        """Returns the three words of a scene, each in one of its spellings."""
        rng = self._rng
        count = rng.choice((str(scene.count), words.COUNT_WORDS[scene.count - 1]))
        return [count, scene.color, rng.choice((scene.shape, words.plural(scene.shape)))]

    def _tokens(self, sentence: str) -> list[Slot]:
        """Returns the slots of a sentence, with BART's start and end."""
        return [Slot((i,)) for i in self._encode(sentence)]

    def _encode(self, sentence: str) -> list[int]:
        """Returns a sentence's ids, remembered."""
        if sentence not in self._ids:
            self._ids[sentence] = list(self._tokenizer(sentence)["input_ids"])
        return self._ids[sentence]

    def _word_id(self, word: str) -> int:
        """Returns the id of a word as it stands inside a sentence or, at times, alone."""
        spelled = word if self._rng.random() < 0.4 else " " + word
        if spelled not in self._word_ids:
            ids = self._tokenizer(spelled, add_special_tokens=False)["input_ids"]
            self._word_ids[spelled] = ids[-1]
        return self._word_ids[spelled]


@dataclass(frozen=True)
class _CodeBook:
    """Codes by key, and the prompt slots that bind each to a word."""

    codes: dict[object, np.ndarray]
    slots: list[Slot]


def _scene_words(topic: str) -> list[tuple[object, tuple[str, ...]]]:
    """Returns a code book's entries for an attribute: each of its values with its spellings."""
    if topic == "count":
        counts = zip(map(str, words.COUNTS), words.COUNT_WORDS, strict=True)
        return [(number, (number, word)) for number, word in counts]
    if topic == "color":
        return [(color, (color,)) for color in words.COLORS]
    return [(shape, (shape, words.plural(shape))) for shape in words.SHAPES]


def _collate(examples: list[Example], hidden: int) -> Batch:
    """Returns the arrays of a list of examples, padded at the end."""
    order: tuple[str, ...] = ("prompt", "visual", "audio", "text")
    rows = [[(s, slot) for s in order for slot in e.segments.get(s, [])] for e in examples]
    b, s = len(rows), max(map(len, rows))
    token_ids = np.zeros((b, s, SLOT_TOKENS), np.int64)
    weights = np.zeros((b, s, SLOT_TOKENS), np.float32)
    extra = np.zeros((b, s, hidden), np.float32)
    gains = np.ones((b, s, 1), np.float32)
    positions = np.zeros((b, s), np.int64)
    in_prompt = np.zeros((b, s), bool)
    present = np.zeros((b, s), bool)
    for i, row in enumerate(rows):
        seen: dict[str, int] = dict.fromkeys(order, 0)
        for j, (segment, slot) in enumerate(row):
            token_ids[i, j, : len(slot.tokens)] = slot.tokens
            weights[i, j, : len(slot.tokens)] = slot.weight
            if slot.extra is not None:
                extra[i, j] = slot.extra
            gains[i, j] = slot.gain
            positions[i, j] = seen[segment]
            seen[segment] += 1
            in_prompt[i, j] = segment == "prompt"
            present[i, j] = True
    blind = np.array([e.blind for e in examples])
    visible = present[:, None, :] & ~(
        blind[:, None, None] & in_prompt[:, :, None] & ~in_prompt[:, None, :]
    )
    width = max(len(e.target) for e in examples)
    labels = np.full((b, width), IGNORED, np.int64)
    for i, example in enumerate(examples):
        labels[i, : len(example.target)] = example.target
    return Batch(
        token_ids,
        weights,
        extra,
        gains,
        positions,
        visible,
        present.astype(np.int64),
        labels,
        tuple((e.task, e.form) for e in examples),
    )
