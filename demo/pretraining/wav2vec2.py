"""The demo's sound encoder, pretrained on tones alone: rising, level and falling, supervised."""
# ruff: noqa: S311 (content is drawn from a seed; nothing here is a secret)

from __future__ import annotations

from itertools import chain
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from ..voices import render_voice
from .training import HIDDEN, SHIPPED, Schedule, accuracy

BATCH_SIZE = 32
SECONDS = (1.0, 1.25)
POOL_SOUNDS = 1_500  # of each length
RISES = (-1.0, 0.0, 1.0)


class SoundEncoder:
    """A wav2vec2 of 6 convolutions and 2 layers, 25 vectors a second, under a linear classifier."""

    schedule = Schedule(
        steps=500, peak_lr=1e-3, warmup_steps=50, floor=0.02, weight_decay=0.01, report_every=50
    )

    def __init__(self, seed: int, start: Path | None) -> None:
        torch.manual_seed(seed)
        self.model = Wav2Vec2Model(Wav2Vec2Config.from_pretrained(SHIPPED / "wav2vec2"))
        self.head = nn.Linear(HIDDEN, len(RISES))
        if start is not None:
            self.model = Wav2Vec2Model.from_pretrained(start, dtype=torch.float32).train()
        rng = Random(f"wav2vec2/{seed}")
        self.pools = [draw_sounds(POOL_SOUNDS, seconds, rng) for seconds in SECONDS]
        self.held_out = draw_sounds(150, SECONDS[0], Random(f"wav2vec2/check/{seed}"))
        self.processor = Wav2Vec2FeatureExtractor.from_pretrained(SHIPPED / "wav2vec2")

    def parameters(self) -> chain[nn.Parameter]:
        """Return what is trained."""
        return chain(self.model.parameters(), self.head.parameters())

    def loss(self, step: int, progress: float) -> Tensor:  # noqa: ARG002
        """Return the loss on 32 sounds of one length, with noise, [] float32."""
        waves, classes = self.pools[step % len(self.pools)]
        chosen = torch.randint(len(waves), (BATCH_SIZE,))
        noise = 0.03 * torch.rand(()) * torch.randn(BATCH_SIZE, waves.shape[1])
        return nn.functional.cross_entropy(self._logits(waves[chosen] + noise), classes[chosen])

    @torch.inference_mode()
    def scores(self) -> dict[str, float]:
        """Return the accuracy on held-out sounds, in percent."""
        waves, classes = self.held_out
        self.model.eval()
        logits = self._logits(waves)
        self.model.train()
        return {"rise": accuracy(logits, classes)}

    def _logits(self, waves: Tensor) -> Tensor:
        return self.head(self.model(waves).last_hidden_state.mean(1))


def draw_sounds(count: int, seconds: float, rng: Random) -> tuple[Tensor, Tensor]:
    """Return waveforms [N, S] float32 of zero mean and unit variance, and classes [N] int64."""
    classes = [rng.randrange(3) for _ in range(count)]
    waves = []
    for kind in classes:
        rise = RISES[kind] * rng.uniform(0.6, 1.0) + rng.uniform(-0.1, 0.1)
        wave = render_voice(rise, seconds, rng)
        waves.append((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7))
    return torch.from_numpy(np.stack(waves)), torch.tensor(classes)
