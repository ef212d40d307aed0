import pytest
import torch

from promptfuse.errors import PlmError, PretrainedError, UnknownName, UnsafeWeights
from promptfuse.train.plm import load_plm

from ..small_bart import save_small_bart, small_bart


@pytest.fixture(scope="module")
def plm():
    return small_bart()


def test_a_segment_longer_than_the_positions_is_refused(plm):
    with pytest.raises(PlmError, match="49 vectors is longer than the model's 48"):
        plm.place(torch.zeros(1, 49, 16))


def test_long_texts_are_cut_to_the_positions(plm):
    (ids,) = plm.tokenise(["yes " * 100])
    assert len(ids) == 48
    assert ids[-1] == 2


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(PretrainedError, match="'/nowhere/bart': no such folder"):
        load_plm("/nowhere/bart")
    folder = save_small_bart(tmp_path / "bart")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnsafeWeights, match=r"only as pickle \(pytorch_model\.bin\)"):
        load_plm(str(folder))
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(UnknownName, match="'gpt2'; choose one of: bart, bert, t5"):
        load_plm(str(folder))
