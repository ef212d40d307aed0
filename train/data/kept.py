"""Media of a split kept on the language model's device, where they fit."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch

from ..fusion.methods import Stage
from ..plm.frozen import PLM, Segment
from ..segments import embed
from .reading import in_advance, load, row_bytes
from .sources import Source

_TOGETHER = 32  # media that are padded and embedded at a time
_KEPT_BYTES = 64 << 20  # on a processor, whose memory has the cache's pages already


class Kept:
    """Media of a split on the language model's device, each once, after their frozen stages."""

    def __init__(self, vectors: torch.Tensor, lengths: np.ndarray, places: np.ndarray) -> None:
        """Keep media end to end, [steps + 1, H] with zeros last, and each example's place."""
        self._vectors = vectors
        self._lengths = lengths
        self._starts = np.cumsum(lengths) - lengths
        self._places = places

    @property
    def told(self) -> str:
        """How much is where, in words."""
        return f"{self._vectors.nbytes / 1e6:,.1f} MB kept on {self._vectors.device}"

    def segment(self, indices: Sequence[int] | np.ndarray) -> Segment:
        """Return the vectors of examples, [N, L, H]."""
        places = self._places[np.asarray(indices)]
        lengths = self._lengths[places][:, None]
        steps = np.arange(int(lengths.max(initial=0)))
        there = steps < lengths
        at = np.where(there, self._starts[places][:, None] + steps, len(self._vectors) - 1)
        device = self._vectors.device
        vectors = self._vectors.index_select(0, torch.from_numpy(at.ravel()).to(device))
        vectors = vectors.view(*at.shape, -1)
        if there.all():
            return Segment.whole(vectors)
        return Segment(vectors, torch.from_numpy(there).to(device))

    @classmethod
    @torch.no_grad()  # not inference_mode: these vectors take part in training
    def of(cls, source: Source, plm: PLM, rows: np.ndarray, stages: Sequence[Stage]) -> Self:
        """Return the media of examples, by the numbers of their rows, after frozen stages."""
        unique, places = np.unique(rows, return_inverse=True)
        parts = np.split(unique, range(_TOGETHER, len(unique), _TOGETHER))
        vectors, lengths = [], []
        for (loaded,) in in_advance(load(source, plm, [part]) for part in parts):
            segment = embed(plm, loaded(), stages)
            vectors.append(segment.vectors[segment.present])
            lengths.append(segment.present.sum(dim=1).cpu().numpy())
        end = vectors[0].new_zeros(1, plm.hidden_size)
        return cls(torch.cat([*vectors, end]), np.concatenate(lengths), places)


def fits(source: Source, plm: PLM, rows: np.ndarray, *, pooled: bool) -> bool:
    """Return whether the media of these rows, each one vector if `pooled`, may be kept."""
    each = plm.hidden_size * plm.dtype.itemsize if pooled else row_bytes(source, plm)
    room = _KEPT_BYTES
    if plm.device.type == "cuda":
        room = torch.cuda.mem_get_info(plm.device)[0] // 4
    return len(np.unique(rows)) * each <= room
