"""Examples of a run explained: media decoded again, encoders run live, methods side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath

import numpy as np
import torch

from ...cache.examples import DatasetInfo, Example, ExampleTable, read_dataset
from ...cache.modalities import MODALITIES
from ...cache.store import FeatureSet
from ...errors import RunError
from ...memory import with_less
from ..data import Source, open_sources
from ..evaluate import open_split
from ..live import LoadLive, TrainableEncoder
from ..plm.frozen import PLM
from ..record import default_split, read_record
from ..settings import EvalSettings
from ..trained import require_same_plm
from .attribution import Attribution, Integration, attribute
from .beside import MethodRun, methods_beside
from .explanation import ExplainedMethod, Explanation, Pictured
from .fused_answer import FusedAnswer, LiveMedium

Decode = Callable[[FeatureSet, Example], np.ndarray]
"""From a feature set and an example to its medium as a `LiveMedium` has it, float32."""

Watch = Callable[[str, int], object]
"""Told what is being done, and how many points of the path are taken next."""

_AGREES = 2e-2
"""How far a live encoder's vectors may lie from the cached ones, against their size: float16
storage and other batches make 1e-3, bfloat16 computation 1e-2."""


@dataclass(frozen=True)
class Explainer:
    """Everything that explaining a run's examples needs, opened once.

    The language model is in float32. Each of the run's sources, in the order of the fused sequence,
    has the encoder that made it, live. `missing` would be shown beside `methods`, and have no run.
    """

    info: DatasetInfo
    split: str
    table: ExampleTable
    plm: PLM
    sources: Sequence[Source]
    encoders: Sequence[TrainableEncoder]
    decode: Decode
    methods: Sequence[MethodRun]
    missing: Sequence[str]

    def example(self, wanted: str) -> Example:
        """Return the example of that id."""
        ids = self.table.ids
        if wanted not in ids:
            raise RunError(
                f"example {wanted!r} is not in split {self.split!r} of {self.info.name}; its ids "
                f"are such as {', '.join(ids[:3])}"
            )
        return self.table.row(ids.index(wanted))

    def answer(
        self, method: MethodRun, example: Example, media: Sequence[LiveMedium]
    ) -> FusedAnswer:
        """Return a method's answer to an example as a function to explain."""
        labels = self.plm.label_ids(self.info.labels) if self.info.labels else None
        (text_ids,) = self.plm.tokenise([example.text])
        return FusedAnswer(self.plm, method.fusion, method.parameters, media, text_ids, labels)

    def media(self, example: Example) -> list[LiveMedium]:
        """Return an example's media, as the cache holds them, with their live encoders."""
        media: list[LiveMedium] = []
        for source, encoder in zip(self.sources, self.encoders, strict=True):
            decoded = torch.from_numpy(self.decode(source.features, example))
            media.append(LiveMedium(source.modality, encoder, decoded, source.width))
            _require_agreement(media[-1], source, example)
        return media


def open_explainer(
    folder: Path,
    cache_root: PurePath,
    plm: PLM,
    *,
    split: str | None,
    live: LoadLive,
    decode: Decode,
) -> Explainer:
    """Return what explains the examples of the run in a folder.

    The language model is in float32 whatever the run's dtype: attributions are differences. No
    split takes the one that the run is evaluated on. `live` gives the encoders that made the run's
    features, `decode` decodes the examples' media again.
    """
    record = read_record(folder)
    require_same_plm(record.name, record.plm, plm)
    info = read_dataset(cache_root, record.dataset)
    split = split or default_split(info.task, info.splits, fold=record.settings.fold)
    selection = open_split(cache_root, info, record, split)
    sources = open_sources(selection, plm)
    encoders = [live(source.features, source.field) for source in sources]
    methods, missing = methods_beside(folder, plm)
    return Explainer(info, split, selection.table, plm, sources, encoders, decode, methods, missing)


def explain(
    explainer: Explainer, example: Example, *, baseline: str, max_steps: int, watch: Watch
) -> tuple[Explanation, Pictured]:
    """Return what each method's answer to an example rests on, in figures and as maps.

    `baseline` is a name in `BASELINES`, `max_steps` the points on a path at which refining ends.
    """
    watch(f"decode the media of {example.id}", 0)
    media = explainer.media(example)
    methods: list[ExplainedMethod] = []
    maps: dict[str, dict[str, np.ndarray]] = {}
    for method in explainer.methods:
        walking = partial(watch, f"walk the path of {method.method}")
        walking(0)
        answer = explainer.answer(method, example, media)
        attribution, _ = with_less(
            partial(_attribution, answer, baseline, max_steps, walking),
            int(Integration.units),
            what="images or seconds of sound in a pass",
            lower="--device cpu may have more memory",
        )
        methods.append(_explained(explainer, method, answer, attribution))
        maps[method.method] = {
            name: (values.sum(dim=-3) if MODALITIES[name].pictures else values).numpy()
            for name, values in attribution.media.items()
        }
    about = (explainer.info.name, explainer.split, example.id, example.text, example.answer)
    explanation = Explanation(*about, baseline, methods)
    identities = (source.features.manifest.identity for source in explainer.sources)
    rates = (identity["sample_rate_hz"] for identity in identities if "sample_rate_hz" in identity)
    shown = {medium.modality: _as_seen(medium) for medium in media}
    return explanation, Pictured(shown, maps, next(rates, None))


def _attribution(
    answer: FusedAnswer, baseline: str, max_steps: int, watch: Callable[[int], object], units: int
) -> Attribution:
    integration = Integration(max_steps=max_steps, units=units)
    return attribute(answer, baseline=baseline, integration=integration, watch=watch)


def _as_seen(medium: LiveMedium) -> np.ndarray:
    """Return [H, W, 3] or [F, H, W, 3] uint8, or [S] float32."""
    if not MODALITIES[medium.modality].pictures:
        return medium.decoded.numpy()
    return medium.decoded.movedim(-3, -1).byte().numpy()


def _explained(
    explainer: Explainer, method: MethodRun, answer: FusedAnswer, attribution: Attribution
) -> ExplainedMethod:
    plm, labels = explainer.plm, explainer.info.labels
    if labels:
        whole = first = labels[attribution.target]
    else:
        (first,) = plm.readable([attribution.target])
        with torch.no_grad():
            encoded = answer.encoded(*answer.inputs())
            (whole,) = plm.generate(encoded, max_new_tokens=EvalSettings.max_new_tokens)
    special = set(plm.tokenizer.all_special_ids)
    words = zip(plm.readable(answer.text_ids), attribution.tokens.tolist(), strict=True)
    return ExplainedMethod(
        method=method.method,
        run=method.run,
        answer=whole,
        first_token=first,
        output=attribution.output,
        baseline_output=attribution.baseline_output,
        delta=attribution.delta,
        steps=attribution.steps,
        tokens=[
            word for word, token in zip(words, answer.text_ids, strict=True) if token not in special
        ],
        media={name: float(part.sum()) for name, part in attribution.media.items()},
    )


def _require_agreement(medium: LiveMedium, source: Source, example: Example) -> None:
    """Return if the live encoder makes the cached vectors of a medium, but for rounding."""
    with torch.no_grad():
        made = medium.vectors(medium.decoded[None])[0].cpu().numpy()
    packed = source.features.read([example.media[source.modality]], source.field)
    cached = np.asarray(packed.values, dtype=np.float32)
    problem = f"have {made.size} and {cached.size} numbers"
    if made.size == cached.size:
        apart = float(np.linalg.norm(made.ravel() - cached.ravel()) / np.linalg.norm(cached))
        if apart <= _AGREES:
            return
        problem = f"are {100 * apart:.1f} % apart"
    raise RunError(
        f"the live {source.modality} encoder {medium.encoder.id!r} and the cached features "
        f"{source.features.fingerprint} of example {example.id} {problem}; extract them again"
    )
