"""The demo's language model and its tokenizer, pretrained on text alone."""

from pathlib import Path
from random import Random

import torch
from torch import Tensor
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GenerationConfig,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import BaseModelOutput

from .corpus import FORMS, Batch, Corpus, tokenizer_lines
from .model import SHIPPED, Model, Schedule, accuracy

VOCABULARY_SIZE = 900
BATCH_SIZE = 64


def text_model(seed: int, start: Path | None) -> Model:
    """Return a BART of 3 + 2 layers without dropout, on sequences of words in three forms."""
    torch.manual_seed(seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(start or SHIPPED / "bart")
    if start is None:
        lines = tokenizer_lines(Random(seed))
        tokenizer = tokenizer.train_new_from_iterator(lines, VOCABULARY_SIZE, min_frequency=2)
        model = BartForConditionalGeneration(BartConfig.from_pretrained(SHIPPED / "bart"))
        model.generation_config = GenerationConfig.from_pretrained(SHIPPED / "bart")
    else:
        model = BartForConditionalGeneration.from_pretrained(start, dtype=torch.float32).train()
    corpus, unseen = Corpus(tokenizer, seed), Corpus(tokenizer, seed + 10_000)
    held_out = {
        f"{task}/{form}": unseen.batch(256, task=task, form=form)
        for task in ("mood", "tone", "scene")
        for form in FORMS
    }
    waiting: list[Batch] = []

    def loss(_: int, progress: float) -> Tensor:
        if not waiting:
            waiting.extend(corpus.batches(BATCH_SIZE, 8, progress=progress))
        return forward(model, waiting.pop())[0]

    def scores() -> dict[str, float]:  # of the first answer token: position 0 is <s>
        return {
            name: accuracy(forward(model, batch)[1][:, 1], batch.labels[:, 1])
            for name, batch in held_out.items()
        }

    # Trained to the end of its schedule, it leaves the prompt less to move.
    schedule = Schedule(
        3_400, 1.5e-3, warmup_steps=200, weight_decay=0.01, report_every=250, floor=0.05,
        stop_after=750,
    )  # fmt: skip
    return Model(schedule, model, tokenizer, loss, scores)


def forward(model: BartForConditionalGeneration, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the loss [] and the logits [B, L, vocabulary] float32 of a batch's answers.

    The encoder's input has positions a segment, then BART's layer norm.
    """
    encoder = model.model.encoder
    scale = encoder.embed_tokens.weight.detach().square().mean().sqrt()
    vectors = (encoder.embed_tokens(batch.token_ids) * batch.weights[..., None]).sum(2)
    vectors = (vectors + scale * batch.extra) * batch.gains
    positions = encoder.embed_positions.weight[batch.positions + 2]
    hidden = encoder.layernorm_embedding(vectors + positions)
    lowest = torch.finfo(hidden.dtype).min
    mask = torch.zeros(batch.visible.shape).masked_fill(~batch.visible, lowest)
    for layer in encoder.layers:
        hidden = layer(hidden, mask[:, None])
    output = model(
        encoder_outputs=BaseModelOutput(last_hidden_state=hidden),  # pyright: ignore[reportArgumentType]
        attention_mask=batch.attention_mask,
        labels=batch.labels,
    )
    return output.loss, output.logits
