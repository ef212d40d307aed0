"""A training step beside PEFT's prompt tuning: the same frozen model, the same fused inputs.

A batch is 32 examples: a prompt of 20, an image vector and 12 text tokens, 4 answer tokens. A step
is everything from a batch's ids to a changed prompt: segments, forward, loss, backward, Adam. Its
floor is the matrix products that ours executes, each shape at the machine's own rate. PEFT runs on
the library's model as it is, and on ours, whose layers may compute the same in another way. At the
end: what a longer batch's ids and mask cost, beside the step that they are for.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, get_args

import torch

from ..train.fusion.methods import Fusion, VisibilityName, method_named
from ..train.fusion.visibility import VISIBILITIES, attention_mask
from ..train.plm.frozen import PLM, Segment
from ..train.segments import embed, fuse_segments, stages_of, text_segment
from .bench import Contender, Line
from .executed import executed
from .machine import Machine
from .shapes import HIDDEN, bart_base, t5_base

_PROMPT, _RATE = 20, 0.5
_ANSWERS = {"bart": [0, 100, 200, 2], "t5": [100, 200, 300, 1]}


@dataclass(frozen=True)
class _Batch:
    """So many examples, each with media vectors and text tokens of one length."""

    plm: PLM[Any]
    examples: int
    vectors: int
    tokens: int

    @property
    def positions(self) -> int:
        """How long the fused sequence is."""
        return _PROMPT + self.vectors + self.tokens

    def media(self) -> Segment:
        """Return the media as they are cached, [B, V, H]."""
        generator = torch.Generator().manual_seed(1)
        drawn = torch.randn(self.examples, self.vectors, HIDDEN, generator=generator)
        return Segment.whole(drawn.to(self.plm.device, self.plm.dtype))

    @property
    def texts(self) -> list[list[int]]:
        """Each text's ids, as tokenised."""
        return [list(range(10, 10 + self.tokens))] * self.examples

    @property
    def answers(self) -> list[list[int]]:
        """Each answer's ids, as tokenised."""
        return [_ANSWERS[self.plm.family]] * self.examples


def lines(machine: Machine) -> Iterator[Line]:
    """Yield both shapes' steps in both dtypes, then longer batches' preparation."""
    for name, made in (("BART-base", bart_base), ("T5-base", t5_base)):
        for dtype in (torch.float32, torch.bfloat16):
            batch = _Batch(made(dtype, machine.device), examples=32, vectors=1, tokens=12)
            peers, absent = _peers(batch)
            for method in ("blindprompt", "promptfuse"):
                ours = _step(batch, method)
                floor = machine.product_seconds(executed(ours), dtype)
                contenders = {"promptfuse": ours, **peers}
                work = f"{name} {method}, {str(dtype)[6:]}"
                yield Line(work, contenders, floor, batch.examples, "examples", absent)
    plm = bart_base(device=machine.device)
    for batch in (_Batch(plm, 8, 197, 12), _Batch(plm, 2, 1024, 30)):
        for visibility in get_args(VisibilityName):
            parts = {
                "its ids and mask": _preparation(batch, visibility),
                "the whole step": _step(batch, "promptfuse", visibility),
            }
            yield Line(f"{batch.examples} × {batch.positions} positions, {visibility}", parts)


def _step(batch: _Batch, method: str, visibility: VisibilityName | None = None) -> Contender:
    """Return a step of ours, of a method as the paper runs it or under another visibility."""
    plm, media = batch.plm, batch.media()
    fusion = Fusion(method_named(method), visibility or method_named(method).visibility)
    prompt = torch.nn.Parameter(torch.randn(1, _PROMPT, HIDDEN, device=plm.device))
    optimizer = torch.optim.Adam([prompt], lr=_RATE)
    frozen, _ = stages_of(fusion, "image")

    def step() -> None:
        inputs = [embed(plm, media, frozen), text_segment(plm, plm.pad(batch.texts))]
        encoded = fuse_segments(plm, fusion, {"prompt": prompt}, inputs)
        sums, counts = plm.answer_loss(encoded, batch.answers)
        optimizer.zero_grad(set_to_none=True)
        (sums.sum() / counts.sum()).backward()
        optimizer.step()

    return step


def _peers(batch: _Batch) -> tuple[dict[str, Contender], dict[str, str]]:
    """Return PEFT's steps by name, or what would let it run."""
    try:
        import peft  # noqa: F401
    except ImportError:
        return {}, {"PEFT": "pip install promptfuse[bench]"}
    ours = batch.plm.model
    stock = type(ours)._from_config(deepcopy(ours.config), attn_implementation="sdpa")
    stock = stock.to(batch.plm.device, batch.plm.dtype).eval()
    return {"PEFT": _peft_step(batch, stock), "PEFT on our layers": _peft_step(batch, ours)}, {}


def _peft_step(batch: _Batch, model: Any) -> Contender:
    """Return a step of PEFT's prompt tuning of a library's model."""
    from peft import PromptTuningConfig, get_peft_model

    plm, media = batch.plm, batch.media().vectors
    config = PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=_PROMPT)
    tuned: Any = get_peft_model(model, config)
    optimizer = torch.optim.Adam(tuned.prompt_encoder.parameters(), lr=_RATE)

    def step() -> None:
        texts = plm.embed_tokens(torch.tensor(batch.texts, device=plm.device))
        embeds = torch.cat([media, texts], dim=1)
        present = torch.ones(embeds.shape[:2], dtype=torch.long, device=plm.device)
        labels = torch.tensor(batch.answers, device=plm.device)
        told = tuned(inputs_embeds=embeds, attention_mask=present, labels=labels)
        optimizer.zero_grad(set_to_none=True)
        told.loss.backward()
        optimizer.step()

    return step


def _preparation(batch: _Batch, visibility: VisibilityName) -> Contender:
    """Return what makes a batch's ids and its mask."""
    plm, rule = batch.plm, VISIBILITIES[visibility]
    columns = torch.arange(batch.positions, device=plm.device)
    ahead = columns[: -batch.tokens].expand(batch.examples, -1) >= 0

    def prepare() -> None:
        text, _ = plm.pad(batch.texts), plm.pad(batch.answers)
        present = torch.cat([ahead, text.present], dim=1)
        attention_mask(columns < _PROMPT, present, rule, dtype=plm.dtype)

    return prepare
