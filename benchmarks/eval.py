"""Answers beside the library's `generate`: the same model, the same fused inputs, equal answers.

An evaluation is 64 examples in batches of 32: a prompt of 20, an image vector and 4 to 20 text
tokens each, answers of up to 10 tokens. Random weights end no answer: a head of their own, with a
bias on the end token, makes them end at many lengths, for both alike. The peer fuses the batches
in the given order, prompt and all. The floor is the matrix products that ours executes, each shape
at the machine's own rate.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from copy import copy, deepcopy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig
from transformers.modeling_outputs import BaseModelOutput

from ..errors import RunError
from ..frozen_linear import FrozenLinear
from ..train.answer import answer
from ..train.fusion.methods import Fusion
from ..train.fusion.visibility import VISIBILITIES, attention_mask
from ..train.plm.decoder import EncoderDecoderPLM
from ..train.plm.frozen import Segment
from ..train.segments import embed, text_segment
from ..train.settings import EvalSettings
from .bench import Line
from .executed import executed
from .machine import Machine, Products
from .shapes import bart_base, t5_base

_PROMPT, _EXAMPLES, _LIMIT = 20, 64, 10


@dataclass(frozen=True)
class Split:
    """What `answer` reads of a split and of a prompt; the vectors are random."""

    plm: EncoderDecoderPLM
    fusion: Fusion
    prompt: torch.Tensor
    media: torch.Tensor
    text_ids: list[list[int]]

    @classmethod
    def drawn(cls, plm: EncoderDecoderPLM, method: str, examples: int) -> "Split":
        """Return examples with texts of 4 to 20 tokens, in no order."""
        random = np.random.default_rng(1)
        lengths = random.integers(4, 21, examples)
        words = random.integers(3, plm.model.config.vocab_size, (examples, 20))
        texts = [row[:length].tolist() for row, length in zip(words, lengths, strict=True)]
        vectors = torch.from_numpy(random.normal(size=(_PROMPT + examples, plm.hidden_size)))
        prompt, media = vectors.to(plm.device, plm.dtype).tensor_split([_PROMPT])
        return cls(plm, Fusion.of(method), prompt, media, texts)

    def __len__(self) -> int:
        return len(self.text_ids)

    def ahead(self, batches: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
        """Return batches of indices as they are: nothing is streamed."""
        return batches

    def segments(self, indices: np.ndarray, *_: object) -> list[Segment]:
        """Return some examples' media and texts."""
        text = text_segment(self.plm, self.plm.pad([self.text_ids[index] for index in indices]))
        return [self.embedded(self.media[torch.from_numpy(indices)][:, None]), text]

    def embedded(self, vectors: torch.Tensor) -> Segment:
        """Return vectors [N, L, H] as the language model embeds a segment."""
        return embed(self.plm, Segment.whole(vectors), ("place", "scale"))


def lines(machine: Machine) -> Iterator[Line]:
    """Yield an evaluation by each shape and method."""
    for name, make in (("BART-base", bart_base), ("T5-base", t5_base)):
        plm = make(device=machine.device)
        for method in ("promptfuse", "blindprompt"):
            yield evaluation(name, Split.drawn(plm, method, _EXAMPLES), machine)


def evaluation(name: str, split: Split, machine: Machine, *, batch_size: int = 32) -> Line:
    """Return the line of one evaluation; both contenders have given the same answers."""
    _end_at_many_lengths(split, batch_size)
    ours = _ours(split, batch_size)
    peers = {
        "generate": _librarys(split, _stock(split.plm), batch_size),
        "generate, our linear layers": _librarys(split, split.plm, batch_size),
    }
    answers = ours()
    for peer in peers.values():
        differ = sum(one != other for one, other in zip(answers, peer(), strict=True))
        if differ:
            raise RunError(f"{differ} of {len(split)} answers by {name} differ from generate's")
    mean = sum(len(text.split()) for text in answers) / len(split)
    return Line(
        f"{name} {split.fusion.method.name}, {mean:.1f} tokens an answer",
        {"promptfuse": ours, **peers},
        machine.product_seconds(_alike(executed(ours)), split.plm.dtype),
        len(split),
        "examples",
    )


def _alike(products: Iterable[Products]) -> Iterator[Products]:
    """Yield products with rows by powers of two, for fewer rates to be measured."""
    for times, rows, inner, columns in products:
        near = 2 ** round(math.log2(rows))
        yield Products(times * rows / near, near, inner, columns)


def _ours(split: Split, batch_size: int) -> Callable[[], list[str]]:
    prompt: Any = SimpleNamespace(
        about=SimpleNamespace(labels=()),
        fusion=split.fusion,
        batched=lambda _: {"prompt": split.prompt[None]},
    )
    data: Any = split
    settings = EvalSettings(batch_size=batch_size, max_new_tokens=_LIMIT)
    return lambda: [given.text for given in answer(prompt, data, settings, quiet=True)]


def _stock(plm: EncoderDecoderPLM) -> EncoderDecoderPLM:
    """Return the language model with torch's own linear layers, of the same weights."""
    own = copy(plm)
    own.model = deepcopy(plm.model)
    own.layers = own.model.get_submodule(plm.layers_at)
    for layer in own.model.modules():
        if isinstance(layer, FrozenLinear):
            layer.__class__ = torch.nn.Linear  # pyright: ignore[reportAttributeAccessIssue]
    return own


def _librarys(split: Split, plm: EncoderDecoderPLM, batch_size: int) -> Callable[[], list[str]]:
    """Return what fuses whole batches and has the library write the answers."""
    rows = np.arange(len(split))
    parts = np.split(rows, range(batch_size, len(split), batch_size))
    return torch.inference_mode()(
        lambda: [text for part in parts for text in _generated(split, plm, part)]
    )


def _generated(split: Split, plm: EncoderDecoderPLM, indices: np.ndarray) -> list[str]:
    config = plm.model.config
    prompt = split.embedded(split.prompt.expand(len(indices), -1, -1))
    parts = [prompt, *split.segments(indices)]
    vectors, present = (
        torch.cat([getattr(part, name) for part in parts], dim=1) for name in ("vectors", "present")
    )
    columns = torch.arange(present.shape[1], device=plm.device)
    rule = VISIBILITIES[split.fusion.visibility]
    mask = attention_mask(columns < _PROMPT, present, rule, dtype=plm.dtype)
    memory: Any = BaseModelOutput(plm.encode(Segment(vectors, present), mask).vectors)
    forced = [config.bos_token_id] if plm.family == "bart" else []
    written = plm.model.generate(
        encoder_outputs=memory,
        attention_mask=present.long(),
        generation_config=GenerationConfig(
            max_new_tokens=_LIMIT + 1 + len(forced),
            pad_token_id=config.pad_token_id,
            eos_token_id=config.eos_token_id,
            decoder_start_token_id=config.decoder_start_token_id,
            forced_bos_token_id=next(iter(forced), None),
            forced_eos_token_id=config.eos_token_id,
        ),
    )
    return plm.tokenizer.batch_decode(written, skip_special_tokens=True)


@torch.inference_mode()
def _end_at_many_lengths(split: Split, batch_size: int) -> None:
    """Give the head weights of its own, and the bias that ends answers at the most lengths."""
    head, end, far = split.plm.model.lm_head, split.plm.model.config.eos_token_id, 100.0
    torch.manual_seed(0)  # tied to the embeddings, random weights repeat their first token
    head.weight = torch.nn.Parameter(torch.randn_like(head.weight) * 0.02, requires_grad=False)
    head.bias = torch.nn.Parameter(head.weight.new_zeros(len(head.weight)), requires_grad=False)
    head.bias[end] = -far
    steps: list[torch.Tensor] = []  # by how much the end is behind, a step's rows each
    hook = head.register_forward_hook(
        lambda _, __, logits: steps.append(logits.amax(dim=1) - logits[:, end] - far)
    )
    _ours(split, batch_size)()
    hook.remove()
    batches = [torch.stack(steps[at : at + _LIMIT]) for at in range(0, len(steps), _LIMIT)]
    behind = torch.cat(batches, dim=1)

    def spread(bias: torch.Tensor) -> float:
        """Return the entropy of the answers' lengths."""
        ended = torch.cat([behind < bias, torch.ones_like(behind[:1]) > 0])
        shares = ended.int().argmax(dim=0).bincount() / len(split)
        return torch.special.entr(shares).sum().item()

    between = behind.flatten().sort().values.unfold(0, 2, 1).mean(dim=1)  # so that nothing ties
    head.bias[end] = max(between[:: max(1, len(split) // 4)], key=spread)
