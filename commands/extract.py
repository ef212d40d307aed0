"""`pfcli extract`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..cache.commits import Failure
from ..cache.store import FeatureSet, feature_sets
from ..errors import ConfigError
from ..extract.settings import ExtractSettings
from ..library.extraction import Extraction, extract
from ..library.to_type import command
from ..library.workspace import ConfigFile, Workspace, shipped
from ..stopping import stopping
from ..tables import Cell, Table

_FAILURES_SHOWN = 10


def run_extraction(config: ConfigFile, workspace: Workspace, settings: ExtractSettings) -> bool:
    """Extract a dataset's features and print what was done; return whether few enough failed."""
    dataset = dataset_to_extract(config, workspace)
    if workspace.dataset is None:
        print(f"no dataset named: using the embedded three-modality demo, {dataset}")
    with stopping(settings.time_limit) as stop:
        extraction = extract(replace(workspace, dataset=dataset), settings, stop=stop)
    print_extraction(extraction)
    if extraction.failed > settings.max_failures:
        print(
            f"{extraction.failed} media failed; to accept that: --max-failures {extraction.failed}"
        )
        return False
    live = all(FeatureSet.open(lane.path).manifest.decoded for lane in extraction.lanes)
    method = "finetune" if live else "promptfuse"
    print(f"next: {command(workspace, 'train', '--method', method, '--dataset', dataset)}")
    missing = (
        []
        if live
        else [
            name
            for name in extraction.ingested.info.modalities
            if all(features.manifest.decoded for features in feature_sets(workspace.cache, name))
        ]
    )
    if missing:
        first = ("--dataset", dataset, "--modality", ",".join(missing))
        print(f"or first: {command(workspace, 'extract', *first)}")
    return True


def dataset_to_extract(config: ConfigFile, workspace: Workspace) -> str:
    """Return the dataset's name: the one named, or the shipped one where there is no file."""
    if workspace.dataset is not None:
        return workspace.dataset
    if workspace.data is not None:
        is_there = Path(workspace.data).expanduser().exists()
        raise ConfigError(
            f"data is {workspace.data}, {'' if is_there else 'no such file or folder, '}of which "
            "dataset? name it: --dataset vqav2, mustard, or any name for a table"
        )
    if config.values:
        raise ConfigError(f"{config.path} names no dataset; add dataset = … or give --dataset")
    return str(shipped().dataset)


def print_extraction(extraction: Extraction) -> None:
    """Print what was encoded, what failed, and where it lies."""
    info = extraction.ingested.info
    examples = ", ".join(f"{count} {name}" for name, count in info.splits.items())
    print(f"{info.name}: {examples} examples")
    for lane in extraction.lanes:
        if lane.differs_from is not None:
            other, differences = lane.differs_from
            print(f"new {lane.modality} feature set {lane.fingerprint}; unlike {other} in:")
            print("\n".join(f"  {line}" for line in differences))
        if lane.other_versions:
            print(f"{lane.modality} feature set {lane.fingerprint} goes on under other versions:")
            print("\n".join(f"  {line}" for line in lane.other_versions))
    columns = ["modality", "media", "done before", "encoded", "failed", "seconds", "media/s"]
    rows: list[list[Cell]] = []
    for lane in extraction.lanes:
        counts = [lane.planned, lane.done_before, lane.encoded, lane.failures]
        speed = lane.encoded / lane.seconds if lane.encoded else None
        rows.append([lane.modality, *counts, lane.seconds, speed])
    print(Table("", columns, rows, decimals=1).text())
    if line := extraction.stages.line():
        print(line)
    if failures := extraction.failures():
        print(_failures_table(failures).text())
    for lane in extraction.lanes:
        print(f"wrote {lane.path}")


def _failures_table(failures: Sequence[Failure]) -> Table:
    counts = Counter(failure.reason for failure in failures)
    title = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    shown = failures[:_FAILURES_SHOWN]
    rows = [[failure.reason, failure.path, failure.message] for failure in shown]
    if len(failures) > _FAILURES_SHOWN:
        rows.append(["…", "", f"and {len(failures) - _FAILURES_SHOWN} more"])
    return Table(f"media that were refused: {title}", ["reason", "medium", "what is wrong"], rows)
