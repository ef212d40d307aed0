"""A split of a dataset as batches of segments for a language model."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ...cache.examples import ExampleTable
from ...cache.keys import BLANK_KEY
from ..fusion.methods import Fusion
from ..fusion.parameters import Parameters
from ..plm.frozen import PLM, Segment
from ..segments import embed, input_segments, stages_of, text_segment
from .kept import Kept, fits
from .reading import Loaded, ahead_bytes, grouped, in_advance, load, read_steps
from .sources import Source
from .tokens import text_ids

_AHEAD_BYTES = 8 << 20  # of the batches that are read together

_Batch = tuple[np.ndarray, dict[str, Loaded]]


class FusionData:
    """A split of a dataset, ready to be cut into batches of segments; by default for PromptFuse.

    There is one source a modality, in the order of the fused sequence. Of the examples, [n] bool
    `blank` ones have a blank in place of their media; by default all or none, as the method says.

    Texts are tokenised once. A modality's vectors are kept on the language model's device where
    they fit there, after the stages before the first trained one; else they are read from the cache
    and embedded at every batch, as those are that come from an encoder that runs live.

    Attributes:
        rows: The row of each example in a modality's features, [n] int64; the blank one's where it
            has no features.
        substituted: Examples in which a blank stands for a medium that has no features.
    """

    def __init__(
        self,
        table: ExampleTable,
        sources: Sequence[Source],
        plm: PLM,
        fusion: Fusion | None = None,
        *,
        blank: np.ndarray | None = None,
    ) -> None:
        self.table = table
        self.sources = list(sources)
        self.plm = plm
        self.fusion = fusion or Fusion.of("promptfuse")
        self.text_ids = text_ids(table, plm)
        if blank is None:
            blank = np.full(len(table), self.fusion.method.media == "blank")
        held = {source.modality: _held_rows(table, source) for source in self.sources}
        absent = np.any([rows < 0 for rows in held.values()], axis=0)
        self.substituted = int((absent & ~blank).sum())
        self.rows = {
            source.modality: _with_blanks(source, held[source.modality], blank)
            for source in self.sources
        }
        self._kept = self._keep()
        self._at_hand: _Batch = (np.empty(0), {})

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
        name = source.modality
        frozen, trained = stages_of(self.fusion, name)
        if name in self._kept:
            return embed(self.plm, self._kept[name].segment(indices), trained, parameters, name)
        read_of, loaded = self._at_hand
        if read_of is indices and name in loaded:
            steps = loaded[name]()
        else:
            rows = self.rows[name][np.asarray(indices)]
            steps = read_steps(source, rows, self.plm, parameters)
        return embed(self.plm, steps, (*frozen, *trained), parameters, name)

    def ahead(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield batches of indices, [N] each, whose media were read while those before were used.

        A thread draws the batches in advance and reads what is not kept; `segments` finds it by
        the yielded array itself.
        """
        streamed = [source for source in self.sources if self._is_streamed(source)]
        if not streamed:
            yield from batches
            return
        each = sum(ahead_bytes(source, self.plm) for source in streamed)
        groups = grouped(batches, int(_AHEAD_BYTES / max(1, each)))
        for group in in_advance(self._loaded(streamed, group) for group in groups):
            for self._at_hand in group:
                yield self._at_hand[0]

    def _loaded(self, sources: Sequence[Source], batches: Sequence[np.ndarray]) -> list[_Batch]:
        """Return batches of indices with what is read for them."""
        read = [
            load(source, self.plm, [self.rows[source.modality][indices] for indices in batches])
            for source in sources
        ]
        names = [source.modality for source in sources]
        media = [dict(zip(names, loaded, strict=True)) for loaded in zip(*read, strict=True)]
        return list(zip(batches, media, strict=True))

    @property
    def told(self) -> str:
        """Where the media are, in one line."""
        told = [f"{name}: {held.told}" for name, held in self._kept.items()]
        ahead = [source.modality for source in self.sources if self._is_streamed(source)]
        told += [f"{', '.join(ahead)}: read ahead from the cache"] if ahead else []
        return "; ".join(told)

    def _is_streamed(self, source: Source) -> bool:
        return source.encoder is None and source.modality not in self._kept

    def _keep(self) -> dict[str, Kept]:
        """Return the media that fit on the language model's device."""
        kept = {}
        for source in self.sources:
            rows, (frozen, _) = self.rows[source.modality], stages_of(self.fusion, source.modality)
            if source.encoder is None and fits(source, self.plm, rows, pooled="mean" in frozen):
                kept[source.modality] = Kept.of(source, self.plm, rows, frozen)
        return kept


def _held_rows(table: ExampleTable, source: Source) -> np.ndarray:
    """Return each example's row [n] int64, -1 where it has no features."""
    keys = table.packed_keys(source.modality)
    return np.where(keys.any(axis=1), source.features.find(keys), -1)


def _with_blanks(source: Source, rows: np.ndarray, blank: np.ndarray) -> np.ndarray:
    """Return the rows with the blank one's in place of -1, and where `blank` [n] bool says so."""
    absent = blank | (rows < 0)
    return np.where(absent, source.features.rows_of([BLANK_KEY]), rows) if absent.any() else rows
