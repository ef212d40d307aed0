"""The one road from a trained prompt to answers: of a split of a dataset, or about new examples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from ..cache.examples import ExampleTable
from ..cache.store import FeatureSet
from ..memory import with_less
from .data import FusionData, open_source
from .live import LoadLive
from .loop import fuse
from .plm.frozen import PLM, Encoded
from .segments import lent_prompt
from .settings import EvalSettings
from .trained import TrainedPrompt, require_same_features, require_same_plm

_USUAL = EvalSettings()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and a label's probability among the labels; None where it was generated."""

    text: str
    probability: float | None = None


def answer_data(
    prompt: TrainedPrompt,
    plm: PLM,
    table: ExampleTable,
    features: Mapping[str, FeatureSet],
    *,
    live: LoadLive | None = None,
) -> FusionData:
    """Return examples joined with their features, by modality, as a trained prompt reads them.

    `live` gives the encoders that a run has trained. A model or features that the prompt was not
    trained with are refused.
    """
    require_same_plm(prompt.about.name, prompt.about.plm, plm)
    for name in prompt.fields:
        require_same_features(prompt, features[name].manifest)
    fix = prompt.about.settings.width_fix
    sources = [
        open_source(features[name], plm, field=field, width_fix=fix, live=live)
        for name, field in prompt.fields.items()
    ]
    return FusionData(table, sources, plm, prompt.fusion)


@torch.inference_mode()
def answer(
    prompt: TrainedPrompt,
    data: FusionData,
    settings: EvalSettings = _USUAL,
    *,
    quiet: bool = False,
) -> list[Answer]:
    """Return a trained prompt's answer to every example, in order.

    Where there are labels, it is the likeliest of them; else what is generated greedily. Examples
    of like length share a batch, whose size is halved where memory runs out, and all of them a
    prompt that depends on no input; `quiet` shows no progress bar.
    """
    parameters = prompt.batched(data.plm.device)
    prefix = lent_prompt(data.plm, data.fusion, parameters)
    read = _reader(prompt, data.plm, settings.max_new_tokens)
    order = np.argsort([len(ids) for ids in data.text_ids], kind="stable")
    answers: list[Answer] = []  # in that order
    batch_size = settings.batch_size

    told = f"answer {prompt.fusion.method.name}"
    batches = np.split(order, range(batch_size, len(order), batch_size))
    with tqdm(total=len(data), unit="example", desc=told, disable=quiet or None) as bar:
        for left in data.ahead(batches):
            while len(left):

                def next_answers(size: int, left: np.ndarray = left) -> list[Answer]:
                    rows = left if size >= len(left) else left[:size]
                    return read(fuse(data.plm, data, parameters, rows, prefix))

                batch, batch_size = with_less(
                    next_answers,
                    batch_size,
                    what="examples at a time",
                    lower="or lower --batch-size",
                )
                answers += batch
                bar.update(len(batch))
                left = left[len(batch) :]
    return [answers[place] for place in order.argsort()]


def _reader(
    prompt: TrainedPrompt, plm: PLM, max_new_tokens: int
) -> Callable[[Encoded], list[Answer]]:
    """Return what gives the answers to encoded examples."""
    labels = prompt.about.labels
    if not labels:
        return lambda encoded: [
            Answer(text) for text in plm.generate(encoded, max_new_tokens=max_new_tokens)
        ]
    ids = plm.label_ids(labels)

    def likeliest(encoded: Encoded) -> list[Answer]:
        chances, best = plm.label_logits(encoded, ids).softmax(dim=1).max(dim=1)
        pairs = zip(best.tolist(), chances.tolist(), strict=True)
        return [Answer(labels[index], chance) for index, chance in pairs]

    return likeliest
