"""Whole extractions beside the loops that people write, a long video, and memory by media."""

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import PIL.Image
import torch

from ..extract.clips import decode_clip
from ..extract.encoders import load_encoder
from ..extract.encoders.base import EncoderOptions
from ..extract.media import FrameSampling
from ..extract.settings import ExtractSettings
from ..library.extraction import extract
from ..library.workspace import Workspace
from ..threads import usable_processors
from .bench import Line, Taken
from .machine import Machine

_PICTURES, _BATCH = 600, 32
_VIDEO_SECONDS, _FPS, _FRAMES = 300, 25, 8
_SMALL = Path(__file__).parents[1] / "demo" / "models" / "vit"
_PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 224, "width": 224},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
_OPEN_CLIP = {"image_size": 224, "layers": 6, "width": 192, "patch_size": 16, "head_width": 64}


def lines(machine: Machine) -> Iterator[Line]:
    """Yield whole extractions of pictures, a long video, and memory at ten times the media."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = _write_pictures(folder / "pictures", _PICTURES, 640, 480)
        vit, clip = _save_vit(folder / "vit"), _save_open_clip(folder / "clip")
        ours = _Ours(folder, machine)
        work = f"{_PICTURES} JPEG 640×480, ViT of 6 × 192 at 224"
        given: dict[str, Any] = {"amount": _PICTURES, "unit": "pictures", "once": True}
        by_processor = {
            "promptfuse": lambda: ours(table, vit),
            "transformers: processor and model in a loop": lambda: _loop(table, vit, machine),
        }
        _settle(by_processor)
        yield Line(f"{work} (transformers)", by_processor, **given)
        spec = f"open_clip:{clip}"
        by_loader = {
            "promptfuse": lambda: ours(table, spec),
            "open_clip with a DataLoader": lambda: _load(table, clip, machine),
        }
        _settle(by_loader)
        yield Line(f"{work} (open_clip)", by_loader, **given)
        bare = _bare(table, vit, machine)
        floor = {
            "promptfuse": lambda: _processor_seconds(lambda: ours(table, vit)),
            "libjpeg and the same encoder alone": lambda: _processor_seconds(bare),
        }
        yield Line("the first, in seconds of all processors together", floor, **given)
        video = _write_video(folder / "long.mp4")
        watch = {
            "promptfuse": lambda: _watch(video),
            "PyAV: every frame decoded": lambda: _decode_all(video),
        }
        yield Line(f"{_FRAMES} frames of {_VIDEO_SECONDS} s of 320×240 H.264", watch)
        for media in (_PICTURES, 10 * _PICTURES):
            small = _write_pictures(folder / f"small-{media}", media, 80, 60)
            run = {"promptfuse": lambda table=small: _apart(table, folder / "apart")}
            yield Line(f"the whole command, {media:,} JPEG 80×60, the demo's ViT", run, once=True)


def _settle(contenders: Mapping[str, Callable[[], object]]) -> None:
    """Do the work once, so that no contender pays for the imports of all."""
    for run in contenders.values():
        run()


class _Ours:
    """A whole extraction, each into a cache of its own."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self._folder, self._device, self._number = folder, machine.device.type, count()

    def __call__(self, table: Path, spec: str | Path) -> None:
        cache = self._folder / f"cache-{next(self._number)}"
        workspace = Workspace(dataset="pictures", data=str(table), cache=cache)
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars
            extract(workspace, ExtractSettings(encoder=str(spec), device=self._device))


def _loop(table: Path, vit: Path, machine: Machine) -> None:
    """Do what most people write: the library's processor and its model, a batch at a time."""
    from transformers import AutoImageProcessor, AutoModel

    processor: Any = AutoImageProcessor.from_pretrained(vit)
    model: Any = AutoModel.from_pretrained(vit).eval().to(machine.device)
    rows: list[np.ndarray] = []
    paths = sorted(table.parent.glob("*.jpg"))
    for start in range(0, len(paths), _BATCH):
        pictures = [PIL.Image.open(path).convert("RGB") for path in paths[start : start + _BATCH]]
        with torch.inference_mode():
            output = model(**processor(images=pictures, return_tensors="pt").to(machine.device))
        rows.append(output.pooler_output.half().cpu().numpy())
    np.save(table.parent / "loop.npy", np.concatenate(rows))


def _load(table: Path, clip: Path, machine: Machine) -> None:
    """Encode with open_clip what a DataLoader's workers decode and preprocess."""
    import open_clip
    from torch.utils.data import DataLoader

    model: Any
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{clip}")
    model = model.eval().to(machine.device)
    paths = sorted(table.parent.glob("*.jpg"))
    loader = DataLoader(_Decoded(paths, preprocess), _BATCH, num_workers=usable_processors())
    with torch.inference_mode():
        rows = [model.encode_image(b.to(machine.device)).half().cpu().numpy() for b in loader]
    np.save(table.parent / "load.npy", np.concatenate(rows))


class _Decoded(torch.utils.data.Dataset[torch.Tensor]):
    """Preprocessed pictures."""

    def __init__(self, paths: list[Path], preprocess: Any) -> None:
        self._paths, self._preprocess = paths, preprocess

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self._preprocess(PIL.Image.open(self._paths[index]))


def _bare(table: Path, vit: Path, machine: Machine) -> Callable[[], None]:
    """Return what decodes the files and runs the encoder on ready batches, and nothing else."""
    encoder = load_encoder("image", str(vit), options=EncoderOptions(device=machine.device.type))
    model: Any = encoder.load()
    paths = sorted(table.parent.glob("*.jpg"))
    batch = np.zeros((_BATCH, 3, 224, 224), np.float32)
    names = tuple(field.name for field in encoder.fields)
    workers = usable_processors()

    def run() -> None:
        with ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(1)) as pool:
            list(pool.map(lambda path: PIL.Image.open(path).load(), paths))
        with ThreadPoolExecutor(
            model.parallel, initializer=lambda: torch.set_num_threads(1)
        ) as pool:
            starts = range(0, len(paths), _BATCH)
            list(pool.map(lambda at: model.forward(batch[: len(paths) - at], names), starts))
        torch.set_num_threads(machine.threads)

    return run


def _processor_seconds(run: Callable[[], object]) -> Taken:
    began = process_time()
    run()
    return Taken(process_time() - began)


def _watch(video: Path) -> None:
    decode_clip(video, video=FrameSampling(count=_FRAMES), audio_rate_hz=None)


def _decode_all(video: Path) -> list[np.ndarray]:
    import av

    wanted = {int((at + 0.5) * _VIDEO_SECONDS * _FPS / _FRAMES) for at in range(_FRAMES)}
    with av.open(str(video)) as container:
        frames = enumerate(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for at, frame in frames if at in wanted]


_COMMAND = """
import resource, sys
from promptfuse.extract.settings import ExtractSettings
from promptfuse.library.extraction import extract
from promptfuse.library.workspace import Workspace
table, cache, encoder = sys.argv[1:]
workspace = Workspace(dataset="pictures", data=table, cache=cache)
extract(workspace, ExtractSettings(encoder=encoder, device="cpu"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def _apart(table: Path, cache: Path) -> Taken:
    """Extract in a process of its own, which says how much memory it held at most."""
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory(dir=cache.parent) as fresh:
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND, str(table), fresh, str(_SMALL)],
            env={**os.environ, "TQDM_DISABLE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    return Taken(seconds, int(done.stdout.split()[-1]))


def _write_pictures(folder: Path, number: int, width: int, height: int) -> Path:
    """Return a table of photograph-like JPEGs: broad shapes of colour, and grain."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    grain = rng.normal(0, 12, (height, width, 1))
    rows: list[str] = []
    for at in range(number):
        shapes = PIL.Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(shapes.resize((width, height), PIL.Image.Resampling.BICUBIC))
        pixels = np.clip(smooth + np.roll(grain, at, axis=1), 0, 255).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{at:05}.jpg", quality=90)
        row = {"id": str(at), "text": "what is it", "answer": "it", "image": f"{at:05}.jpg"}
        rows.append(json.dumps(row))
    table = folder / "pictures.jsonl"
    table.write_text("\n".join(rows))
    return table


def _write_video(path: Path) -> Path:
    """Return a video whose ground moves, with a cut now and then; x264's own choice of frames."""
    import av

    rng = np.random.default_rng(0)
    ground = rng.integers(0, 256, (55, 60, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=_FPS)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.options = {"preset": "veryfast"}
        for at in range(_VIDEO_SECONDS * _FPS):
            top, left = 2 * at % 600, 3 * at % 600
            picture = ground[top : top + 240, left : left + 320] ^ np.uint8(255 * (at // 397 % 2))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _save_vit(folder: Path) -> Path:
    """Return the folder of a small ViT, 6 layers of 192, with random weights."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=192, intermediate_size=768, num_hidden_layers=6, num_attention_heads=3
    )
    ViTModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(_PROCESSOR))
    return folder


def _save_open_clip(folder: Path) -> Path:
    """Return a folder of the same shape in open_clip's form."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir()
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 192, "vision_cfg": _OPEN_CLIP, "text_cfg": text}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder
