"""The demo's image encoder, pretrained on pictures alone: shapes and faces, supervised."""
# ruff: noqa: S311 (content is drawn from a seed; nothing here is a secret)

from __future__ import annotations

from itertools import chain
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from transformers import ViTConfig, ViTImageProcessor, ViTModel

from .. import words
from ..scenes import draw_face, move_face, render_face, render_scene
from .training import HIDDEN, SHIPPED, Schedule, accuracy

BATCH_SIZE = 96
POOL_IMAGES = 16_000
ABSENT = -100  # cross-entropy's ignored target: a face has no count
HEADS = {"kind": 2, "color": len(words.COLORS), "shape": len(words.SHAPES), "count": 4, "mood": 3}
SMILES = (-1.0, 0.0, 1.0)


class ImageEncoder:
    """A ViT of 4 layers for 64×64 pixels with a pooler, under linear classifiers."""

    schedule = Schedule(
        steps=1_500, peak_lr=7e-4, warmup_steps=100, floor=0.02, weight_decay=0.05, report_every=100
    )

    def __init__(self, seed: int, start: Path | None) -> None:
        torch.manual_seed(seed)
        self.model = ViTModel(ViTConfig.from_pretrained(SHIPPED / "vit"))
        self.heads = nn.ModuleList(nn.Linear(HIDDEN, classes) for classes in HEADS.values())
        if start is not None:
            self.model = ViTModel.from_pretrained(start, dtype=torch.float32).train()
        self.pixels, self.labels = draw_images(POOL_IMAGES, Random(f"vit/{seed}"))
        self.held_out = draw_images(512, Random(f"vit/check/{seed}"))
        self.processor = ViTImageProcessor.from_pretrained(SHIPPED / "vit")

    def parameters(self) -> chain[nn.Parameter]:
        """Return what is trained."""
        return chain(self.model.parameters(), self.heads.parameters())

    def loss(self, step: int, progress: float) -> Tensor:  # noqa: ARG002
        """Return the heads' summed loss on 96 images, [] float32."""
        chosen = torch.randint(len(self.pixels), (BATCH_SIZE,))
        logits = self._logits(augment(self.pixels[chosen]))
        labels = self.labels[chosen].unbind(1)
        losses = map(nn.functional.cross_entropy, logits, labels)
        return torch.stack(list(losses)).sum()

    @torch.inference_mode()
    def scores(self) -> dict[str, float]:
        """Return the accuracy of every head on held-out images, in percent."""
        pixels, labels = self.held_out
        rows = zip(HEADS, self._logits(normalise(pixels)), labels.unbind(1), strict=True)
        return {
            name: accuracy(logits[label != ABSENT], label[label != ABSENT])
            for name, logits, label in rows
        }

    def _logits(self, values: Tensor) -> list[Tensor]:
        pooled = self.model(values).pooler_output
        return [head(pooled) for head in self.heads]


def draw_image(rng: Random) -> tuple[np.ndarray, list[int]]:
    """Return an image [64, 64, 3] uint8 and its class under each head."""
    if rng.random() < 0.5:
        scene = words.draw_scene(rng)
        color, shape = words.COLORS.index(scene.color), words.SHAPES.index(scene.shape)
        return render_scene(scene, rng), [0, color, shape, scene.count - 1, ABSENT]
    mood = rng.randrange(3)
    smile = SMILES[mood] * rng.uniform(0.6, 1.0) + rng.uniform(-0.1, 0.1)
    face = move_face(draw_face(rng, smile), rng.random(), rng)
    return render_face(face, rng), [1, ABSENT, ABSENT, ABSENT, mood]


def draw_images(count: int, rng: Random) -> tuple[Tensor, Tensor]:
    """Return images [N, 3, 64, 64] uint8 and classes [N, heads] int64."""
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
        values = nn.functional.avg_pool2d(values, 3, stride=1, padding=1, count_include_pad=False)
    return values + 0.04 * torch.rand(()) * torch.randn_like(values)
