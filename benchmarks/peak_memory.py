"""How much memory an extraction takes at most, on media at the edge of what the limits allow.

    python -m promptfuse.benchmarks.peak_memory [CASE …] [--folder DIR]

Each case makes its media in a temporary folder and runs in a process of its own, whose peak of
resident memory is printed; about 0.8 GB of it are torch and transformers themselves. The case
`wav2vec2-base` builds that encoder with random weights: its own activations on one long clip, made
in its first convolutions, are what bounds it, and no batch or shard changes them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import wave
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..cache.keys import KEY_BYTES
from ..cache.manifest import FieldSpec
from ..extract.datasets import read_raw
from ..extract.datasets.ingest import ingest
from ..extract.datasets.media_files import MediumRef
from ..extract.encoders import load_encoder
from ..extract.encoders.base import Decoding, Encoder, EncoderOptions, Row
from ..extract.media import Waveform
from ..extract.pipeline import extract_features
from ..tables import Table

_OWN = "promptfuse.benchmarks.peak_memory"
_MODELS = Path(__file__).parents[1] / "demo" / "models"
_RATE_HZ, _CLIP_SECONDS = 16_000, 599
_OPTIONS = EncoderOptions(device="cpu")


class Shape:
    """An encoder without a model whose rows are as large as wav2vec2-base's: 50 a second."""

    modality, parallel, blank_steps = "audio", 2, 249
    identity: Mapping[str, Any] = {"family": "shape", "id": "wav2vec2-base"}
    provenance: Mapping[str, Any] = {}
    fields = (FieldSpec("last_hidden_state", "float16", (768,), ragged=True),)
    decoding = Decoding(audio_rate_hz=_RATE_HZ)

    def load(self) -> None:
        """Do nothing."""

    def prepare(self, medium: Waveform) -> np.ndarray:
        """Return the samples, normalised."""
        return (medium.samples - medium.samples.mean()) / (medium.samples.std() + 1e-7)

    def blank(self) -> np.ndarray:
        """Return five seconds of silence."""
        return np.zeros(5 * _RATE_HZ, np.float32)

    def units(self, prepared: np.ndarray) -> int:
        """Return a place for each ten seconds."""
        return 1 + len(prepared) // (10 * _RATE_HZ)

    def encode(self, items: Sequence[np.ndarray], *, batch_size: int) -> list[Row]:  # noqa: ARG002
        """Return rows of noise."""
        rng = np.random.default_rng(0)
        shapes = [(len(item) // 320, 768) for item in items]
        return [
            {"last_hidden_state": rng.random(shape, np.float32).astype(np.float16)}
            for shape in shapes
        ]


def png(path: Path, width: int, height: int, channels: int = 1) -> Path:
    """Write a black picture of that size without holding it."""
    packer, row = zlib.compressobj(6), bytes(1 + width * channels)
    rows = max(1, 2**20 // len(row))
    packed = [packer.compress(row * min(rows, height - top)) for top in range(0, height, rows)]
    size = np.array([width, height], ">u4").tobytes()
    chunks = {
        b"IHDR": size + bytes([8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0]),
        b"IDAT": b"".join([*packed, packer.flush()]),
        b"IEND": b"",
    }
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks.items():
            file.write(np.array(len(data), ">u4").tobytes() + name + data)
            file.write(np.array(zlib.crc32(name + data), ">u4").tobytes())
    return path


def clip(path: Path, seconds: float = _CLIP_SECONDS) -> Path:
    """Write a tone."""
    beats = np.arange(int(seconds * _RATE_HZ), dtype=np.float32)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE_HZ)
        file.writeframes((np.sin(beats / 40) * 9_000).astype("<i2").tobytes())
    return path


def extract(paths: Sequence[Path], encoder: Encoder, cache: Path) -> str:
    """Return what came of an extraction, in words; a path that comes again is another medium."""
    media = [
        MediumRef(number.to_bytes(KEY_BYTES, "big"), path, frozenset({encoder.modality}))
        for number, path in enumerate(paths, start=1)
    ]
    done = extract_features(media, {encoder.modality: encoder}, cache)[encoder.modality]
    failed = ", ".join(f"{count} {reason}" for reason, count in done.failed.items())
    return f"{done.encoded} encoded" + (f", {failed}" if failed else "")


def clips_as_samples(folder: Path) -> str:
    """60 clips of 599 s, kept as samples."""
    encoder = load_encoder("audio", f"samples:{_MODELS / 'wav2vec2'}", options=_OPTIONS)
    return extract([clip(folder / "clip.wav")] * 60, encoder, folder / "cache")


def clips_as_rows(folder: Path) -> str:
    """60 clips of 599 s, in rows of wav2vec2-base's size."""
    return extract([clip(folder / "clip.wav")] * 60, Shape(), folder / "cache")


def clips_encoded(folder: Path) -> str:
    """Four clips of 599 s, by the demo's own encoder."""
    encoder = load_encoder("audio", str(_MODELS / "wav2vec2"), options=_OPTIONS)
    return extract([clip(folder / "clip.wav")] * 4, encoder, folder / "cache")


def thin(folder: Path) -> str:
    """Pictures of 1 x 80,000,000 and 80,000,000 x 1."""
    encoder = load_encoder("image", str(_MODELS / "vit"), options=_OPTIONS)
    paths = [png(folder / "high.png", 1, 80_000_000), png(folder / "wide.png", 80_000_000, 1)]
    return extract(paths, encoder, folder / "cache")


def large(folder: Path) -> str:
    """Pictures of 63 million pixels, in colour and with transparency."""
    encoder = load_encoder("image", str(_MODELS / "vit"), options=_OPTIONS)
    paths = [png(folder / f"{channels}.png", 7_990, 7_990, channels) for channels in (3, 4)]
    paths += [png(folder / "long.png", 256, 249_000, 3)]
    return extract(paths * 3, encoder, folder / "cache")


def wav2vec2_base(folder: Path) -> str:
    """A clip of 60 s, by wav2vec2-base with random weights."""
    import shutil

    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config()).save_pretrained(folder / "base")
    shutil.copy(_MODELS / "wav2vec2" / "preprocessor_config.json", folder / "base")
    encoder = load_encoder("audio", str(folder / "base"), options=_OPTIONS)
    return extract([clip(folder / "clip.wav", 60)], encoder, folder / "cache")


def table(folder: Path) -> str:
    """A table of 1,000,000 rows about one picture."""
    png(folder / "0.png", 40, 30)
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(1_000_000):
            row = {"id": str(number), "text": f"what is {number}?", "image": "0.png"}
            file.write(json.dumps({**row, "answer": "yes"}) + "\n")
    raw = read_raw("table", folder / "rows.jsonl", name="rows", options={})
    return f"{sum(ingest(raw, folder / 'cache').info.splits.values()):,} examples"


CASES: Mapping[str, Callable[[Path], str]] = {
    "samples": clips_as_samples,
    "rows": clips_as_rows,
    "demo-wav2vec2": clips_encoded,
    "thin": thin,
    "large": large,
    "table": table,
    "wav2vec2-base": wav2vec2_base,
}


def measured(case: str, folder: Path) -> tuple[str, float, float]:
    """Return what a case in a process of its own says, its peak memory in GB, and its seconds."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        command = [sys.executable, "-m", _OWN, case, "--here", place]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        said = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
    told = said.strip().rpartition("\n")[2] if status == 0 else f"failed with status {status}"
    return told, usage.ru_maxrss * 1024 / 1e9, time.perf_counter() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help=f"of {', '.join(CASES)}")
    parser.add_argument("--folder", type=Path, help="where media and caches are made for a while")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here is not None:
        print(CASES[arguments.cases[0]](arguments.here))
        return
    rows = []
    for case in arguments.cases or CASES:
        told, peak, seconds = measured(case, arguments.folder)
        rows.append([CASES[case].__doc__ or case, told, peak, seconds])
        print(f"{case}: {told}, {peak:.2f} GB", file=sys.stderr)
    print(Table("", ["case", "outcome", "peak GB", "seconds"], rows).text())


if __name__ == "__main__":
    main()
