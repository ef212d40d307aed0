"""From segments to the language model's encoder outputs.

The fused sequence is `[prompt (P) ; visual (V) ; audio (A) ; text (T)]`; a modality is added or
dropped by adding or dropping its segment, and the prompt can stand elsewhere. Source: section 3.1,
figure 1, table 6.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from ..plm.frozen import PLM, Encoded, Segment, additive
from ..plm.prefix import Prefix, spread
from .methods import PromptPosition
from .visibility import BLIND, Visibility, attention_mask


def encode_fused(
    plm: PLM,
    prompt: torch.Tensor | Prefix | None,
    inputs: Sequence[Segment],
    visibility: Visibility,
    *,
    position: PromptPosition = "start",
    present: torch.Tensor | None = None,
) -> Encoded:
    """Return what the language model makes of R * B sequences of prompt [R, P, H] and inputs.

    The inputs are embedded segments, left to right, the text last; their N = R * B rows are grouped
    by run: rows r * B to (r + 1) * B belong to run r. The prompt stands before all inputs, before
    the text, or after it (table 6). One that `may_lend` can be given as it was lent. `present`
    [R, P] bool is False where a shorter prompt was padded behind; None where none was.
    """
    dtype = inputs[0].vectors.dtype
    if prompt is None:
        everything, _ = arranged(plm, inputs)
        return plm.encode(everything, additive(everything.present[:, None, None], dtype=dtype))
    if not isinstance(prompt, Prefix) and may_lend(visibility, position):
        prompt = plm.lend(prompt, present)
    if isinstance(prompt, Prefix):
        following, _ = arranged(plm, inputs)
        keys = prompt.ahead_of(following.present)
        return plm.encode(following, additive(keys[:, None, None], dtype=dtype), prefix=prompt)
    rows, length = inputs[0].vectors.shape[0], prompt.shape[1]
    repeated = Segment.whole(spread(prompt, rows))
    if present is not None:
        repeated = replace(repeated, present=spread(present, rows), ragged=True)
    before = {"start": 0, "middle": len(inputs) - 1, "end": len(inputs)}[position]
    everything, order = arranged(plm, [*inputs[:before], repeated, *inputs[before:]])
    ahead = sum(segment.vectors.shape[1] for segment in inputs[:before])
    columns = torch.arange(everything.vectors.shape[1], device=prompt.device)
    columns = columns if order is None else order
    of_prompt = (columns >= ahead) & (columns < ahead + length)
    return plm.encode(
        everything, attention_mask(of_prompt, everything.present, visibility, dtype=dtype)
    )


def may_lend(visibility: Visibility, position: PromptPosition) -> bool:
    """Return whether the prompt's states do not depend on the input: run once, they serve all."""
    return visibility == BLIND and position == "start"


def arranged(plm: PLM, segments: Sequence[Segment]) -> tuple[Segment, torch.Tensor | None]:
    """Return the segments as one, and the order of its columns where a row's padding was moved.

    A language model that counts positions over the whole sequence would count the padding between
    two segments too, and so see the lengths of the batch's other examples: there each row's
    padding goes to its end. Where positions are counted within a segment, it can stay.
    """
    answer_at, ahead = None, 0
    for segment in segments:
        if segment.answer_at is not None:
            answer_at = segment.answer_at + ahead
        ahead += segment.vectors.shape[1]
    vectors = torch.cat([segment.vectors for segment in segments], dim=1)
    present = torch.cat([segment.present for segment in segments], dim=1)
    ragged = any(segment.ragged for segment in segments)
    if plm.counts_within == "segment" or not any(segment.ragged for segment in segments[:-1]):
        return Segment(vectors, present, answer_at, ragged=ragged), None
    order = (~present).to(torch.uint8).argsort(dim=1, stable=True)
    if answer_at is not None:
        answer_at = order.argsort(dim=1).gather(1, answer_at[:, None])[:, 0]
    vectors = vectors.take_along_dim(order[..., None], dim=1)
    return Segment(vectors, present.gather(1, order), answer_at, ragged=ragged), order
