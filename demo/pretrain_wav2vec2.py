"""Pretrains the demo's sound encoder on tones alone: rising, level and falling, supervised."""
# ruff: noqa: S311 (content is drawn from a seed; nothing here is a secret)

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from .checkpoint import save_half
from .voices import SAMPLE_RATE_HZ, render_voice

HIDDEN = 128
BATCH_SIZE = 32
PEAK_LR = 1e-3
SECONDS = (1.0, 1.25)
POOL_SOUNDS = 1_500  # of each length
REPORT_EVERY = 50
RISES = (-1.0, 0.0, 1.0)


def build_model() -> Wav2Vec2Model:
    """Returns an untrained wav2vec2 of 6 convolutions and 2 layers: 25 vectors a second."""
    config = Wav2Vec2Config(
        vocab_size=8,
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * HIDDEN,
        conv_dim=(48,) * 6,
        conv_stride=(5, 4, 4, 2, 2, 2),
        conv_kernel=(10, 8, 8, 3, 3, 2),
        feat_extract_norm="group",
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=8,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        layerdrop=0.0,
        mask_time_prob=0.0,
    )
    return Wav2Vec2Model(config)


def draw_sounds(count: int, seconds: float, rng: Random) -> tuple[Tensor, Tensor]:
    """Returns waveforms [N, S] float32 of zero mean and unit variance, and their classes [N]."""
    classes = [rng.randrange(3) for _ in range(count)]
    waves = []
    for kind in classes:
        rise = RISES[kind] * rng.uniform(0.6, 1.0) + rng.uniform(-0.1, 0.1)
        wave = render_voice(rise, seconds, rng)
        waves.append((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7))
    return torch.from_numpy(np.stack(waves)), torch.tensor(classes)


@torch.inference_mode()
def accuracy(model: Wav2Vec2Model, head: nn.Linear, waves: Tensor, classes: Tensor) -> float:
    """Returns the accuracy on the mean of the output vectors, in percent."""
    model.eval()
    logits = head(model(waves).last_hidden_state.mean(1))
    model.train()
    return 100 * (logits.argmax(1) == classes).float().mean().item()


def pretrain(
    output: Path, *, seed: int, steps: int, minutes: float | None = None, start: Path | None = None
) -> None:
    """Writes a pretrained sound encoder and its feature extractor to `output`.

    Args:
        output: the folder; a checkpoint is written there at every report.
        seed: of the sounds and the initial weights.
        steps: the number of steps of 32 sounds, at most.
        minutes: the schedule ends after this time if that comes first.
        start: a folder written before, to go on from with a new schedule.
    """
    torch.manual_seed(seed)
    model, head = build_model(), nn.Linear(HIDDEN, len(RISES))
    if start is not None:
        model = Wav2Vec2Model.from_pretrained(start, dtype=torch.float32).train()
    rng = Random(f"wav2vec2/{seed}")
    pools = [draw_sounds(POOL_SOUNDS, seconds, rng) for seconds in SECONDS]
    check = draw_sounds(150, SECONDS[0], Random(f"wav2vec2/check/{seed}"))
    weights = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=PEAK_LR, weight_decay=0.01)
    started = time.monotonic()
    for step in tqdm(range(steps), desc="wav2vec2", unit="step"):
        spent = (time.monotonic() - started) / 60
        progress = max(step / steps, spent / minutes if minutes else 0.0)
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LR * min((step + 1) / 50, 1.0) * max(1 - progress, 0.02)
        waves, classes = pools[step % len(pools)]
        chosen = torch.randint(len(waves), (BATCH_SIZE,))
        heard = waves[chosen] + 0.03 * torch.rand(()) * torch.randn(BATCH_SIZE, waves.shape[1])
        logits = head(model(heard).last_hidden_state.mean(1))
        loss = nn.functional.cross_entropy(logits, classes[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == steps or progress >= 1:
            score = accuracy(model, head, *check)
            tqdm.write(f"{step + 1} {spent:.1f} min loss {loss.item():.3f} accuracy {score:.0f}")
            _save(model, output)
        if progress >= 1:
            break


def _save(model: Wav2Vec2Model, output: Path) -> None:
    """Writes the encoder in fp16 and its feature extractor."""
    save_half(model, output)
    extractor = Wav2Vec2FeatureExtractor(
        feature_size=1, sampling_rate=SAMPLE_RATE_HZ, do_normalize=True
    )
    extractor.save_pretrained(output)
