"""What a run's folder holds: its record, and the names of its files.

RUNS/0001-mustard-blindprompt-16shots-seed0/
    run.json             the resolved configuration, the examples' ids, versions, parameter count
    prompt.safetensors   the encoded prompt and all else that is trained (absent until the end)
    log.jsonl            one line a logged step
    eval-<split>/        predictions.jsonl, metrics.json, and results.json (VQA's official form)
    explain/<example>/   what an answer rests on: see `explain.explanation`
"""

import hashlib
import json
import platform
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..cache.atomic import read_json_object, write_atomic
from ..cache.fingerprint import canonical_json
from ..errors import RunError
from ..settings import Settings, read_settings
from .settings import NOT_A_RESULT, RunSettings

EVAL, METRICS, RECORD, LOG = "eval-", "metrics.json", "run.json", "log.jsonl"
PROMPT, CHECKPOINT = "prompt.safetensors", "checkpoint.safetensors"
DEV = "dev"
"""The split that stands for the examples which a run set aside."""

Record = TypeVar("Record", bound=Settings)


@dataclass(frozen=True)
class FeatureUse(Settings):
    """The features that a run was trained on."""

    fingerprint: str
    field: str
    encoder: str


@dataclass(frozen=True)
class RunRecord(Settings):
    """Everything that a run was made with; the run's folder holds it as JSON.

    Attributes:
        group: The names of the runs that train side by side with it, its own among them.
        plm: The language model's identity.
        features: By modality, in the order of the fused sequence.
        settings: Resolved: nothing is None that the preset, the method or the cache decides.
        steps: In all.
        examples_sha256: Of the training examples' ids, texts, answers and media.
        dropped_examples: That lack a medium's features.
        unanswerable_examples: That the language model cannot answer.
        example_ids: The shots; None where it trains on all that is not set aside.
        trainable_parameters: Of one run.
        fold_draw: Names the assignment to folds, where it trains on a fold.
        dev_ids: The examples that it set aside.
    """

    name: str
    group: list[str]
    dataset: str
    task: Literal["vqa", "label", "text"]
    plm: dict[str, Any]
    features: dict[str, FeatureUse]
    settings: RunSettings
    steps: int
    train_examples: int
    examples_sha256: str
    dropped_examples: int
    unanswerable_examples: int
    example_ids: list[str] | None
    trainable_parameters: int
    fold_draw: str | None = None
    dev_ids: list[str] | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def set_aside(self, split: str) -> bool:
        """Return whether a split is what this run set aside of its training split."""
        return split == DEV and self.dev_ids is not None


SEEDS = ("seed", "seeds", "data_seed")
_NAMES = ("source", "revision")  # of a language model: its weights and configuration count
_BY_IDENTITY = ("plm", "plm_revision", "features", "fields", "modalities")


def record_source(record: RunRecord) -> str:
    """Return where a run's language model is from: its hub id, else its folder."""
    return str(record.plm.get("id") or record.plm.get("source"))


def deciding(record: RunRecord) -> dict[str, Any]:
    """Return all of a record that decides what comes out, the seeds aside, as flat JSON values."""
    values = asdict(record.settings)
    for name in (*SEEDS, *_BY_IDENTITY, *NOT_A_RESULT):
        del values[name]
    values["train_split"] = values.pop("split")
    identity = {name: value for name, value in record.plm.items() if name not in _NAMES}
    values["plm"] = record_source(record).rstrip("/").rsplit("/", 1)[-1]
    values["plm identity"] = hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:8]
    values["inputs"] = " + ".join([*record.features, "text"])
    for modality, use in record.features.items():
        values[f"{modality} field"] = use.field
        values[f"{modality} features"] = use.fingerprint
    return values


def library_versions() -> dict[str, str]:
    """Return the versions that a figure may depend on."""
    names = ("promptfuse", "torch", "transformers", "numpy", "pyarrow", "h5py")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def write_fields(path: Path, record: Settings) -> None:
    """Write a run's or a sweep's record, whole or not at all."""
    write_atomic(path, json.dumps(asdict(record), indent=1) + "\n")


def read_fields(kind: type[Record], path: Path, owner: str) -> Record:
    """Return the record in a file of the folder of `owner`, such as "a run".

    Raises:
        RunError: If there is no such file or it is not JSON.
        ConfigError: If an entry is absent, of the wrong type or out of range.
        UnknownName: If an entry is unknown.
    """
    if not path.is_file():
        raise RunError(f"{path.parent} is not {owner}'s folder: it has no {path.name}")
    return read_settings(kind, read_json_object(path, RunError), str(path), whole=True)


def write_record(folder: Path, record: RunRecord) -> None:
    """Write a run's record into its folder, whole or not at all."""
    write_fields(folder / RECORD, record)


def read_record(folder: Path) -> RunRecord:
    """Return the record of a run's folder; raises as `read_fields`."""
    return read_fields(RunRecord, folder / RECORD, "a run")


def default_split(task: str, splits: Collection[str], *, fold: int | None = None) -> str:
    """Return the split to evaluate on: "test", else "val", else the last one; a fold has "test".

    VQAv2's test answers are not public, so a VQA dataset is evaluated on "val" (as in the paper).
    """
    if fold is not None:
        return "test"
    order = ("val", "test") if task == "vqa" else ("test", "val")
    return next((name for name in order if name in splits), list(splits)[-1])


def evaluations(folder: Path) -> dict[str, Path]:
    """Return the figures in a run's folder by split, in alphabetical order."""
    paths = sorted(folder.glob(f"{EVAL}*/{METRICS}"))
    return {path.parent.name.removeprefix(EVAL): path for path in paths}
