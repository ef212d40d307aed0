"""Pretrains the demo's image encoder on pictures alone: shapes and faces, supervised."""
# ruff: noqa: S311 (content is drawn from a seed; nothing here is a secret)

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import ViTConfig, ViTImageProcessor, ViTModel

from . import words
from .checkpoint import save_half
from .scenes import SIZE, draw_face, move_face, render_face, render_scene

HIDDEN = 128
BATCH_SIZE = 96
PEAK_LR = 7e-4
POOL_IMAGES = 16_000
REPORT_EVERY = 100
ABSENT = -100  # cross-entropy's ignored target: a face has no count
HEADS = {"kind": 2, "color": len(words.COLORS), "shape": len(words.SHAPES), "count": 4, "mood": 3}
SMILES = (-1.0, 0.0, 1.0)


def build_model() -> ViTModel:
    """Returns an untrained ViT of 4 layers for 64×64 pixels, with a pooler."""
    config = ViTConfig(
        hidden_size=HIDDEN,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=4 * HIDDEN,
        image_size=SIZE,
        patch_size=16,
        initializer_range=0.07,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return ViTModel(config, add_pooling_layer=True)


def draw_image(rng: Random) -> tuple[np.ndarray, list[int]]:
    """Returns an image [64, 64, 3] uint8 and its class under each head."""
    if rng.random() < 0.5:
        scene = words.draw_scene(rng)
        color, shape = words.COLORS.index(scene.color), words.SHAPES.index(scene.shape)
        return render_scene(scene, rng), [0, color, shape, scene.count - 1, ABSENT]
    mood = rng.randrange(3)
    smile = SMILES[mood] * rng.uniform(0.6, 1.0) + rng.uniform(-0.1, 0.1)
    face = move_face(draw_face(rng, smile), rng.random(), rng)
    return render_face(face, rng), [1, ABSENT, ABSENT, ABSENT, mood]


def draw_images(count: int, rng: Random) -> tuple[Tensor, Tensor]:
    """Returns images [N, 3, 64, 64] uint8 and classes [N, heads] int64."""
    drawn = [draw_image(rng) for _ in range(count)]
    pixels = torch.from_numpy(np.stack([image for image, _ in drawn])).permute(0, 3, 1, 2)
    return pixels.contiguous(), torch.tensor([labels for _, labels in drawn])


def normalise(pixels: Tensor) -> Tensor:
    """Returns pixel values as the saved processor gives them: -1 to 1 float32."""
    return pixels.float() / 127.5 - 1


def augment(pixels: Tensor) -> Tensor:
    """Returns pixel values with a shift and codec-like noise."""
    dx, dy = (int(torch.randint(-3, 4, ())) for _ in range(2))
    values = normalise(torch.roll(pixels, (dy, dx), (2, 3)))
    if torch.rand(()) < 0.5:
        values = values.flip(3)
    if torch.rand(()) < 0.3:
        values = nn.functional.avg_pool2d(values, 3, stride=1, padding=1, count_include_pad=False)
    return values + 0.04 * torch.rand(()) * torch.randn_like(values)


class Heads(nn.Module):
    """Linear classifiers on the pooler's output; used in pretraining only."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(HIDDEN, classes) for classes in HEADS.values())

    def forward(self, pooled: Tensor) -> list[Tensor]:
        """Returns the logits of every head."""
        return [layer(pooled) for layer in self.layers]


@torch.inference_mode()
def accuracies(model: ViTModel, heads: Heads, pixels: Tensor, labels: Tensor) -> dict[str, float]:
    """Returns the accuracy of every head, in percent."""
    logits = heads(model(normalise(pixels)).pooler_output)
    scores = {}
    for name, output, label in zip(HEADS, logits, labels.unbind(1), strict=True):
        known = label != ABSENT
        scores[name] = 100 * (output.argmax(1) == label)[known].float().mean().item()
    return scores


def pretrain(
    output: Path, *, seed: int, steps: int, minutes: float | None = None, start: Path | None = None
) -> None:
    """Writes a pretrained image encoder and its processor to `output`.

    Args:
        output: the folder; a checkpoint is written there at every report.
        seed: of the pictures and the initial weights.
        steps: the number of steps of 96 images, at most.
        minutes: the schedule ends after this time if that comes first.
        start: a folder written before, to go on from with a new schedule.
    """
    torch.manual_seed(seed)
    model, heads = build_model(), Heads()
    if start is not None:
        model = ViTModel.from_pretrained(start, dtype=torch.float32).train()
    pixels, labels = draw_images(POOL_IMAGES, Random(f"vit/{seed}"))
    check = draw_images(512, Random(f"vit/check/{seed}"))
    weights = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=PEAK_LR, weight_decay=0.05)
    started = time.monotonic()
    for step in tqdm(range(steps), desc="vit", unit="step"):
        spent = (time.monotonic() - started) / 60
        progress = max(step / steps, spent / minutes if minutes else 0.0)
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LR * min((step + 1) / 100, 1.0) * max(1 - progress, 0.02)
        chosen = torch.randint(len(pixels), (BATCH_SIZE,))
        logits = heads(model(augment(pixels[chosen])).pooler_output)
        losses = [
            nn.functional.cross_entropy(output_, label)
            for output_, label in zip(logits, labels[chosen].unbind(1), strict=True)
        ]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == steps or progress >= 1:
            scores = {k: f"{v:.0f}" for k, v in accuracies(model, heads, *check).items()}
            tqdm.write(f"{step + 1} {spent:.1f} min loss {loss.item():.3f} {scores}")
            _save(model, output)
        if progress >= 1:
            break


def _save(model: ViTModel, output: Path) -> None:
    """Writes the encoder in fp16 and its image processor."""
    save_half(model, output)
    processor = ViTImageProcessor(
        size={"height": SIZE, "width": SIZE},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    processor.save_pretrained(output)
