"""The demo's encoders, pretrained on pictures or on tones alone, supervised by what they show."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy
from transformers import AutoConfig, AutoFeatureExtractor, AutoImageProcessor, AutoModel

from .. import words
from ..media import draw_face, move_face, render_face, render_scene, render_voice
from .model import HIDDEN, SHIPPED, Model, Schedule, accuracy

POOL_IMAGES, POOL_SOUNDS = 16_000, 1_500  # the sounds of each length
SECONDS = (1.0, 1.25)
ABSENT = -100  # cross-entropy's ignored target: a face has no count
MOODS = (-1.0, 0.0, 1.0)  # of a smile, or of a voice's rise

Pool = tuple[Tensor, Tensor]
"""What is shown or heard, [N, …], and its class under each head, [N, heads] int64."""


def image_encoder(seed: int, start: Path | None) -> Model:
    """Return an encoder of shapes and faces."""
    pixels, classes = draw_images(512, Random(f"vit/check/{seed}"))
    return _supervised(
        SHIPPED / "vit",
        seed,
        start,
        Schedule(1_500, 7e-4, warmup_steps=100, weight_decay=0.05, report_every=100),
        processor=AutoImageProcessor,
        heads={
            "kind": 2,
            "color": len(words.COLORS),
            "shape": len(words.SHAPES),
            "count": len(words.COUNTS),
            "mood": len(MOODS),
        },
        pools=[draw_images(POOL_IMAGES, Random(f"vit/{seed}"))],
        held_out=(normalise(pixels), classes),
        batch_size=96,
        augment=augment,
        pooled=lambda output: output.pooler_output,
    )


def sound_encoder(seed: int, start: Path | None) -> Model:
    """Return an encoder of tones."""
    rng = Random(f"wav2vec2/{seed}")
    return _supervised(
        SHIPPED / "wav2vec2",
        seed,
        start,
        Schedule(500, 1e-3, warmup_steps=50, weight_decay=0.01, report_every=50),
        processor=AutoFeatureExtractor,
        heads={"rise": len(MOODS)},
        pools=[draw_sounds(POOL_SOUNDS, seconds, rng) for seconds in SECONDS],
        held_out=draw_sounds(150, SECONDS[0], Random(f"wav2vec2/check/{seed}")),
        batch_size=32,
        augment=lambda waves: waves + 0.03 * torch.rand(()) * torch.randn(*waves.shape),
        pooled=lambda output: output.last_hidden_state.mean(1),
    )


def _supervised(
    shipped: Path,
    seed: int,
    start: Path | None,
    schedule: Schedule,
    *,
    processor: Any,
    heads: dict[str, int],
    pools: list[Pool],
    held_out: Pool,
    batch_size: int,
    augment: Callable[[Tensor], Tensor],
    pooled: Callable[[Any], Tensor],
) -> Model:
    """Return an encoder under linear classifiers, `heads` by what they tell.

    A step takes one pool, and `augment` makes the model's input of it, as the processor does but
    with noise; `pooled` turns the model's output into [N, H] float32.
    """
    torch.manual_seed(seed)
    model = AutoModel.from_config(AutoConfig.from_pretrained(shipped), dtype=torch.float32)
    classifiers = nn.ModuleList(nn.Linear(HIDDEN, count) for count in heads.values())
    if start is not None:
        model = AutoModel.from_pretrained(start, dtype=torch.float32).train()

    def logits(values: Tensor) -> list[Tensor]:
        vectors = pooled(model(values))
        return [classifier(vectors) for classifier in classifiers]

    def loss(step: int, _: float) -> Tensor:
        drawn, classes = pools[step % len(pools)]
        chosen = torch.randint(len(drawn), (batch_size,))
        told = logits(augment(drawn[chosen]))
        return torch.stack(list(map(cross_entropy, told, classes[chosen].unbind(1)))).sum()

    def scores() -> dict[str, float]:
        model.eval()
        told = logits(held_out[0])
        model.train()
        return {
            name: accuracy(given[label != ABSENT], label[label != ABSENT])
            for name, given, label in zip(heads, told, held_out[1].unbind(1), strict=True)
        }

    return Model(schedule, model, processor.from_pretrained(shipped), loss, scores, classifiers)


def draw_images(count: int, rng: Random) -> Pool:
    """Return images [N, 3, 64, 64] uint8 and classes [N, 5] int64."""
    images, classes = [], []
    for _ in range(count):
        if rng.random() < 0.5:
            scene = words.draw_scene(rng)
            color, shape = words.COLORS.index(scene.color), words.SHAPES.index(scene.shape)
            classes.append([0, color, shape, scene.count - 1, ABSENT])
            images.append(render_scene(scene, rng))
        else:
            mood = rng.randrange(3)
            classes.append([1, ABSENT, ABSENT, ABSENT, mood])
            face = move_face(draw_face(rng, _strength(mood, rng)), rng.random(), rng)
            images.append(render_face(face, rng))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return pixels.contiguous(), torch.tensor(classes)


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
        wave = render_voice(_strength(mood, rng), seconds, rng)
        waves.append((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7))
    return torch.from_numpy(np.stack(waves)), torch.tensor(classes)[:, None]


def _strength(mood: int, rng: Random) -> float:
    """Return a smile or a rise of a class."""
    return MOODS[mood] * rng.uniform(0.6, 1.0) + rng.uniform(-0.1, 0.1)
