"""The demo's encoders, pretrained on pictures or on tones alone, supervised by what they show."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy

from .. import words
from ..media import draw_face, move_face, render_face, render_scene, render_voice
from .training import HIDDEN, SHIPPED, Schedule, accuracy

POOL_IMAGES, POOL_SOUNDS = 16_000, 1_500  # the sounds of each length
SECONDS = (1.0, 1.25)
ABSENT = -100  # cross-entropy's ignored target: a face has no count
MOODS = (-1.0, 0.0, 1.0)  # of a smile, or of a voice's rise

Pool = tuple[Tensor, Tensor]
"""What is shown or heard, [N, …], and its class under each head, [N, heads] int64."""


@dataclass(frozen=True)
class Subject:
    """What an encoder, made of transformers' configuration, model and processor, is taught.

    A step takes one pool; `heads` are the classifiers by what they tell, with their number of
    classes. `values` gives the model's input as the saved processor does, `augment` with noise for
    training, `pooled` turns the model's output into [N, H] float32.
    """

    name: str
    parts: tuple[Any, Any, Any]
    schedule: Schedule
    batch_size: int
    heads: dict[str, int]
    pools: Callable[[Random], list[Pool]]
    held_out: Callable[[Random], Pool]
    values: Callable[[Tensor], Tensor]
    augment: Callable[[Tensor], Tensor]
    pooled: Callable[[Any], Tensor]


class Supervised:
    """An encoder under linear classifiers, which are not saved."""

    def __init__(self, subject: Subject, seed: int, start: Path | None) -> None:
        config, model, processor = subject.parts
        self.subject, self.schedule = subject, subject.schedule
        shipped = SHIPPED / subject.name
        torch.manual_seed(seed)
        self.model = model(config.from_pretrained(shipped))
        self.heads = nn.ModuleList(nn.Linear(HIDDEN, count) for count in subject.heads.values())
        if start is not None:
            self.model = model.from_pretrained(start, dtype=torch.float32).train()
        self.pools = subject.pools(Random(f"{subject.name}/{seed}"))
        self.held_out = subject.held_out(Random(f"{subject.name}/check/{seed}"))
        self.processor = processor.from_pretrained(shipped)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return what is trained."""
        return chain(self.model.parameters(), self.heads.parameters())

    def loss(self, step: int, progress: float) -> Tensor:  # noqa: ARG002
        """Return the heads' summed loss on a batch from one pool, [] float32."""
        drawn, labels = self.pools[step % len(self.pools)]
        chosen = torch.randint(len(drawn), (self.subject.batch_size,))
        logits = self._logits(self.subject.augment(drawn[chosen]))
        return torch.stack(list(map(cross_entropy, logits, labels[chosen].unbind(1)))).sum()

    @torch.inference_mode()
    def scores(self) -> dict[str, float]:
        """Return the accuracy of every head on what was held out, in percent."""
        drawn, labels = self.held_out
        self.model.eval()
        logits = self._logits(self.subject.values(drawn))
        self.model.train()
        return {
            name: accuracy(given[label != ABSENT], label[label != ABSENT])
            for name, given, label in zip(self.subject.heads, logits, labels.unbind(1), strict=True)
        }

    def _logits(self, values: Tensor) -> list[Tensor]:
        pooled = self.subject.pooled(self.model(values))
        return [head(pooled) for head in self.heads]


def draw_image(rng: Random) -> tuple[np.ndarray, list[int]]:
    """Return an image [64, 64, 3] uint8 and its class under each head."""
    if rng.random() < 0.5:
        scene = words.draw_scene(rng)
        color, shape = words.COLORS.index(scene.color), words.SHAPES.index(scene.shape)
        return render_scene(scene, rng), [0, color, shape, scene.count - 1, ABSENT]
    mood = rng.randrange(3)
    smile = MOODS[mood] * rng.uniform(0.6, 1.0) + rng.uniform(-0.1, 0.1)
    face = move_face(draw_face(rng, smile), rng.random(), rng)
    return render_face(face, rng), [1, ABSENT, ABSENT, ABSENT, mood]


def draw_images(count: int, rng: Random) -> Pool:
    """Return images [N, 3, 64, 64] uint8 and classes [N, 5] int64."""
    drawn = [draw_image(rng) for _ in range(count)]
    pixels = torch.from_numpy(np.stack([image for image, _ in drawn])).permute(0, 3, 1, 2)
    return pixels.contiguous(), torch.tensor([labels for _, labels in drawn])


def normalise(pixels: Tensor) -> Tensor:
    """Return pixel values as the saved processor gives them: -1 to 1 float32."""
    return pixels.float() / 127.5 - 1


def augment(pixels: Tensor) -> Tensor:
    """Return pixel values with a shift and codec-like noise: [N, 3, 64, 64] float32."""
    dx, dy = (int(torch.randint(-3, 4, ())) for _ in range(2))
    values = normalise(torch.roll(pixels, (dy, dx), (2, 3)))
    if torch.rand(()) < 0.5:
        values = values.flip(3)
    if torch.rand(()) < 0.3:
        values = avg_pool2d(values, 3, stride=1, padding=1, count_include_pad=False)
    return values + 0.04 * torch.rand(()) * torch.randn_like(values)


def draw_sounds(count: int, seconds: float, rng: Random) -> Pool:
    """Return waveforms [N, S] float32 of zero mean and unit variance, classes [N, 1] int64."""
    classes = [rng.randrange(3) for _ in range(count)]
    waves = []
    for mood in classes:
        rise = MOODS[mood] * rng.uniform(0.6, 1.0) + rng.uniform(-0.1, 0.1)
        wave = render_voice(rise, seconds, rng)
        waves.append((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7))
    return torch.from_numpy(np.stack(waves)), torch.tensor(classes)[:, None]


VIT = Subject(
    name="vit",
    parts=(transformers.ViTConfig, transformers.ViTModel, transformers.ViTImageProcessor),
    schedule=Schedule(1_500, 7e-4, warmup_steps=100, weight_decay=0.05, report_every=100),
    batch_size=96,
    heads={
        "kind": 2,
        "color": len(words.COLORS),
        "shape": len(words.SHAPES),
        "count": 4,
        "mood": 3,
    },
    pools=lambda rng: [draw_images(POOL_IMAGES, rng)],
    held_out=lambda rng: draw_images(512, rng),
    values=normalise,
    augment=augment,
    pooled=lambda output: output.pooler_output,
)

WAV2VEC2 = Subject(
    name="wav2vec2",
    parts=(
        transformers.Wav2Vec2Config,
        transformers.Wav2Vec2Model,
        transformers.Wav2Vec2FeatureExtractor,
    ),
    schedule=Schedule(500, 1e-3, warmup_steps=50, weight_decay=0.01, report_every=50),
    batch_size=32,
    heads={"rise": len(MOODS)},
    pools=lambda rng: [draw_sounds(POOL_SOUNDS, seconds, rng) for seconds in SECONDS],
    held_out=lambda rng: draw_sounds(150, SECONDS[0], rng),
    values=lambda waves: waves,
    augment=lambda waves: waves + 0.03 * torch.rand(()) * torch.randn(*waves.shape),
    pooled=lambda output: output.last_hidden_state.mean(1),
)
