"""How long `pfcli train` takes from the command to the end of its first step, and its memory."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..cache.examples import read_examples
from ..cache.keys import BLANK_KEY, unpack_keys
from ..cache.manifest import FieldSpec, Manifest
from ..cache.modalities import MODALITIES
from ..cache.rows import distinct_keys
from ..cache.writer import FeatureWriter
from ..extract.settings import ExtractSettings
from ..library.extraction import extract
from ..library.workspace import SHIPPED, Workspace
from .bench import Line, run_apart
from .ingest import SPLITS, ingest_apart, write_vqav2
from .machine import Machine
from .shapes import bart_base

_IMPORTS = "import torch; from transformers import AutoTokenizer, BartForConditionalGeneration"
_MODEL = SHIPPED.parent / "models/bart"
_WIDTH, _SHARD_ROWS = 128, 8192  # the demo model's


def lines(machine: Machine) -> Iterator[Line]:
    """Yield a line a language model, then some of VQAv2's size; the libraries' imports beside.

    Nothing can do without those. Weights and a large split's texts were seen once before.
    """
    with TemporaryDirectory() as made:
        root = Path(made)
        where = Workspace("demo-mustard", cache=root / "pf/cache", demo_data=root / "pf/data")
        extract(where, ExtractSettings(limit=64))
        bart_base().model.save_pretrained(root / "bart-base")
        for part in _MODEL.glob("tokenizer*"):
            shutil.copy(part, root / "bart-base")
        large = ("--cache", str(_vqav2_cache(root)), "--plm", str(_MODEL), "--batch-size", "32")
        imports = partial(run_apart, "-c", _IMPORTS)
        step = ("-m", "promptfuse", "train", "--max-steps", "1", "--device", machine.device.type)
        examples = f"{SPLITS['train2014'][0]:,} examples"
        for name, options in {
            "demo model": (),
            "BART-base shape from a folder": ("--plm", "bart-base", "--width-fix", "pad"),
            f"demo model, 128 shots of {examples}": (*large, "--shots", "128"),
            f"demo model, {examples}": large,
        }.items():
            first = partial(run_apart, *step, *options, folder=root)
            first()
            work = f"first step of 32, {name}"
            contenders = {"pfcli train": first, "the imports alone": imports}
            yield Line(work, contenders, once=True)


def _vqav2_cache(root: Path) -> Path:
    """Return a cache of as many questions and images as VQAv2 has, with noise for features."""
    cache, (modality, *_) = root / "large", MODALITIES
    ingest_apart("vqav2", write_vqav2(root / "vqav2"), cache)
    field = FieldSpec(MODALITIES[modality].default_field, "float16", (_WIDTH,))
    tables = [read_examples(cache, "d", split) for split in ("train", "val")]
    keys = distinct_keys(np.concatenate([table.packed_keys(modality) for table in tables]))
    noise = np.random.default_rng(0)
    manifest = Manifest(modality, {"family": "noise", "id": "noise"}, (field,))
    with FeatureWriter(cache, manifest) as writer:
        for number, key in enumerate([BLANK_KEY, *unpack_keys(keys)], start=1):
            writer.append(key, {field.name: noise.standard_normal(_WIDTH).astype(np.float16)})
            if number % _SHARD_ROWS == 0:
                writer.commit()
    return cache
