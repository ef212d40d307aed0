"""`pfcli explain`: which pixels, frames, sounds and words the methods' answers rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..cache.examples import DatasetInfo, Example, ExampleTable, read_dataset
from ..config import Workspace
from ..defaults import plm_for
from ..errors import ConfigError, RunError, UnknownName
from ..train.checkpoint import load_trained
from ..train.data import open_sources
from ..train.evaluate import default_split, open_split
from ..train.explain.attribution import (
    BASELINES,
    Attribution,
    FusedAnswer,
    Integration,
    LiveMedium,
    attribute,
)
from ..train.fusion.methods import METHODS, Fusion
from ..train.fusion.parameters import Parameters
from ..train.job import fusion_of, require_same_plm
from ..train.plm.protocol import PLM
from ..train.plm.tokens import readable
from ..train.report.explanation import (
    PAGE,
    PICTURE,
    ExplainedMethod,
    Explanation,
    Pictured,
    channel_sums,
    example_folder,
    write_explanation,
)
from ..train.report.explanation_page import explanation_page, figures_table, warnings_of
from ..train.runs import PROMPT, RunRecord, find_run, read_record, run_folders
from ..training import load
from .live_media import LiveSource, open_live, read_media
from .report import data_folder

SIDE_BY_SIDE = ("noprompt", "promptfuse", "blindprompt")
"""Always shown, beside the run's own method. Source: table 3."""

_MAX_NEW_TOKENS = 10


@dataclass(frozen=True)
class ExplainRequest:
    """What is explained, and how finely.

    Attributes:
        examples: Ids in the split; empty takes its first example.
        split: None takes the one that runs are evaluated on.
        baseline: What an image without a signal is, a name in `BASELINES`.
        max_steps: Points on the path at which refining ends.
        encoders: By modality, where an encoder is now if no longer where the features say.
        device: A torch device; "auto" takes a GPU where there is one.
        threads: CPU threads; None leaves it to torch.
    """

    examples: tuple[str, ...] = ()
    split: str | None = None
    baseline: str = "black"
    max_steps: int = Integration.max_steps
    encoders: Mapping[str, str] | None = None
    device: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.baseline not in BASELINES:
            raise UnknownName("baseline", self.baseline, list(BASELINES))
        if self.max_steps < Integration.steps:
            raise ConfigError(
                f"max_steps is {self.max_steps}; it must be at least {Integration.steps}"
            )


@dataclass(frozen=True)
class MethodRun:
    """A method as it answers: in its variant, with what it has trained."""

    run: str | None
    fusion: Fusion
    parameters: Parameters

    @property
    def method(self) -> str:
        """The method's name."""
        return self.fusion.method.name


@dataclass(frozen=True)
class Explainer:
    """Everything that explaining a run's examples needs, opened once.

    Attributes:
        info: The dataset.
        split: The split of the examples.
        table: Its examples.
        plm: The language model, in float32.
        live: The run's modalities, in the order of the fused sequence.
        folder: The dataset's.
        methods: Those to be explained.
    """

    info: DatasetInfo
    split: str
    table: ExampleTable
    plm: PLM
    live: list[LiveSource]
    folder: Path
    methods: list[MethodRun]

    def example(self, wanted: str) -> Example:
        """Return the example of that id.

        Raises:
            RunError: If the split has none.
        """
        ids = self.table.ids
        if wanted not in ids:
            raise RunError(
                f"example {wanted!r} is not in split {self.split!r} of {self.info.name}; its ids "
                f"are such as {', '.join(ids[:3])}"
            )
        return next(iter(self.table.take([ids.index(wanted)])))

    def answer(self, one: MethodRun, example: Example, media: Sequence[LiveMedium]) -> FusedAnswer:
        """Return a method's answer to an example as a function to explain."""
        labels = self.plm.label_ids(self.info.labels) if self.info.labels else None
        (text_ids,) = self.plm.tokenise([example.text])
        return FusedAnswer(self.plm, one.fusion, one.parameters, media, text_ids, labels)

    def media(self, example: Example) -> list[LiveMedium]:
        """Return an example's media with their live encoders."""
        return read_media(example, self.live, self.folder)


def run_explain(workspace: Workspace, run: str | None, request: ExplainRequest) -> None:
    """Explain examples of a run beside the other methods; print figures and write pictures."""
    from ..train.report.heatmaps import draw_explanation

    folder = find_run(Path(workspace.runs), run)
    explainer, notes = open_explainer(workspace, folder, request)
    for note in notes:
        print(note)
    for name in request.examples or explainer.table.ids[:1]:
        explanation, pictured = explain(explainer, explainer.example(name), request)
        print(f"{explanation.dataset} {explanation.split} {name}: {explanation.text}")
        print(figures_table(explanation).text())
        for line in warnings_of(explanation):
            print(f"warning: {line}")
        picture = draw_explanation(explanation, pictured)
        there = example_folder(folder, name)
        page = explanation_page(explanation, picture)
        write_explanation(there, explanation, pictured, picture, page)
        print(f"wrote {there / PICTURE}\nwrote {there / PAGE}")


def open_explainer(
    workspace: Workspace, folder: Path, request: ExplainRequest
) -> tuple[Explainer, list[str]]:
    """Return what explains a run's examples, and a line for each method that is missing.

    The language model runs in float32, whatever the run's dtype: attributions are differences.

    Raises:
        RunError: If the run cannot be explained, or the dataset's media are not there.
        EncoderError: If an encoder is not there or has changed.
    """
    record = read_record(folder)
    _require_explainable(record)
    info = read_dataset(Path(workspace.cache), record.dataset)
    media_folder = data_folder(workspace, record.dataset)
    if media_folder is None:
        raise RunError(
            f"the media of {record.dataset} are needed again, to be encoded live; where are they? "
            "--data FOLDER"
        )
    split = request.split or default_split(info, fold=record.fold)
    selection = open_split(Path(workspace.cache), info, record, split)
    plm = load(str(record.plm["source"]), "float32", request.device, request.threads)
    require_same_plm(record, plm)
    encoders = request.encoders or {}
    live = [
        open_live(one, spec=encoders.get(one.modality), device=request.device)
        for one in open_sources(selection, plm)
    ]
    methods, missing = _methods(folder, record, Path(workspace.runs), plm)
    notes = [_how_to_train(record, info, method) for method in missing]
    return Explainer(info, split, selection.table, plm, live, media_folder, methods), notes


def _require_explainable(record: RunRecord) -> None:
    if record.method == "blackimage":
        raise RunError(
            f"run {record.name} was shown a black image and silence whatever the example, so "
            "nothing of its media can be explained; explain a promptfuse run"
        )
    if METHODS[record.method].trained == "encoder":
        raise RunError(
            f"run {record.name} is of {record.method}, whose encoder is not the one that made the "
            "cached features; explain a run with a frozen encoder, such as promptfuse"
        )


def _methods(
    folder: Path, record: RunRecord, runs_root: Path, plm: PLM
) -> tuple[list[MethodRun], list[str]]:
    """Return the methods in the order in which they are shown, and those that have no run."""
    found: list[MethodRun] = []
    missing: list[str] = []
    names = SIDE_BY_SIDE if record.method in SIDE_BY_SIDE else (*SIDE_BY_SIDE, record.method)
    for name in names:
        sister = folder if name == record.method else _sister(record, name, runs_root)
        if sister is not None:
            found.append(_trained(sister, plm))
        elif name == "noprompt":
            found.append(_untrained(record, plm))
        else:
            missing.append(name)
    return found, missing


def _trained(folder: Path, plm: PLM) -> MethodRun:
    trained, _ = load_trained(folder / PROMPT)
    parameters = {name: tensor[None].to(plm.device) for name, tensor in trained.items()}
    return MethodRun(folder.name, fusion_of(read_record(folder)), parameters)


def _untrained(record: RunRecord, plm: PLM) -> MethodRun:
    """Return `noprompt` on a run's own input: there is nothing that it would have trained."""
    import torch

    fusion = replace(Fusion.of("noprompt"), pool=fusion_of(record).pool)
    return MethodRun(None, fusion, {"prompt": torch.zeros(1, 0, plm.hidden_size).to(plm.device)})


def _sister(record: RunRecord, method: str, runs_root: Path) -> Path | None:
    """Return the latest finished run of another method that is otherwise alike."""
    wanted = _alike(record)
    for folder in reversed(run_folders(runs_root)):
        other = read_record(folder)
        plain = method in METHODS and other.visibility == METHODS[method].visibility
        finished = (folder / PROMPT).is_file()
        if other.method == method and plain and finished and _alike(other) == wanted:
            return folder
    return None


def _alike(record: RunRecord) -> Mapping[str, Any]:
    """Return what two runs share that can stand side by side."""
    return {
        "dataset": (record.dataset, record.fold, record.fold_draw, record.dev_ids),
        "features": record.features,
        "plm": record.plm.get("weights_sha256"),
        "shots": (record.shots, record.shot_sampling if record.shots else None),
        "seeds": (record.seed, record.data_seed if record.shots else None),
        "input": (record.width_fix, record.pool),
    }


def _how_to_train(record: RunRecord, info: DatasetInfo, method: str) -> str:
    """Return a line that says which method is missing and what trains it."""
    source = str(record.plm["source"])
    options = {
        "--shots": record.shots,
        "--data-seed": record.data_seed
        if record.shots and record.data_seed != record.seed
        else None,
        "--seed": record.seed or None,
        "--fold": record.fold,
        "--dev": None if record.dev_ids is None else len(record.dev_ids),
        "--plm": None if source == plm_for(record.dataset, None) else source,
        "--modalities": None
        if set(record.features) == set(info.modalities)
        else ",".join(record.features),
        "--width-fix": None if record.width_fix == "none" else record.width_fix,
        "--pool": None if record.pool == "after-norm" else record.pool,
    }
    given = "".join(f" {name} {value}" for name, value in options.items() if value is not None)
    command = f"pfcli train --dataset {record.dataset} --method {method}{given}"
    return f"no {method} run to set beside it; to train one: {command}"


def explain(
    explainer: Explainer, example: Example, request: ExplainRequest
) -> tuple[Explanation, Pictured]:
    """Return what each method's answer to an example rests on, in figures and as maps."""
    media = explainer.media(example)
    methods: list[ExplainedMethod] = []
    maps: dict[str, Any] = {}
    for one in explainer.methods:
        answer = explainer.answer(one, example, media)
        with tqdm(
            total=request.max_steps,  # at most: refining mostly ends long before
            unit="point",
            desc=f"explain {one.method}",
            disable=None,
        ) as bar:
            found = attribute(
                answer,
                baseline=request.baseline,
                integration=Integration(max_steps=request.max_steps),
                watch=bar.update,
            )
        methods.append(_explained(explainer, one, answer, found))
        maps[one.method] = channel_sums(found)
    shown = {medium.modality: _as_seen(medium) for medium in media}
    rate = next((one.decoder.decoding.audio_rate_hz for one in explainer.live), None)
    explanation = Explanation(
        explainer.info.name,
        explainer.split,
        example.id,
        example.text,
        example.answer,
        request.baseline,
        methods,
    )
    return explanation, Pictured(shown, maps, rate)


def _as_seen(medium: LiveMedium) -> Any:
    """Return [H, W, 3] or [F, H, W, 3] uint8, or [S] float32."""
    if medium.modality == "audio":
        return medium.decoded.numpy()
    return medium.decoded.movedim(-3, -1).byte().numpy()


def _explained(
    explainer: Explainer, one: MethodRun, answer: FusedAnswer, found: Attribution
) -> ExplainedMethod:
    import torch

    plm, labels = explainer.plm, explainer.info.labels
    if labels:
        whole = first = labels[found.target]
    else:
        (first,) = readable(plm.tokenizer, [found.target])
        with torch.no_grad():
            fused = answer.encoded(*answer.inputs())
            (whole,) = plm.generate(fused, max_new_tokens=_MAX_NEW_TOKENS)
    special = set(plm.tokenizer.all_special_ids)
    words = zip(readable(plm.tokenizer, answer.text_ids), found.tokens.tolist(), strict=True)
    return ExplainedMethod(
        method=one.method,
        run=one.run,
        answer=whole,
        first_token=first,
        output=found.output,
        baseline_output=found.baseline_output,
        delta=found.delta,
        steps=found.steps,
        tokens=[
            word for word, token in zip(words, answer.text_ids, strict=True) if token not in special
        ],
        media={name: float(one.sum()) for name, one in found.media.items()},
    )
