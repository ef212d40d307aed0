"""`pfcli extract`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..cache.commits import Failure
from ..cache.decoded import is_decoded
from ..cache.store import feature_sets
from ..config import ConfigFile, Workspace
from ..defaults import DECODED, dataset_to_extract
from ..extract.encoding import EncodingSummary
from ..extract.settings import ExtractSettings
from ..extraction import Extraction, extract_dataset
from ..tables import Table

_FAILURES_SHOWN = 10


def run_extraction(
    config: ConfigFile, workspace: Workspace, settings: ExtractSettings, *, hint: bool = True
) -> bool:
    """Extract a dataset's features and print what was done; return whether few enough failed.

    Args:
        config: The configuration file; it tells that a dataset was to be named.
        workspace: Where things lie.
        settings: What to extract.
        hint: Print what to run next.
    """
    dataset, by_default = dataset_to_extract(config, workspace)
    if by_default:
        print(f"no dataset named: using the embedded three-modality demo, {dataset}")
    extraction = extract_dataset(dataset, workspace, settings)
    _report(extraction)
    if extraction.failed > settings.max_failures:
        print(
            f"{extraction.failed} media failed; to accept that: --max-failures {extraction.failed}"
        )
        return False
    if hint:
        live = DECODED.issuperset(extraction.encoders)
        named = "" if by_default else f" --dataset {dataset}"
        also = "" if live else _also(extraction.raw.info.modalities, Path(workspace.cache))
        print(f"next: pfcli train --method {'finetune' if live else 'promptfuse'}{named}{also}")
    return True


def _also(modalities: Sequence[str], cache_root: Path) -> str:
    """Return a hint at the modalities of which the cache has no encoder's output."""
    missing = [
        name
        for name in modalities
        if all(is_decoded(features.manifest) for features in feature_sets(cache_root, name))
    ]
    return f" (or first: pfcli extract --modality {','.join(missing)})" if missing else ""


def _report(extraction: Extraction) -> None:
    info = extraction.ingested.info
    examples = ", ".join(f"{count} {name}" for name, count in info.splits.items())
    print(f"{info.name}: {examples} examples")
    for lane in extraction.lanes:
        if lane.differs_from is not None:
            other, differences = lane.differs_from
            print(f"new {lane.modality} feature set {lane.fingerprint}; unlike {other} in:")
            print("\n".join(f"  {line}" for line in differences))
    print(_lanes_table(extraction.lanes).text())
    if failures := extraction.failures():
        print(_failures_table(failures).text())
    for lane in extraction.lanes:
        print(f"wrote {lane.path}")


def _lanes_table(lanes: Sequence[EncodingSummary]) -> Table:
    columns = ["modality", "media", "done before", "encoded", "failed", "seconds", "media/s"]
    return Table(
        "",
        columns,
        [
            [
                lane.modality,
                lane.planned,
                lane.done_before,
                lane.encoded,
                lane.failures,
                round(lane.seconds, 1),
                round(lane.rows_per_second, 1) if lane.encoded else None,
            ]
            for lane in lanes
        ],
        decimals=1,
    )


def _failures_table(failures: Sequence[Failure]) -> Table:
    counts = Counter(failure.reason for failure in failures)
    title = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    rows = [
        [failure.reason, failure.path, failure.message] for failure in failures[:_FAILURES_SHOWN]
    ]
    if len(failures) > _FAILURES_SHOWN:
        rows.append(["…", "", f"and {len(failures) - _FAILURES_SHOWN} more in failures.jsonl"])
    return Table(f"media that were refused: {title}", ["reason", "medium", "what is wrong"], rows)
