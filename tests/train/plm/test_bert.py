import pytest
import torch
from transformers import BertForPreTraining, BertModel

from promptfuse.errors import PlmError
from promptfuse.train.fusion.sequence import encode_fused
from promptfuse.train.fusion.visibility import BLIND, FULL
from promptfuse.train.plm import load_plm
from promptfuse.train.plm.frozen import EncoderStates, Segment

from ..small_bert import small_bert
from ..small_plms import text_of, whole


@pytest.fixture(scope="module")
def plm():
    return small_bert()


def test_a_question_is_set_into_the_template(plm):
    (ids,) = plm.tokenise(["how many"])
    words = "[CLS] Question : how many Answer : [MASK] [SEP]".split()
    assert plm.tokenizer.convert_ids_to_tokens(ids) == words


def test_a_long_question_is_cut_and_the_mask_stays(plm):
    (ids,) = plm.tokenise(["yes " * 100])
    words = plm.tokenizer.convert_ids_to_tokens(ids)
    assert len(words) == 48
    assert words[:4] == ["[CLS]", "Question", ":", "yes"]
    assert words[-5:] == ["yes", "Answer", ":", "[MASK]", "[SEP]"]


def test_a_segment_longer_than_the_positions_is_refused(plm):
    with pytest.raises(PlmError, match="49 vectors is longer than the model's 48"):
        plm.place(torch.zeros(1, 49, 16))


@pytest.mark.parametrize("visibility", [FULL, BLIND], ids=["full", "blind"])
def test_the_answer_is_read_at_the_mask(plm, visibility):
    text = text_of(plm, ["what colour is the [MASK]", "how many"])
    assert text.answer_at.tolist() == [10, 7]
    media = Segment.whole(torch.randn(2, 3, 16))
    prompts = torch.randn(1, 4, 16)
    assert encode_fused(plm, None, [media, text], visibility).answer_at.tolist() == [13, 10]
    fused = encode_fused(plm, prompts, [media, text], visibility)
    assert whole(fused).answer_at.tolist() == [17, 14]
    at_mask = whole(fused).vectors[[0, 1], [17, 14]]
    labels = plm.label_ids(["yes", "no"])
    expected = plm.model.cls(at_mask)[:, labels]
    torch.testing.assert_close(plm.label_logits(fused, labels), expected)


def test_only_the_masks_output_reaches_the_loss(plm):
    vectors = torch.randn(2, 6, 16).requires_grad_()
    present = torch.ones(2, 6, dtype=torch.bool)
    fused = EncoderStates(vectors, present, torch.tensor([4, 2]))
    sums, counts = plm.answer_loss(fused, plm.tokenise_answers(["yes", "two"]))
    sums.sum().backward()
    reached = vectors.grad.abs().sum(dim=2) > 0
    assert reached.nonzero().tolist() == [[0, 4], [1, 2]]
    assert counts.tolist() == [1, 1]


def test_answers_are_one_known_token_of_the_types_that_the_paper_trains(plm):
    answers = ["yes", "two", "red", "two blue", "purple", "yes", ""]
    types = ["yes/no", "number", "other", "number", "number", None, "number"]
    expected = [True, True, False, False, False, True, False]
    assert plm.answerable(answers, types) == expected


def test_an_answer_of_several_tokens_is_refused(plm):
    fused = EncoderStates(torch.randn(2, 6, 16), torch.ones(2, 6).bool(), torch.tensor([4, 2]))
    with pytest.raises(PlmError, match="'two blue' has 2"):
        plm.answer_loss(fused, plm.tokenise_answers(["yes", "two blue"]))


def test_a_sequence_without_a_mask_is_refused(plm):
    media = EncoderStates(torch.randn(2, 3, 16), torch.ones(2, 3).bool())
    with pytest.raises(PlmError, match="answers at a mask, and this sequence has none"):
        plm.generate(media, max_new_tokens=1)


def test_the_published_form_with_a_second_head_is_read(plm, tmp_path, capfd):
    """BERT is distributed as trained: with the next-sentence head and a pooler beside ours."""
    published = BertForPreTraining(plm.model.config).eval()
    published.save_pretrained(tmp_path / "bert")
    plm.tokenizer.save_pretrained(tmp_path / "bert")
    ids = torch.tensor(plm.tokenise(["how many"]))
    loaded = load_plm(str(tmp_path / "bert"))
    expected = published(input_ids=ids).prediction_logits
    torch.testing.assert_close(loaded.model(input_ids=ids).logits, expected)
    assert "LOAD REPORT" not in "".join(capfd.readouterr())


def test_a_checkpoint_without_its_head_is_refused(plm, tmp_path):
    BertModel(plm.model.config).save_pretrained(tmp_path / "bare")
    plm.tokenizer.save_pretrained(tmp_path / "bare")
    with pytest.raises(PlmError, match=r"bare lacks \d+ weights of BertForMaskedLM, such as cls"):
        load_plm(str(tmp_path / "bare"))
