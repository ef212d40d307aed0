"""A method's first answer token as a differentiable function of pixels, samples and tokens.

It is one number: the log-odds of the first token that a method generates, its log-probability less
that of all others together (of the label that it answers, among the labels). A logit alone would
not do: a shift that all tokens share moves it and changes no answer. Nor would the log-probability:
of an answer that is near certain it hardly moves, and what is left to explain is the small
difference of large attributions.

No signal is black pixels (or another of `BASELINES`), silence, and the padding token's embedding in
place of each token that is not a special one; special tokens stay, and so does the prompt, a part
of the model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from ...cache.modalities import MODALITIES
from ..data.sources import padded_steps
from ..fusion.methods import Fusion
from ..fusion.parameters import Parameters
from ..live import TrainableEncoder
from ..plm.frozen import PLM, Encoded
from ..segments import embed_medium, fuse_segments, input_segments, text_segment

Tensors = tuple[torch.Tensor, ...]

_BLUR_CELLS = 4  # a side


def _mean(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.mean(dim=(-2, -1), keepdim=True).expand_as(pixels).contiguous()


def _blurred(pixels: torch.Tensor) -> torch.Tensor:
    frames = pixels.flatten(0, -4) if pixels.dim() > 3 else pixels[None]
    cells = adaptive_avg_pool2d(frames, _BLUR_CELLS)
    return interpolate(cells, pixels.shape[-2:], mode="bilinear").view_as(pixels)


BASELINES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "black": torch.zeros_like,
    "mean": _mean,
    "blur": _blurred,
}
"""What an image, or each frame, is when it shows nothing: black, its own mean colour, or its means
over 4 x 4 cells with smooth passages. Sound is always silence."""


@dataclass(frozen=True)
class LiveMedium:
    """A decoded medium and the encoder that it goes through.

    Attributes:
        decoded: [C, H, W] or [F, C, H, W] pixel values from 0 to 255, or [S] samples from -1 to 1.
        width: The fixed map to the language model's width, or None where they agree.
    """

    modality: str
    encoder: TrainableEncoder
    decoded: torch.Tensor
    width: torch.Tensor | None = None

    @property
    def units(self) -> float:
        """Its size, in images of 224 x 224 pixels or seconds of sound at 16 kHz."""
        return self.decoded.numel() / MODALITIES[self.modality].unit_values

    def vectors(self, decoded: torch.Tensor) -> torch.Tensor:
        """Return [N, steps, W]: the encoder's vectors of N variants of it, a frame's in a row."""
        if not MODALITIES[self.modality].framed:
            vectors = self.encoder(decoded)
            return vectors[:, None] if vectors.dim() == 2 else vectors
        frames = self.encoder(decoded.flatten(0, 1)).unflatten(0, decoded.shape[:2])
        return frames.flatten(1, -2)

    def baseline(self, name: str) -> torch.Tensor:
        """Return the medium without a signal, in its own shape."""
        pictures = MODALITIES[self.modality].pictures
        return BASELINES[name if pictures else "black"](self.decoded)


@dataclass(frozen=True)
class FusedAnswer:
    """A method's first answer token as a differentiable function of decoded media and tokens.

    The language model is in float32, the parameters are one run's, each [1, …], the media in the
    order of the fused sequence. The first tokens that compete are `choice_ids`, those of the
    labels, or by default all of them.
    """

    plm: PLM
    fusion: Fusion
    parameters: Parameters
    media: Sequence[LiveMedium]
    text_ids: Sequence[int]
    choice_ids: torch.Tensor | None = None

    def encoded(self, *inputs: torch.Tensor) -> Encoded:
        """Return what the language model makes of N variants of the media and the token vectors."""
        *media, tokens = inputs
        plm, fusion, parameters = self.plm, self.fusion, self.parameters
        embedded = []
        for medium, decoded in zip(self.media, media, strict=True):
            vectors = medium.vectors(decoded).to(tokens)
            steps = padded_steps(vectors.unbind(), plm, width=medium.width)
            embedded.append(embed_medium(plm, fusion, steps, parameters, medium.modality))
        text = text_segment(plm, plm.pad([self.text_ids] * len(tokens)), tokens)
        segments = input_segments(fusion, embedded, text, parameters)
        return fuse_segments(plm, fusion, parameters, segments)

    def logits(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return [N, choices]: of each first token, for N variants of the input."""
        choices = self.choice_ids
        if choices is None:
            choices = torch.arange(self.plm.tokens.num_embeddings, device=self.plm.device)
        return self.plm.label_logits(self.encoded(*inputs), choices)

    def log_odds(self, target: int, *inputs: torch.Tensor) -> torch.Tensor:
        """Return [N]: of one first token against all others, for N variants of the input."""
        logits = self.logits(*inputs)
        others = torch.cat([logits[:, :target], logits[:, target + 1 :]], dim=1)
        return logits[:, target] - others.logsumexp(dim=1)

    def inputs(self) -> Tensors:
        """Return the media and the token vectors as they are, each with a leading 1."""
        tokens = self.plm.token_vectors()[self._ids]
        return (*(medium.decoded[None].to(tokens.device) for medium in self.media), tokens[None])

    def baselines(self, name: str) -> Tensors:
        """Return what stands for no signal, as `inputs` gives the signal."""
        vectors, ids = self.plm.token_vectors(), self._ids
        tokenizer: Any = self.plm.tokenizer
        special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}  # a word not known
        kept = torch.isin(ids, ids.new_tensor(sorted(special)))
        padding = vectors[tokenizer.pad_token_id].expand(len(ids), -1)
        tokens = torch.where(kept[:, None], vectors[ids], padding)
        media = (medium.baseline(name)[None].to(tokens.device) for medium in self.media)
        return (*media, tokens[None])

    @property
    def _ids(self) -> torch.Tensor:
        return torch.tensor(self.text_ids, device=self.plm.device)
