import ast
from pathlib import Path

import numpy as np
import pytest

from promptfuse.cache.modalities import MODALITIES, Modality, find_modality, in_order
from promptfuse.errors import UnknownName

ROOT = Path(__file__).parents[2]

MAY_NAME_THEM = {
    "cache/modalities.py",
    "extract/prepare.py",  # what decodes each
    "extract/clips.py",  # FFmpeg's names of streams
    "extract/images.py",
    "extract/encoders/__init__.py",  # what each family encodes
    "train/report/paper.py",  # the paper's tables
    "train/report/pictures.py",
    "train/sweep/presets.py",
}
"""No other module of the package names a modality; the demo's own data may."""


def test_no_other_file_names_a_modality():
    named = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value!r}"
        for folder in ("cache", "commands", "extract", "train", ".")
        for path in (ROOT / folder).glob("*.py" if folder == "." else "**/*.py")
        if str(path.relative_to(ROOT)) not in MAY_NAME_THEM
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in MODALITIES
    ]
    assert not named, "\n".join(named)


def test_the_table_is_in_the_papers_order_and_by_name():
    assert list(MODALITIES) == ["image", "video", "audio"]
    assert all(name == modality.name for name, modality in MODALITIES.items())
    assert in_order(["audio", "image", "audio"]) == ("image", "audio")


@pytest.mark.parametrize("modality", MODALITIES.values(), ids=list(MODALITIES))
def test_a_row_says_how_a_decoded_medium_looks(modality: Modality):
    assert modality.pictures == (modality.decoded_field == "pixels")
    assert modality.framed == (modality.pictures and modality.temporal)
    assert np.dtype(modality.decoded_dtype).kind in "ui"


def test_an_unknown_modality_lists_those_there_are():
    with pytest.raises(UnknownName, match="unknown modality 'touch'; choose one of: audio, image"):
        find_modality("touch")
