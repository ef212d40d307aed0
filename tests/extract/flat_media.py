"""Media whose features are known, extracted as the tests of the pipeline do."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from promptfuse.cache.checked import MEMO_NAME
from promptfuse.cache.keys import file_sha256
from promptfuse.cache.store import FeatureSet
from promptfuse.extract.datasets.ingest import MediumRef
from promptfuse.extract.encoding import EncodingSummary
from promptfuse.extract.pipeline import extract_features

from .media_files import grey_frames, tone, write_clip
from .plain_encoders import PlainEncoder

CLIP: frozenset[str] = frozenset({"video", "audio"})


def ref_of(path: Path, *modalities: str) -> MediumRef:
    return MediumRef(file_sha256(path), path, frozenset(modalities or ("image",)))


def flat_images(folder: Path, count: int) -> list[MediumRef]:
    """Returns images; image i is flat of value i."""
    refs = []
    for value in range(count):
        path = folder / f"{value}.png"
        Pillow.fromarray(np.full((4, 5, 3), value, np.uint8)).save(path)
        refs.append(ref_of(path))
    return refs


def extract(
    media: Sequence[MediumRef], cache: Path, *encoders: PlainEncoder, **options
) -> dict[str, EncodingSummary]:
    chosen = {encoder.modality: encoder for encoder in encoders}
    return extract_features(media, chosen, cache, progress=False, workers=2, **options)


def rows_of(
    summary: dict[str, EncodingSummary], modality: str = "image"
) -> dict[bytes, np.ndarray]:
    found = FeatureSet.open(summary[modality].path)
    packed = found.read(found.keys, found.manifest.fields[0].name)
    return {key: packed[i] for i, key in enumerate(found.keys)}


def commits_of(summary: dict[str, EncodingSummary]) -> dict[tuple[bytes, ...], int]:
    """Returns the number of failures of each commit, by the keys that were attempted together."""
    commits = FeatureSet.open(summary["image"].path).commits
    return {tuple(sorted(commit.all_keys)): len(commit.failures) for commit in commits}


def keys_of(media: Sequence[MediumRef]) -> tuple[bytes, ...]:
    return tuple(sorted(ref.key for ref in media))


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MEMO_NAME
    }


def clips(folder: Path, count: int) -> list[MediumRef]:
    """Returns clips of different lengths with sound."""
    refs = []
    for i in range(count):
        frames = grey_frames(6 + i)
        sound = tone(0.6 + 0.1 * i, 48_000)
        path = write_clip(folder / f"{i}.mp4", videos=[frames], sounds=[sound])
        refs.append(ref_of(path, "video", "audio"))
    return refs
