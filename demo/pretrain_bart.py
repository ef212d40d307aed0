"""Pretrains the demo's language model on text alone."""
# ruff: noqa: S311 (content is drawn from a seed; nothing here is a secret)

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GenerationConfig,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import BaseModelOutput

from .checkpoint import save_half
from .corpus import FORMS, Batch, Corpus, Mix, tokenizer_lines
from .tokenizer import BOS, EOS, PAD, save_tokenizer, train_tokenizer

HIDDEN = 128
VOCABULARY_SIZE = 900
BATCH_SIZE = 64
PEAK_LR = 1.5e-3
WARMUP_STEPS = 200
REPORT_EVERY = 250


def build_model(vocabulary_size: int) -> BartForConditionalGeneration:
    """Returns an untrained BART of 3 + 2 layers and hidden size 128, without dropout."""
    config = BartConfig(
        vocab_size=vocabulary_size,
        d_model=HIDDEN,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=4 * HIDDEN,
        decoder_ffn_dim=4 * HIDDEN,
        max_position_embeddings=256,
        activation_function="relu",
        dropout=0.0,
        init_std=0.08,
        bos_token_id=BOS,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=EOS,
    )
    model = BartForConditionalGeneration(config)
    model.generation_config = GenerationConfig.from_model_config(config)
    model.generation_config.forced_bos_token_id = BOS
    return model


def embed(model: BartForConditionalGeneration, batch: Batch) -> Tensor:
    """Returns the encoder's input [B, S, H]: positions per segment, then BART's layer norm."""
    encoder = model.model.encoder
    table = encoder.embed_tokens.weight
    scale = table.detach().square().mean().sqrt()
    tokens = torch.from_numpy(batch.token_ids)
    weights = torch.from_numpy(batch.weights)
    vectors = (encoder.embed_tokens(tokens) * weights[..., None]).sum(2)
    vectors = (vectors + scale * torch.from_numpy(batch.extra)) * torch.from_numpy(batch.gains)
    positions = encoder.embed_positions.weight[torch.from_numpy(batch.positions) + 2]
    return encoder.layernorm_embedding(vectors + positions)


def forward(model: BartForConditionalGeneration, batch: Batch) -> tuple[Tensor, Tensor]:
    """Returns the loss and the logits [B, L, vocabulary] of a batch's answers."""
    hidden = embed(model, batch)
    visible = torch.from_numpy(batch.visible)
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(hidden.dtype).min)
    for layer in model.model.encoder.layers:
        hidden = layer(hidden, mask[:, None])
    output = model(
        encoder_outputs=BaseModelOutput(last_hidden_state=hidden),  # pyright: ignore[reportArgumentType]
        attention_mask=torch.from_numpy(batch.attention_mask),
        labels=torch.from_numpy(batch.labels),
    )
    return output.loss, output.logits


@torch.inference_mode()
def accuracy(model: BartForConditionalGeneration, batch: Batch) -> float:
    """Returns the share of examples whose first answer token is right, in percent."""
    _, logits = forward(model, batch)
    answers = torch.from_numpy(batch.labels)[:, 1]  # position 0 is <s>
    return 100 * (logits[:, 1].argmax(-1) == answers).float().mean().item()


def pretrain(
    output: Path,
    *,
    seed: int,
    steps: int,
    minutes: float | None = None,
    start: Path | None = None,
    stop_after: int | None = None,
    mix: Mix | None = None,
) -> None:
    """Writes a pretrained language model and its tokenizer to `output`.

    Args:
        output: the folder; a checkpoint is written there at every report.
        seed: of the text, the tokenizer and the initial weights.
        steps: the number of steps of 64 examples, at most.
        minutes: the schedule ends after this time if that comes first.
        start: a folder written before, to go on from with a new schedule.
        stop_after: end at this step of the schedule; None for its end.
        mix: how often each task and form occurs.
    """
    torch.manual_seed(seed)
    if start is None:
        lines = tokenizer_lines(Random(seed))
        tokenizer = train_tokenizer(lines, vocabulary_size=VOCABULARY_SIZE)
        model = build_model(len(tokenizer))
    else:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(start)
        model = BartForConditionalGeneration.from_pretrained(start, dtype=torch.float32).train()
        model.generation_config.forced_bos_token_id = BOS
    corpus = Corpus(tokenizer, hidden=HIDDEN, seed=seed, mix=mix)
    held_out = Corpus(tokenizer, hidden=HIDDEN, seed=seed + 10_000)
    checks = {
        f"{task}/{form}": held_out.batch(256, task=task, form=form)
        for task in ("mood", "tone", "scene")
        for form in FORMS
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LR, weight_decay=0.01)
    waiting: list[Batch] = []
    started = time.monotonic()
    bar = tqdm(range(steps), desc="bart", unit="step")
    for step in bar:
        spent = (time.monotonic() - started) / 60
        last = step + 1 == min(steps, stop_after or steps)
        progress = max(step / steps, spent / minutes if minutes else 0.0)
        _set_lr(optimizer, step, progress)
        if not waiting:
            waiting = corpus.batches(BATCH_SIZE, 8, progress=progress)
        loss, _ = forward(model, waiting.pop())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % REPORT_EVERY == 0 or last or progress >= 1:
            scores = {name: f"{accuracy(model, batch):.0f}" for name, batch in checks.items()}
            tqdm.write(f"{step + 1} {spent:.1f} min loss {loss.item():.3f} {scores}")
            _save(model, tokenizer, output)
        if last or progress >= 1:
            break


def _set_lr(optimizer: torch.optim.Optimizer, step: int, progress: float) -> None:
    """Sets a warm-up followed by a straight line down to a twentieth."""
    scale = min((step + 1) / WARMUP_STEPS, 1.0) * max(1 - progress, 0.05)
    for group in optimizer.param_groups:
        group["lr"] = PEAK_LR * scale


def _save(
    model: BartForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, output: Path
) -> None:
    """Writes the model in fp16 and its tokenizer."""
    save_half(model, output)
    save_tokenizer(tokenizer, output)
