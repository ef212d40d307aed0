"""A split of a dataset as batches of segments for a language model."""

from collections.abc import Sequence

import numpy as np
import torch

from ...cache.examples import ExampleTable
from ...cache.keys import BLANK_KEY, unpack_keys
from ..fusion.methods import Fusion
from ..fusion.parameters import Parameters
from ..plm.frozen import PLM, Segment
from ..segments import embed, embed_medium, input_segments, stages_of, text_segment
from .selection import has_row
from .sources import Source, read_steps
from .tokens import text_ids

_POOLING_ROWS = 32  # media padded together while a split is prepared


class FusionData:
    """A split of a dataset, ready to be cut into batches of segments; by default for PromptFuse.

    There is one source a modality, in the order of the fused sequence.

    Texts are tokenised once. Where the stages before the first trained one make one vector of a
    medium (in the paper's methods the whole way), they run once a medium; what stays a sequence,
    or comes from an encoder that runs live, is embedded at every batch.
    """

    def __init__(
        self, table: ExampleTable, sources: Sequence[Source], plm: PLM, fusion: Fusion | None = None
    ) -> None:
        self.table = table
        self.sources = list(sources)
        self.plm = plm
        self.fusion = fusion or Fusion.of("promptfuse")
        self.text_ids = text_ids(table, plm)
        blank = self.fusion.method.media == "blank"
        self.keys = {
            source.modality: [BLANK_KEY] * len(table) if blank else _row_keys(table, source)
            for source in self.sources
        }
        rows = zip(*self.keys.values(), strict=True)
        self.substituted = 0 if blank else sum(BLANK_KEY in keys for keys in rows)
        self._once = {
            source.modality: self._embed_once(source)
            for source in self.sources
            if source.encoder is None and "mean" in stages_of(self.fusion, source.modality)[0]
        }

    def __len__(self) -> int:
        return len(self.table)

    def segments(
        self, indices: Sequence[int] | np.ndarray, parameters: Parameters | None = None
    ) -> list[Segment]:
        """Return the input segments (media, then text) of N = R * B examples, each [N, L, H].

        The indices are grouped by run; of the parameters, each [R, …], all but the prompt is used.
        """
        parameters = parameters or {}
        text = text_segment(self.plm, self.plm.pad([self.text_ids[index] for index in indices]))
        media = [self._medium(source, indices, parameters) for source in self.sources]
        return input_segments(self.fusion, media, text, parameters)

    def _medium(
        self, source: Source, indices: Sequence[int] | np.ndarray, parameters: Parameters
    ) -> Segment:
        if source.modality not in self._once:
            keys = [self.keys[source.modality][index] for index in indices]
            steps = read_steps(source, keys, self.plm, parameters)
            return embed_medium(self.plm, self.fusion, steps, parameters, source.modality)
        vectors, rows = self._once[source.modality]
        steps = Segment.whole(vectors[rows[torch.as_tensor(np.asarray(indices))]])
        _, trained = stages_of(self.fusion, source.modality)
        return embed(self.plm, steps, trained, parameters, source.modality)

    @torch.no_grad()  # not inference_mode: these vectors take part in training
    def _embed_once(self, source: Source) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each medium after the frozen stages, [media, 1, H], and each example's row."""
        frozen, _ = stages_of(self.fusion, source.modality)
        keys = self.keys[source.modality]
        row = {key: index for index, key in enumerate(sorted(set(keys)))}
        unique, size = list(row), _POOLING_ROWS
        parts = [unique[start : start + size] for start in range(0, len(unique), size)]
        embedded = [embed(self.plm, read_steps(source, part, self.plm), frozen) for part in parts]
        rows = torch.tensor([row[key] for key in keys], dtype=torch.long)
        return torch.cat([segment.vectors for segment in embedded]), rows


def _row_keys(table: ExampleTable, source: Source) -> list[bytes]:
    """Return each example's key, the blank row's where it has no features."""
    keys = table.packed_keys(source.modality)
    return unpack_keys(np.where(has_row(source.features, keys)[:, None], keys, np.uint8(0)))
