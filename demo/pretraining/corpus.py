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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from .. import words
from .model import HIDDEN

MAX_PROMPT = 24
MASK = 4  # the token that stands for a hidden one
SLOT_TOKENS = 4  # a slot's vector is a weighted sum of at most this many token embeddings
IGNORED = -100
SEGMENTS = ("prompt", "visual", "audio", "text")
FORMS = {"text": 0.45, "pooled": 0.40, "coded": 0.15}
TASKS = {"mood": 0.17, "tone": 0.13, "scene": 0.69, "denoise": 0.01}
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


@dataclass
class Slot:
    """One input vector: weighted tokens plus a random part, both multiplied by `gain`."""

    tokens: tuple[int, ...] = ()
    weight: float = 1.0
    extra: np.ndarray = field(default_factory=lambda: np.zeros(HIDDEN, np.float32))
    gain: float = 1.0


@dataclass
class Example:
    """One example: its answer's ids and its segments."""

    target: list[int]
    segments: dict[str, list[Slot]]
    blind: bool = False


@dataclass(frozen=True)
class Batch:
    """A batch: B examples, S slots, J tokens a slot, H hidden size, L answer tokens."""

    token_ids: Tensor  # [B, S, J] int64
    weights: Tensor  # [B, S, J] float32
    extra: Tensor  # [B, S, H] float32, in units of the embeddings' root mean square
    gains: Tensor  # [B, S, 1] float32
    positions: Tensor  # [B, S] int64, counted from 0 in every segment
    visible: Tensor  # [B, S, S] bool: may the first see the second
    attention_mask: Tensor  # [B, S] int64
    labels: Tensor  # [B, L] int64


def collate(examples: list[Example]) -> Batch:
    """Return the tensors of a list of examples, padded at the end."""
    parts = [[example.segments.get(name, []) for name in SEGMENTS] for example in examples]
    rows = [list(chain(*segments)) for segments in parts]
    lengths = torch.tensor([list(map(len, segments)) for segments in parts])
    positions = [torch.cat([torch.arange(len(slots)) for slots in part]) for part in parts]
    places = torch.arange(max(map(len, rows)))
    present, in_prompt = places < lengths.sum(1, keepdim=True), places < lengths[:, :1]
    blind = torch.tensor([example.blind for example in examples])[:, None, None]

    def padded(values: Callable[[Slot], Any], dtype: type, fill: float = 0) -> Tensor:
        arrays = [np.array([values(slot) for slot in row], dtype) for row in rows]
        return pad_sequence([*map(torch.from_numpy, arrays)], True, fill)

    ids = padded(lambda slot: slot.tokens + (-1,) * (SLOT_TOKENS - len(slot.tokens)), np.int64, -1)
    return Batch(
        ids.clamp(min=0),
        padded(lambda slot: [slot.weight], np.float32) * (ids >= 0),
        padded(lambda slot: slot.extra, np.float32),
        padded(lambda slot: [slot.gain], np.float32, fill=1),
        pad_sequence(positions, True),
        present[:, None] & ~(blind & in_prompt[:, :, None] & ~in_prompt[:, None]),
        present.long(),
        pad_sequence([torch.tensor(example.target) for example in examples], True, IGNORED),
    )


def describe(scene: words.Scene, rng: Random) -> str:
    """Return a sentence on a scene."""
    number = rng.choice((str(scene.count), words.COUNT_WORDS[scene.count - 1]))
    noun = scene.shape if scene.count == 1 else words.plural(scene.shape)
    return rng.choice(_SENTENCES["pictures"]).format(f"{number} {scene.color} {noun}")


def tokenizer_lines(rng: Random, count: int = 6_000) -> Iterator[str]:
    """Yield the lines that the tokenizer is trained on: sentences, questions and lone answers."""
    lone = [*words.COLORS, *words.SHAPES, *map(str, words.COUNTS), *words.COUNT_WORDS]
    lone += ["yes", "no", "True", "False", *words.MOODS, *chain(*MOOD_WORDS.values())]
    for _ in range(count):
        scene = words.draw_scene(rng)
        yield describe(scene, rng)
        yield words.ask(scene, rng).text
        yield words.utter(rng.choice(words.MOODS), rng)
        yield words.open_talk(rng)
        medium, mood = rng.choice(sorted(MOOD_WORDS))
        yield _SENTENCES["deliveries"][medium].format(rng.choice(MOOD_WORDS[medium, mood]))
        word = rng.choice(lone)
        yield from (word, f"the answer is {word}")
        yield from (_SENTENCES["tone_question"], _SENTENCES["list_question"])


class Corpus:
    """A source of examples, in batches."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self._rng = Random(seed)
        self._noise = np.random.default_rng(seed)
        self._difficulty = 1.0
        self._vocabulary = len(tokenizer)
        self._encode: Callable[[str], list[int]] = cache(lambda text: tokenizer(text)["input_ids"])

    def batch(self, size: int, *, task: str, form: str) -> Batch:
        """Return a batch of `size` examples of one task and form."""
        return collate([self._example(task, form) for _ in range(size)])

    def batches(self, size: int, count: int, *, progress: float) -> list[Batch]:
        """Return `count` batches; examples of like length stand together."""
        self._difficulty = min(progress / 0.5, 1.0)
        drawn = [self._example() for _ in range(size * count)]
        drawn.sort(key=lambda example: sum(map(len, example.segments.values())))
        groups = [drawn[i : i + size] for i in range(0, len(drawn), size)]
        self._rng.shuffle(groups)
        return list(map(collate, groups))

    def _example(self, task: str | None = None, form: str | None = None) -> Example:
        task = task or self._rng.choices([*TASKS], [*TASKS.values()])[0]
        form = form or self._rng.choices([*FORMS], [*FORMS.values()])[0]
        makers = {"mood": self._mood, "tone": self._tone, "scene": self._scene}
        example = makers.get(task, self._denoise)(form)
        example.blind = self._rng.random() < 0.5
        return example

    def _mood(self, form: str) -> Example:
        """Return an utterance and its delivery; the answer says whether they disagree."""
        said, meant = self._rng.choice(words.MOODS), self._rng.choice(words.MOODS)
        segments = self._delivery(form, meant)
        segments["text"] = self._tokens(words.utter(said, self._rng))
        return Example(self._encode(str(said != meant)), segments)

    def _tone(self, form: str) -> Example:
        """Return words without a delivery or a delivery without words, and which mood it is."""
        mood = self._rng.choice(words.MOODS)
        if self._rng.random() < 0.4:
            segments = {"prompt": self._random_prompt()}
            asked = words.utter(mood, self._rng)
        else:
            segments = self._delivery(form, mood)
            asked = _SENTENCES["tone_question"]
        return Example(self._encode(mood), {**segments, "text": self._tokens(asked)})

    def _delivery(self, form: str, mood: words.Mood) -> dict[str, list[Slot]]:
        """Return a visual or an audio segment or both, and the prompt before them."""
        rng = self._rng
        media = rng.choice((["visual", "audio"], ["visual", "audio"], ["visual"], ["audio"]))
        if form == "coded":
            wide = rng.random() <= self._difficulty
            known = {key: choices for key, choices in MOOD_WORDS.items() if wide or key[0] in media}
            codes, prompt = self._code_book(known)
            segments = {medium: self._coded(codes[medium, mood]) for medium in media}
            return {**segments, "prompt": prompt}
        segments = {}
        for medium in media:
            word = rng.choice(MOOD_WORDS[medium, mood])
            sentence = _SENTENCES["deliveries"][medium].format(word)
            segments[medium] = self._tokens(sentence) if form == "text" else self._pooled(word)
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
            visual = self._coded(*(codes[str(getattr(scene, topic))] for topic in topics))
        else:
            if form == "text":
                visual = self._tokens(describe(scene, rng))
            else:
                count = rng.choice(SPELLINGS["count"][str(scene.count)])
                shape = rng.choice(SPELLINGS["shape"][scene.shape])
                visual = self._pooled(count, scene.color, shape)
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
        return Example(ids, {"prompt": self._random_prompt(), "text": [Slot((i,)) for i in noisy]})

    def _code_book(
        self, entries: Mapping[Any, Sequence[str]]
    ) -> tuple[dict[Any, np.ndarray], list[Slot]]:
        """Return a random code an entry, [H] float32, and slots that bind them to their words."""
        rng = self._rng
        codes = self._noise.standard_normal((len(entries), HIDDEN), dtype=np.float32)
        slots = []
        for code, choices in zip(codes, entries.values(), strict=True):
            balance = rng.uniform(0.4, 0.75)
            extra = balance * code + 0.1 * self._vector()
            slots.append(Slot((self._word_id(rng.choice(choices)),), 1 - balance, extra))
        room = round(self._difficulty * max(MAX_PROMPT - len(slots), 0))
        slots += [self._filler() for _ in range(rng.randint(0, room))]
        rng.shuffle(slots)
        return dict(zip(entries, codes, strict=True)), slots

    def _coded(self, *codes: np.ndarray) -> list[Slot]:
        """Return a slot that adds up codes, a common offset and noise."""
        rng, hard = self._rng, self._difficulty
        parts = sum(rng.uniform(0.8, 1.2) * code for code in codes)
        offset = hard * rng.uniform(0, 1) * self._vector()
        blur = hard * rng.uniform(0, 0.6) * self._vector()
        return [Slot((), 0.0, parts + offset + blur, self._gain())]

    def _pooled(self, *chosen: str) -> list[Slot]:
        """Return a slot that averages words' embeddings, with noise."""
        extra = self._rng.uniform(0, 0.5) / len(chosen) * self._vector()
        ids = tuple(self._word_id(word) for word in chosen)
        return [Slot(ids, 1 / len(ids), extra, self._gain())]

    def _random_prompt(self) -> list[Slot]:
        """Return nothing half of the time, else random tokens as stand-ins for a prompt."""
        count = 0 if self._rng.random() < 0.5 else self._rng.randrange(1, MAX_PROMPT)
        return [self._filler() for _ in range(count)]

    def _filler(self) -> Slot:
        """Return a random token, a random vector or a mix of both."""
        weight = self._rng.choice((0.0, 0.5, 1.0))
        extra = (1 - weight) * self._vector()
        return Slot((self._rng.randrange(5, self._vocabulary),), weight, extra)

    def _vector(self) -> np.ndarray:
        return self._noise.standard_normal(HIDDEN, dtype=np.float32)

    def _gain(self) -> float:
        return float(np.exp(self._rng.uniform(-0.5, 2.5)))

    def _tokens(self, sentence: str) -> list[Slot]:
        return [Slot((i,)) for i in self._encode(sentence)]

    def _word_id(self, word: str) -> int:
        """Return the id of a word as it stands inside a sentence or, at times, alone."""
        spelled = word if self._rng.random() < 0.4 else " " + word
        return self._encode(spelled)[-2]
