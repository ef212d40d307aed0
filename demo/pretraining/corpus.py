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

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from .. import words
from .batches import Batch, Example, Slot, collate

MAX_PROMPT = 24
MASK = 4  # the token that stands for a hidden one
FORMS, FORM_SHARES = ("text", "pooled", "coded"), (0.45, 0.40, 0.15)
TASKS, TASK_SHARES = ("mood", "tone", "scene", "denoise"), (0.17, 0.13, 0.69, 0.01)
LISTING_SHARE = 0.4  # of scenes: every attribute at once teaches their words much sooner
QUESTION_SHARES = (0.35, 0.15, 0.25, 0.25)

_SENTENCES: dict[str, Any] = json.loads(Path(__file__).with_name("sentences.json").read_text())
MOOD_WORDS: dict[tuple[str, str], list[str]] = {
    (medium, mood): choices
    for medium, moods in _SENTENCES["moods"].items()
    for mood, choices in moods.items()
}
SPELLINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "count": {
        str(n): (str(n), word) for n, word in zip(words.COUNTS, words.COUNT_WORDS, strict=True)
    },
    "color": {color: (color,) for color in words.COLORS},
    "shape": {shape: (shape, words.plural(shape)) for shape in words.SHAPES},
}


def describe(scene: words.Scene, rng: Random) -> str:
    """Return a sentence on a scene."""
    number = rng.choice((str(scene.count), words.COUNT_WORDS[scene.count - 1]))
    noun = scene.shape if scene.count == 1 else words.plural(scene.shape)
    return rng.choice(_SENTENCES["pictures"]).format(f"{number} {scene.color} {noun}")


def tokenizer_lines(rng: Random, count: int = 6_000) -> Iterator[str]:
    """Yield the lines that the tokenizer is trained on: sentences, questions and lone answers."""
    lone = [*words.COLORS, *words.SHAPES, *map(str, words.COUNTS), *words.COUNT_WORDS]
    lone += ["yes", "no", "True", "False", *words.MOODS]
    lone += [word for choices in MOOD_WORDS.values() for word in choices]
    for _ in range(count):
        scene = words.draw_scene(rng)
        yield describe(scene, rng)
        yield words.ask(scene, rng).text
        yield words.utter(rng.choice(words.MOODS), rng)
        yield words.open_talk(rng)
        medium, mood = rng.choice(sorted(MOOD_WORDS))
        yield _SENTENCES["deliveries"][medium].format(rng.choice(MOOD_WORDS[medium, mood]))
        word = rng.choice(lone)
        yield word
        yield f"the answer is {word}"
        yield _SENTENCES["tone_question"]
        yield _SENTENCES["list_question"]


class Corpus:
    """A source of examples, in batches."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, hidden: int, seed: int) -> None:
        self._tokenizer = tokenizer
        self._hidden = hidden
        self._rng = Random(seed)
        self._noise = np.random.default_rng(seed)
        self._difficulty = 1.0
        self._ids: dict[str, list[int]] = {}

    def batch(self, size: int, *, task: str, form: str) -> Batch:
        """Return a batch of `size` examples of one task and form."""
        return collate([self._example(task, form) for _ in range(size)], self._hidden)

    def batches(self, size: int, count: int, *, progress: float) -> list[Batch]:
        """Return `count` batches; examples of like length stand together."""
        self._difficulty = min(progress / 0.5, 1.0)
        drawn = [self._example() for _ in range(size * count)]
        drawn.sort(key=lambda example: sum(map(len, example.segments.values())))
        groups = [drawn[i : i + size] for i in range(0, len(drawn), size)]
        self._rng.shuffle(groups)
        return [collate(group, self._hidden) for group in groups]

    def _example(self, task: str | None = None, form: str | None = None) -> Example:
        task = task or self._rng.choices(TASKS, TASK_SHARES)[0]
        form = form or self._rng.choices(FORMS, FORM_SHARES)[0]
        makers = {"mood": self._mood, "tone": self._tone, "scene": self._scene}
        example = makers.get(task, self._denoise)(form)
        example.blind = self._rng.random() < 0.5
        return example

    def _mood(self, form: str) -> Example:
        """Return an utterance and its delivery; the answer says whether they disagree."""
        said, meant = self._rng.choice(words.MOODS), self._rng.choice(words.MOODS)
        segments = self._delivery(form, meant)
        segments["text"] = self._tokens(words.utter(said, self._rng))
        return Example(self._encode("True" if said != meant else "False"), segments)

    def _tone(self, form: str) -> Example:
        """Return words without a delivery or a delivery without words, and which mood it is."""
        mood = self._rng.choice(words.MOODS)
        if self._rng.random() < 0.4:
            prompt = self._random_prompt()
            segments = {"prompt": prompt, "text": self._tokens(words.utter(mood, self._rng))}
        else:
            segments = self._delivery(form, mood)
            segments["text"] = self._tokens(_SENTENCES["tone_question"])
        return Example(self._encode(mood), segments)

    def _delivery(self, form: str, mood: words.Mood) -> dict[str, list[Slot]]:
        """Return a visual or an audio segment or both, and the prompt before them."""
        rng = self._rng
        media = rng.choice((["visual", "audio"], ["visual", "audio"], ["visual"], ["audio"]))
        if form == "coded":
            simple = rng.random() > self._difficulty
            keys = [key for key in MOOD_WORDS if key[0] in media or not simple]
            codes, prompt = self._code_book({key: MOOD_WORDS[key] for key in keys})
            segments = {medium: [self._coded([codes[medium, mood]])] for medium in media}
            return {**segments, "prompt": prompt}
        segments = {}
        for medium in media:
            word = rng.choice(MOOD_WORDS[medium, mood])
            sentence = _SENTENCES["deliveries"][medium].format(word)
            text = form == "text"
            segments[medium] = self._tokens(sentence) if text else [self._pooled([word])]
        return {**segments, "prompt": self._random_prompt()}

    def _scene(self, form: str) -> Example:
        """Return a description of a scene and a question on it."""
        rng = self._rng
        scene = words.draw_scene(rng)
        question = words.ask(scene, rng, shares=QUESTION_SHARES)
        listing = rng.random() < LISTING_SHARE
        answer = f"{scene.count},{scene.color},{scene.shape}" if listing else question.answer
        if form == "coded":
            topics = ["count", "color", "shape"]
            if rng.random() > self._difficulty and not listing:
                topics = [question.topic]
            codes, prompt = self._code_book({k: v for t in topics for k, v in SPELLINGS[t].items()})
            visual = [self._coded([codes[str(getattr(scene, topic))] for topic in topics])]
        else:
            text = form == "text"
            visual = (
                self._tokens(describe(scene, rng)) if text else [self._pooled(self._spelled(scene))]
            )
            prompt = self._random_prompt()
        asked = _SENTENCES["list_question"] if listing else question.text
        segments = {"prompt": prompt, "visual": visual, "text": self._tokens(asked)}
        return Example(self._encode(answer), segments)

    def _denoise(self, form: str) -> Example:  # noqa: ARG002 (its text is never pooled or coded)
        """Return a sentence with masked tokens; the answer is the sentence."""
        rng = self._rng
        if rng.random() < 0.5:
            sentence = describe(words.draw_scene(rng), rng)
        else:
            sentence = words.utter(rng.choice(words.MOODS), rng)
        ids = self._encode(sentence)
        noisy = [ids[0], *(MASK if rng.random() < 0.3 else i for i in ids[1:-1]), ids[-1]]
        text = [Slot((i,)) for i in noisy]
        return Example(ids, {"prompt": self._random_prompt(), "text": text})

    def _code_book(
        self, entries: dict[Any, Iterable[str]]
    ) -> tuple[dict[Any, np.ndarray], list[Slot]]:
        """Return a random code an entry, [H] float32, and slots that bind them to their words."""
        rng = self._rng
        codes = self._noise.standard_normal((len(entries), self._hidden), dtype=np.float32)
        slots = []
        for code, choices in zip(codes, entries.values(), strict=True):
            balance = rng.uniform(0.4, 0.75)
            extra = balance * code + 0.1 * self._vector()
            slots.append(Slot((self._word_id(rng.choice(list(choices))),), 1 - balance, extra))
        room = round(self._difficulty * max(MAX_PROMPT - len(slots), 0))
        slots += [self._filler() for _ in range(rng.randint(0, room))]
        rng.shuffle(slots)
        return dict(zip(entries, codes, strict=True)), slots

    def _coded(self, codes: list[np.ndarray]) -> Slot:
        """Return a slot that adds up codes, a common offset and noise."""
        rng, hard = self._rng, self._difficulty
        parts = sum(rng.uniform(0.8, 1.2) * code for code in codes)
        offset = hard * rng.uniform(0, 1) * self._vector()
        blur = hard * rng.uniform(0, 0.6) * self._vector()
        return Slot((), 0.0, parts + offset + blur, self._gain())

    def _pooled(self, chosen: list[str]) -> Slot:
        """Return a slot that averages words' embeddings, with noise."""
        extra = self._rng.uniform(0, 0.5) / len(chosen) * self._vector()
        ids = tuple(self._word_id(word) for word in chosen)
        return Slot(ids, 1 / len(ids), extra, self._gain())

    def _random_prompt(self) -> list[Slot]:
        """Return nothing half of the time, else random tokens as stand-ins for a prompt."""
        count = 0 if self._rng.random() < 0.5 else self._rng.randrange(1, MAX_PROMPT)
        return [self._filler() for _ in range(count)]

    def _filler(self) -> Slot:
        """Return a random token, a random vector or a mix of both."""
        weight = self._rng.choice((0.0, 0.5, 1.0))
        extra = (1 - weight) * self._vector()
        return Slot((self._rng.randrange(5, len(self._tokenizer)),), weight, extra)

    def _vector(self) -> np.ndarray:
        return self._noise.standard_normal(self._hidden, dtype=np.float32)

    def _gain(self) -> float:
        return float(np.exp(self._rng.uniform(-0.5, 2.5)))

    def _spelled(self, scene: words.Scene) -> list[str]:
        """Return the three words of a scene, each in one of its spellings."""
        count = self._rng.choice(SPELLINGS["count"][str(scene.count)])
        return [count, scene.color, self._rng.choice(SPELLINGS["shape"][scene.shape])]

    def _tokens(self, sentence: str) -> list[Slot]:
        return [Slot((i,)) for i in self._encode(sentence)]

    def _encode(self, sentence: str) -> list[int]:
        if sentence not in self._ids:
            self._ids[sentence] = list(self._tokenizer(sentence)["input_ids"])
        return self._ids[sentence]

    def _word_id(self, word: str) -> int:
        """Return the id of a word as it stands inside a sentence or, at times, alone."""
        spelled = word if self._rng.random() < 0.4 else " " + word
        return self._encode(spelled)[-2]
