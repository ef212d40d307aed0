import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

from promptfuse.errors import CheckpointError, PlmError, UnknownName, UnsafeWeights
from promptfuse.train.fusion.sequence import Segment
from promptfuse.train.fusion.visibility import additive
from promptfuse.train.plm import load_plm

from ..small_bart import save_small_bart, small_bart

TEXTS = ["what colour is the square", "how many", "yes"]


@pytest.fixture(scope="module")
def plm():
    return small_bart()


def test_a_lone_text_segment_is_the_librarys_own_encoder(plm):
    batch = plm.pad(plm.tokenise(TEXTS))
    ours = plm.encode(
        plm.embed_text(batch.ids), additive(batch.present[:, None, None], dtype=torch.float32)
    )
    encoder = plm.model.get_encoder()
    theirs = encoder(input_ids=batch.ids, attention_mask=batch.present.long()).last_hidden_state
    present = batch.present
    torch.testing.assert_close(ours[present], theirs[present], atol=1e-5, rtol=1e-5)


def test_the_model_is_frozen_and_without_dropout(plm):
    assert not plm.model.training
    assert not any(weight.requires_grad for weight in plm.model.parameters())


def test_answers_are_greedy_whatever_the_checkpoint_prefers(plm):
    hidden = torch.randn(3, 6, 16, generator=torch.Generator().manual_seed(4))
    present = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] * 6]).bool()
    answers = plm.generate(Segment(hidden, present), max_new_tokens=5)
    for row, answer in enumerate(answers):
        ids = [2, 0]
        for _ in range(5):
            logits = plm.model(
                encoder_outputs=BaseModelOutput(hidden[row : row + 1]),
                attention_mask=present[row : row + 1].long(),
                decoder_input_ids=torch.tensor([ids]),
            ).logits[0, -1]
            ids.append(int(logits.argmax()))
            if ids[-1] == 2:
                break
        assert answer == plm.tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_label_ids(plm):
    assert plm.label_ids(["True", "False"]).tolist() == [5, 6]
    with pytest.raises(PlmError, match="do not differ in their first token"):
        plm.label_ids(["red", "red blue"])


def test_a_segment_longer_than_the_positions_is_refused(plm):
    with pytest.raises(PlmError, match="49 vectors is longer than the model's 48"):
        plm.embed_segment(torch.zeros(1, 49, 16))


def test_long_texts_are_cut_to_the_positions(plm):
    (ids,) = plm.tokenise(["yes " * 100])
    assert len(ids) == 48
    assert ids[-1] == 2


def test_load_from_a_folder(tmp_path):
    folder = save_small_bart(tmp_path / "bart", seed=3)
    plm = load_plm(str(folder))
    same = small_bart(seed=3)
    assert plm.identity["parameters"] == sum(one.numel() for one in same.model.parameters())
    assert len(plm.identity["weights_sha256"]) == 64
    torch.testing.assert_close(plm.token_vectors(), same.token_vectors())


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="'/nowhere/bart': no such folder"):
        load_plm("/nowhere/bart")
    folder = save_small_bart(tmp_path / "bart")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnsafeWeights, match=r"only as pickle \(pytorch_model\.bin\)"):
        load_plm(str(folder))
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(UnknownName, match="'gpt2'; choose one of: bart"):
        load_plm(str(folder))
