import subprocess
import sys
from pathlib import Path

from promptfuse.cache.commits import Failure
from promptfuse.cache.examples import DatasetInfo, Example, write_examples
from promptfuse.cache.store import FeatureSet, FeatureWriter
from promptfuse.cache.summary import Coverage, count_reasons, coverage, summarise


def test_an_empty_cache(tmp_path: Path):
    summary = summarise(tmp_path / "nowhere")
    assert (summary.feature_sets, summary.datasets) == ((), ())


def test_sizes_are_rows_times_bytes(tmp_path: Path, manifest, make_rows, file_format):
    rows = make_rows(10)
    with FeatureWriter(tmp_path, manifest, format=file_format) as writer:
        for number, (key, row) in enumerate(rows.items()):
            writer.append(key, row)
            if number == 5:
                writer.commit()
        writer.fail(Failure(b"f" * 32, "a", "damaged", "b"))
        writer.fail(Failure(b"g" * 32, "a", "damaged", "b"))
        writer.fail(Failure(b"h" * 32, "a", "missing", "b"))
    (features,) = summarise(tmp_path).feature_sets
    assert (features.modality, features.encoder, len(features)) == ("video", "tiny/encoder", 10)
    assert (features.fingerprint, features.path) == (manifest.fingerprint, writer.path)
    assert (features.formats, len(features.shard_commits)) == ((file_format,), 2)
    assert count_reasons(features.failures) == {"damaged": 2, "missing": 1}
    frames = sum(len(row["frames"]) for row in rows.values())
    samples = sum(len(row["samples"]) for row in rows.values())
    sizes = {
        spec.name: (features.count_steps(spec.name), spec.step_bytes) for spec in manifest.fields
    }
    assert sizes == {
        "pooler": (10, 4 * 2),
        "frames": (frames, 2 * 3 * 4),
        "pixels": (10, 12),
        "samples": (samples, 2),
        "count": (10, 8),
    }
    offsets_bytes = 2 * (7 + 5) * 8  # two ragged fields; shards of 6 and 4 rows
    values_bytes = sum(steps * each for steps, each in sizes.values())
    assert features.size_bytes == sum(file.stat().st_size for file in writer.path.glob("shard-*"))
    assert features.size_bytes > values_bytes + offsets_bytes + 10 * 32


def test_coverage_counts_media_and_examples(tmp_path: Path, manifest, make_rows):
    rows = make_rows(3)
    one, two, _ = rows
    with FeatureWriter(tmp_path, manifest) as writer:
        for key, row in rows.items():
            writer.append(key, row)
        writer.fail(Failure(b"f" * 32, "a", "damaged", "b"))
    keys = [one, one, two, b"f" * 32, None, b"\xcc" * 32]
    examples = [
        Example(str(n), "t", media={} if key is None else {"video": key})
        for n, key in enumerate(keys)
    ]
    info = DatasetInfo("d", "table", "text", modalities=("video", "audio"), splits={"train": 6})
    write_examples(tmp_path, info, {"train": examples}, [Failure(None, "b", "missing", "c")])
    (dataset,) = summarise(tmp_path).datasets
    assert dataset.info == info
    assert dataset.failures == {"missing": 1}
    assert list(dataset.splits) == ["train"]
    assert dataset.splits["train"] == (
        Coverage("video", manifest.fingerprint, media=4, covered=2, failed=1, examples_covered=3),
        Coverage("audio", None, media=0, covered=0, failed=0, examples_covered=0),
    )


def test_coverage_of_nothing(write_set, make_rows):
    features = FeatureSet.open(write_set(make_rows(2)))
    assert coverage(features, "video", [None, None]).media == 0
    assert coverage(None, "video", [b"a" * 32]) == Coverage("video", None, 1, 0, 0, 0)


def test_reasons_are_counted_in_order():
    failures = [Failure(None, "a", reason, "") for reason in ("missing", "empty", "missing")]
    assert list(count_reasons(failures).items()) == [("empty", 1), ("missing", 2)]


def test_the_cache_needs_no_torch():
    script = (
        "import sys\n"
        "import promptfuse.cache\n"
        "assert not {'numpy', 'h5py', 'pyarrow'} & set(sys.modules)\n"
        "import promptfuse.cache.summary, promptfuse.cache.convert, promptfuse.cache.verify\n"
        "assert not {'torch', 'transformers', 'av', 'open_clip'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
