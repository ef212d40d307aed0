import pytest
import torch

from promptfuse.errors import PlmError
from promptfuse.train.fusion.sequence import encode_fused
from promptfuse.train.fusion.visibility import FULL
from promptfuse.train.plm import load_plm
from promptfuse.train.plm.frozen import EncoderStates, Segment

from ..small_plms import save_small
from ..small_t5 import small_t5


@pytest.fixture(scope="module")
def plm():
    return small_t5()


def test_float16_is_refused(plm, tmp_path):
    with pytest.raises(PlmError, match="T5 overflows in float16"):
        type(plm)(small_t5().model.half(), plm.tokenizer)
    save_small("t5", tmp_path / "t5")
    with pytest.raises(PlmError, match="T5 overflows in float16"):
        load_plm(str(tmp_path / "t5"), dtype="float16")
    assert load_plm(str(tmp_path / "t5"), dtype="bfloat16").dtype == torch.bfloat16


def test_no_segment_is_too_long(plm):
    assert plm.max_positions is None
    vectors = torch.randn(1, 3000, 16)
    assert plm.place(vectors) is vectors
    (ids,) = plm.tokenise(["yes " * 700])
    assert len(ids) == 701


def test_the_order_of_segments_matters(plm):
    random = torch.Generator().manual_seed(2)
    prompts = torch.randn(1, 3, 16, generator=random)
    visual, audio = (Segment.whole(torch.randn(1, 2, 16, generator=random)) for _ in range(2))
    one = encode_fused(plm, prompts, [visual, audio], FULL).vectors
    other = encode_fused(plm, prompts, [audio, visual], FULL).vectors[:, [0, 1, 2, 5, 6, 3, 4]]
    assert (one - other).abs().max() > 1e-2


def test_t5_of_version_1_1_does_not_scale_its_outputs():
    own = small_t5(tie_word_embeddings=False, feed_forward_proj="gated-gelu")
    batch = own.pad(own.tokenise(["how many"]))
    fused = EncoderStates(torch.randn(1, 4, 16), torch.ones(1, 4, dtype=torch.bool))
    decoded = own.model.decoder(
        input_ids=torch.zeros(1, 1, dtype=torch.long), encoder_hidden_states=fused.vectors
    ).last_hidden_state[:, 0]
    expected = decoded @ own.model.lm_head.weight[batch.ids[0]].T
    torch.testing.assert_close(own.label_logits(fused, batch.ids[0]), expected)
    scaled = small_t5(feed_forward_proj="gated-gelu")
    torch.testing.assert_close(scaled.label_logits(fused, batch.ids[0]), expected / 4)  # √16
