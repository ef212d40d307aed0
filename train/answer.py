"""A trained prompt's greedy answers, to a split of a dataset or to new examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from ..cache.examples import ExampleTable
from ..cache.store import FeatureSet
from .data import FusionData, open_source
from .fusion.parameters import Parameters
from .loop import batches, fuse
from .plm.protocol import PLM
from .settings import EvalSettings
from .trained import TrainedPrompt, require_fit


@dataclass(frozen=True, slots=True)
class Answer:
    """What the language model answered.

    Attributes:
        text: The answer.
        probability: Of the chosen label among the labels; None where the answer was generated.
    """

    text: str
    probability: float | None = None


def answer_examples(
    prompt: TrainedPrompt,
    plm: PLM,
    table: ExampleTable,
    features: Mapping[str, FeatureSet],
    settings: EvalSettings,
    *,
    quiet: bool = False,
) -> list[Answer]:
    """Return a trained prompt's answers to any examples, in order.

    Args:
        prompt: As `read_prompt` returns it.
        plm: The frozen language model.
        table: The examples; each has a medium of every modality that the prompt reads.
        features: By modality; they hold the examples' media.
        settings: Batch size and length of answers.
        quiet: Show no progress bar.

    Raises:
        RunError: If the model or the features are not those that the prompt was trained with.
    """
    about, trained = prompt.about, prompt.about.settings
    sources = [
        open_source(features[name], plm, field=prompt.fields[name], width_fix=trained.width_fix)
        for name in trained.modalities
    ]
    require_fit(prompt, plm, sources, fusion=prompt.fusion, width_fix=trained.width_fix)
    data = FusionData(table, sources, plm, prompt.fusion)
    parameters = {name: one[None].to(plm.device) for name, one in prompt.parameters.items()}
    return answer_all(plm, data, about.labels, parameters, settings, quiet=quiet)


@torch.inference_mode()
def answer_all(
    plm: PLM,
    data: FusionData,
    labels: Sequence[str],
    parameters: Parameters,
    settings: EvalSettings,
    *,
    quiet: bool = False,
) -> list[Answer]:
    """Return the answer to every example of `data`, in order.

    Args:
        plm: The frozen language model.
        data: The examples, under the method that was trained.
        labels: Read by a verbaliser; empty where answers are generated.
        parameters: One run's, each [1, …].
        settings: Batch size and length of answers.
        quiet: Show no progress bar.
    """
    label_ids = plm.label_ids(labels) if labels else None
    answers: list[Answer] = []
    with tqdm(
        total=len(data),
        unit="example",
        desc=f"answer {data.fusion.method.name}",
        disable=quiet or None,
    ) as bar:
        for batch in batches(len(data), size=settings.batch_size):
            fused = fuse(plm, data, parameters, list(batch))
            if label_ids is None:
                texts = plm.generate(fused, max_new_tokens=settings.max_new_tokens)
                answers += [Answer(text) for text in texts]
            else:
                chances, best = plm.label_logits(fused, label_ids).softmax(dim=1).max(dim=1)
                pairs = zip(best.tolist(), chances.tolist(), strict=True)
                answers += [Answer(labels[int(index)], chance) for index, chance in pairs]
            bar.update(len(batch))
    return answers
