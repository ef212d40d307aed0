"""The demo's language model and its tokenizer, pretrained on text alone."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GenerationConfig,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import BaseModelOutput

from .corpus import FORMS, Batch, Corpus, tokenizer_lines
from .training import HIDDEN, SHIPPED, Schedule, accuracy

VOCABULARY_SIZE = 900
BATCH_SIZE = 64


class TextModel:
    """A BART of 3 + 2 layers without dropout, on sequences of words in three forms."""

    # Trained to the end of its schedule, it leaves the prompt less to move.
    schedule = Schedule(
        3_400, 1.5e-3, warmup_steps=200, weight_decay=0.01, report_every=250, floor=0.05,
        stop_after=750,
    )  # fmt: skip

    def __init__(self, seed: int, start: Path | None) -> None:
        torch.manual_seed(seed)
        self.processor = PreTrainedTokenizerFast.from_pretrained(start or SHIPPED / "bart")
        if start is None:
            lines = tokenizer_lines(Random(seed))
            self.processor = self.processor.train_new_from_iterator(
                lines, VOCABULARY_SIZE, min_frequency=2
            )
            self.model = BartForConditionalGeneration(BartConfig.from_pretrained(SHIPPED / "bart"))
            self.model.generation_config = GenerationConfig.from_pretrained(SHIPPED / "bart")
        else:
            model = BartForConditionalGeneration.from_pretrained(start, dtype=torch.float32)
            self.model = model.train()
        self.corpus = Corpus(self.processor, hidden=HIDDEN, seed=seed)
        held_out = Corpus(self.processor, hidden=HIDDEN, seed=seed + 10_000)
        self.held_out = {
            f"{task}/{form}": held_out.batch(256, task=task, form=form)
            for task in ("mood", "tone", "scene")
            for form in FORMS
        }
        self.waiting: list[Batch] = []

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return what is trained."""
        return self.model.parameters()

    def loss(self, step: int, progress: float) -> Tensor:  # noqa: ARG002
        """Return the loss of 64 answers, [] float32."""
        if not self.waiting:
            self.waiting = self.corpus.batches(BATCH_SIZE, 8, progress=progress)
        return forward(self.model, self.waiting.pop())[0]

    @torch.inference_mode()
    def scores(self) -> dict[str, float]:
        """Return how often the first answer token is right, in percent, by task and form."""
        return {
            name: accuracy(
                forward(self.model, batch)[1][:, 1], torch.from_numpy(batch.labels)[:, 1]
            )
            for name, batch in self.held_out.items()  # position 0 is <s>
        }


def embed(model: BartForConditionalGeneration, batch: Batch) -> Tensor:
    """Return the encoder's input [B, S, H]: positions per segment, then BART's layer norm."""
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
    """Return the loss [] and the logits [B, L, vocabulary] float32 of a batch's answers."""
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
