"""What holds for every language model, each against the transformers library's own public API."""

import json
import shutil

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.modeling_outputs import BaseModelOutput

from promptfuse.errors import PlmError
from promptfuse.pretrained import resolve
from promptfuse.train.fusion.sequence import encode_fused
from promptfuse.train.fusion.visibility import BLIND, FULL, VISIBILITIES, attention_mask
from promptfuse.train.plm import PLMS, load_plm
from promptfuse.train.plm.frozen import EncoderStates, Segment, additive

from ..small_plms import (
    CLOSE,
    HEADS,
    SMALL,
    START,
    WITHOUT_NORM,
    embedded,
    save_small,
    text_of,
    whole,
)

TEXTS = ["what colour is the square", "how many", "is the day nice yes"]
ANSWERS = ["red", "two", "yes"]


@pytest.fixture(scope="module", params=sorted(SMALL))
def plm(request):
    return SMALL[request.param]()


@pytest.fixture(scope="module", params=sorted(START))
def writer(request):
    """A family whose decoder writes its answers."""
    return SMALL[request.param]()


def encoded(plm) -> tuple[EncoderStates, torch.Tensor]:
    """The texts through the encoder, and their ids."""
    text = text_of(plm, TEXTS)
    mask = additive(text.present[:, None, None], dtype=torch.float32)
    return plm.encode(text, mask), plm.pad(plm.tokenise(TEXTS)).ids


def library_hidden(plm, ids, present) -> torch.Tensor:
    encoder = plm.model.bert if plm.family == "bert" else plm.model.get_encoder()
    return encoder(input_ids=ids, attention_mask=present.long()).last_hidden_state


def library_logits(plm, ids, present, written) -> torch.Tensor:
    """[N, W]: the library's logits of the next answer token, after those written so far [N, L]."""
    if plm.family == "bert":
        logits = plm.model(input_ids=ids, attention_mask=present.long()).logits
        return logits[ids == plm.tokenizer.mask_token_id]
    lead = torch.tensor(START[plm.family]).expand(len(ids), -1)
    memory = BaseModelOutput(library_hidden(plm, ids, present))
    decoder_ids = torch.cat([lead, written], dim=1)
    return plm.model(
        encoder_outputs=memory, attention_mask=present.long(), decoder_input_ids=decoder_ids
    ).logits[:, -1]


NOTHING = torch.zeros(len(TEXTS), 0, dtype=torch.long)


def test_every_family_is_held_to_the_contract():
    assert set(SMALL) == set(PLMS)


def test_a_segment_is_placed_and_then_scaled_as_the_models_own_embedding_does(plm):
    vectors = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(2))
    placed = plm.place(vectors)
    assert (plm.norm is None) == (plm.family in WITHOUT_NORM)
    if plm.norm is not None:
        torch.testing.assert_close(placed.mean(dim=2), torch.zeros(3, 7), atol=1e-5, rtol=0)
        scale, shift = plm.norm
        placed = placed * scale + shift
    torch.testing.assert_close(placed, embedded(plm, vectors))


@pytest.mark.parametrize(("position", "ahead"), [("start", 9), ("middle", 9), ("end", 4)])
def test_the_place_of_a_mask_moves_with_the_prompt(plm, position, ahead):
    text = text_of(plm, TEXTS)
    media = [Segment.whole(torch.zeros(3, steps, 16)) for steps in (1, 3)]
    prompt = torch.zeros(1, 5, 16)
    fused = encode_fused(plm, prompt, [*media, text], FULL, position=position)
    if text.answer_at is None:
        assert fused.answer_at is None
    else:
        assert torch.equal(fused.answer_at, text.answer_at + ahead)


def test_a_lone_text_segment_is_the_librarys_own_encoder(plm):
    fused, ids = encoded(plm)
    expected = library_hidden(plm, ids, fused.present)[fused.present]
    torch.testing.assert_close(fused.vectors[fused.present], expected, atol=1e-5, rtol=1e-5)


def test_a_texts_tokens_are_rows_of_the_token_vectors(plm):
    ids = plm.pad(plm.tokenise(TEXTS)).ids
    assert torch.equal(plm.embed_tokens(ids), plm.token_vectors()[ids])


def test_texts_are_padded_on_the_right(plm):
    ids = plm.tokenise(TEXTS)
    batch = plm.pad(ids)
    for row, one in enumerate(ids):
        assert batch.ids[row][batch.present[row]].tolist() == one
        assert batch.present[row, : len(one)].all()
    assert batch.ids.shape == (3, max(map(len, ids)))


def test_answer_loss_is_the_cross_entropy_of_the_librarys_logits(plm):
    fused, ids = encoded(plm)
    sums, counts = plm.answer_loss(fused, plm.tokenise_answers(ANSWERS))
    words = [plm.tokenizer.convert_tokens_to_ids(answer) for answer in ANSWERS]
    steps = [torch.tensor(words)]
    if plm.family != "bert":
        steps.append(torch.full((3,), plm.tokenizer.eos_token_id))
    expected, written = torch.zeros(3), NOTHING
    for targets in steps:
        logits = library_logits(plm, ids, fused.present, written)
        expected += torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        written = torch.cat([written, targets[:, None]], dim=1)
    torch.testing.assert_close(sums, expected, atol=1e-5, rtol=1e-5)
    assert counts.tolist() == [len(steps)] * 3


def test_label_logits_are_the_librarys_at_the_first_answer_position(plm):
    fused, ids = encoded(plm)
    words = plm.label_ids(["True", "False"])
    assert plm.tokenizer.convert_ids_to_tokens(words.tolist()) == ["True", "False"]
    expected = library_logits(plm, ids, fused.present, NOTHING)[:, words]
    torch.testing.assert_close(plm.label_logits(fused, words), expected, atol=1e-5, rtol=1e-5)


def test_labels_that_begin_alike_are_refused(plm):
    with pytest.raises(PlmError, match=r"'red blue'.* do not differ in their first token"):
        plm.label_ids(["red", "red blue"])


def test_answers_are_greedy_whatever_the_checkpoint_prefers(plm):
    model = SMALL[plm.family](seed=2).model
    if plm.family != "bert":
        model.generation_config.update(num_beams=3, no_repeat_ngram_size=1, max_length=3)
    own = type(plm)(model, plm.tokenizer)
    fused, ids = encoded(own)
    written = NOTHING
    for _ in range(1 if plm.family == "bert" else 4):
        best = library_logits(own, ids, fused.present, written).argmax(dim=1, keepdim=True)
        written = torch.cat([written, best], dim=1)
    answers = own.generate(fused, max_new_tokens=4)
    end = own.tokenizer.eos_token_id
    for answer, row in zip(answers, written.tolist(), strict=True):
        kept = row[: row.index(end)] if end in row else row
        assert answer == own.tokenizer.decode(kept, skip_special_tokens=True).strip()
    assert any(answers)


@pytest.mark.parametrize("runs", [1, 2])
def test_a_prefix_run_once_is_the_blind_mask(plm, runs):
    """Values and the gradients of prompt and inputs alike."""
    fused, close = [], CLOSE[plm.family]
    for masked in (False, True):
        prompts, media, segments = blind_inputs(plm, runs)
        make = masked_blind if masked else behind
        hidden = whole(make(plm, prompts, segments))
        weighting = torch.randn(hidden.vectors.shape, generator=torch.Generator().manual_seed(3))
        weighting = weighting * hidden.present[..., None]
        (hidden.vectors * weighting).sum().backward()
        fused.append((hidden.vectors[hidden.present], prompts.grad, media.grad))
    for once, every_time in zip(*fused, strict=True):
        torch.testing.assert_close(once, every_time, atol=close, rtol=close)


@pytest.mark.parametrize("runs", [1, 2])
def test_what_a_prefix_answers_is_what_the_library_makes_of_the_whole_sequence(writer, runs):
    """Losses of answers of several lengths, labels' logits and the prompts' gradients."""
    answers = writer.tokenise(["red two", "yes", "how many squares"] * runs)
    found, close = [], CLOSE[writer.family]
    for ours in (True, False):
        prompts, _, segments = blind_inputs(writer, runs)
        if ours:
            states = behind(writer, prompts, segments)
            losses, counts = writer.answer_loss(states, answers)
            first = writer.label_logits(states, torch.arange(9))
        else:
            memory = whole(masked_blind(writer, prompts, segments))
            losses, counts, first = library_losses(writer, memory, answers)
        (losses.sum() + first.square().mean()).backward()
        found.append((losses, first[:, :9], prompts.grad))
        assert counts.tolist() == [len(ids) - len(START[writer.family]) + 1 for ids in answers]
    for own, librarys in zip(*found, strict=True):
        torch.testing.assert_close(own, librarys, atol=close, rtol=close)


def library_losses(plm, memory, answers) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return [N] losses, [N] counts and the first [N, 9] logits, by the library's own forward."""
    lead = START[plm.family]
    rows = [torch.tensor([*lead[:1], *ids[:-1]]) for ids in answers]
    decoder_ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    targets = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(ids) for ids in answers], batch_first=True, padding_value=-100
    )
    targets[:, : len(lead) - 1] = -100
    logits = plm.model(
        encoder_outputs=BaseModelOutput(memory.vectors),
        attention_mask=memory.present.long(),
        decoder_input_ids=decoder_ids,
    ).logits
    losses = torch.nn.functional.cross_entropy(logits.mT, targets, reduction="none")
    return losses.sum(dim=1), (targets >= 0).sum(dim=1), logits[:, len(lead) - 1, :9]


def test_a_prefixs_keys_are_made_once_a_run(writer):
    """Whatever the rows that it stands before."""
    given: list[int] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, args: given.append(args[0].shape[:-1].numel()))
        for crossing in writer._crossings
        for layer in crossing[:2]
    ]
    prompts, _, segments = blind_inputs(writer, 2)
    writer.answer_loss(behind(writer, prompts, segments), writer.tokenise(ANSWERS * 2))
    for hook in hooks:
        hook.remove()
    inputs = segments[0].present.numel() + segments[1].present.numel()
    assert given == [2 * 5] * 4 + [inputs] * 4  # two layers' keys and values


def test_a_prefix_is_lent_where_the_library_numbers_no_layers(plm):
    """As in PEGASUS, whose encoder's layers do not say which they are."""
    model = SMALL[plm.family]().model
    for part in model.get_submodule(type(plm).layers_at).modules():
        if hasattr(part, "layer_idx"):
            part.layer_idx = None
    own = type(plm)(model, plm.tokenizer)
    prompts, _, segments = blind_inputs(plm, 1)
    lent, expected = (whole(behind(one, prompts, segments)) for one in (own, plm))
    assert torch.equal(lent.vectors, expected.vectors)


def blind_inputs(plm, runs):
    random = torch.Generator().manual_seed(2)
    prompts = torch.randn(runs, 5, 16, generator=random).requires_grad_()
    media = torch.randn(3 * runs, 4, 16, generator=random).to(plm.dtype).requires_grad_()
    return prompts, media, [Segment.whole(embedded(plm, media)), text_of(plm, TEXTS * runs)]


def behind(plm, prompts, segments) -> EncoderStates:
    return encode_fused(plm, embedded(plm, prompts), segments, BLIND)


def masked_blind(plm, prompts, segments) -> EncoderStates:
    rows = len(segments[0].vectors)
    repeated = embedded(plm, prompts).repeat_interleave(rows // len(prompts), dim=0)
    vectors = torch.cat([repeated, *(one.vectors for one in segments)], dim=1)
    present = torch.cat(
        [torch.ones(rows, 5, dtype=torch.bool), *(one.present for one in segments)], dim=1
    )
    of_prompt = torch.arange(vectors.shape[1]) < 5
    mask = attention_mask(of_prompt, present, BLIND, dtype=torch.float32)
    return plm.encode(Segment(vectors, present), mask)


def test_no_attention_implementation_reads_the_mask_differently(plm):
    prompts, _, segments = blind_inputs(plm, 1)
    prompt = embedded(plm, prompts)
    expected = [encode_fused(plm, prompt, segments, rule) for rule in (FULL, BLIND)]
    before = plm.model.config._attn_implementation
    plm.model.set_attn_implementation("eager")
    try:
        eager = [encode_fused(plm, prompt, segments, rule) for rule in (FULL, BLIND)]
    finally:
        plm.model.set_attn_implementation(before)
    assert before == "sdpa"
    for one, other in zip(expected, eager, strict=True):
        close = CLOSE[plm.family]
        one, other = whole(one), whole(other)
        shown = one.present
        torch.testing.assert_close(one.vectors[shown], other.vectors[shown], atol=close, rtol=close)


def test_the_model_is_frozen_and_no_weight_is_ever_written(plm):
    assert not plm.model.training
    assert not any(weight.requires_grad for weight in plm.model.parameters())
    before = {name: value.clone() for name, value in plm.model.state_dict().items()}
    prompts, _, segments = blind_inputs(plm, 1)
    fused = encode_fused(plm, embedded(plm, prompts), segments, BLIND)
    labels = plm.label_logits(fused, plm.label_ids(["True", "False"])).sum()
    losses, _ = plm.answer_loss(fused, plm.tokenise_answers(ANSWERS))
    (labels + losses.sum()).backward()
    plm.generate(fused, max_new_tokens=2)
    assert all(torch.equal(before[name], value) for name, value in plm.model.state_dict().items())


def test_bfloat16_gives_bfloat16(plm):
    narrow = SMALL[plm.family]()
    narrow.model.to(torch.bfloat16)
    prompts, _, segments = blind_inputs(narrow, 1)
    for rule in (FULL, BLIND):
        prompt = embedded(narrow, prompts.to(torch.bfloat16))
        fused = encode_fused(narrow, prompt, segments, rule)
        assert fused.vectors.dtype == torch.bfloat16
        losses, _ = narrow.answer_loss(fused, narrow.tokenise_answers(ANSWERS))
        assert losses.dtype == torch.float32
        assert losses.isfinite().all()


def test_in_bfloat16_a_cpu_attends_step_by_step_to_the_same_rounding(plm):
    losses = []
    for attention in ("eager", "sdpa"):
        narrow = type(plm)(SMALL[plm.family]().model.to(torch.bfloat16), plm.tokenizer)
        assert narrow.model.config._attn_implementation == "eager"
        narrow.model.set_attn_implementation(attention)
        prompts, _, segments = blind_inputs(narrow, 1)
        fused = encode_fused(narrow, embedded(narrow, prompts.to(torch.bfloat16)), segments, FULL)
        losses.append(narrow.answer_loss(fused, narrow.tokenise_answers(ANSWERS))[0])
    torch.testing.assert_close(losses[0], losses[1], atol=0.05, rtol=0.05)


class AsksNothing(TorchDispatchMode):
    """Refuses what makes the host wait for a device: reading a value, or a size that depends."""

    ASKS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_truth = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            at is not None and at.dtype == torch.bool for at in args[1]
        )
        assert name not in self.ASKS, name
        assert not by_truth, name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("visibility", VISIBILITIES)
@pytest.mark.parametrize("position", ["start", "middle", "end"])
def test_a_step_never_waits_for_the_device(plm, visibility, position):
    """With padding between the segments and behind the text."""
    prompts, _, segments = blind_inputs(plm, 2)
    present = torch.tensor([[True] * 4, [True] * 3 + [False]] * 3)
    segments[0] = Segment(segments[0].vectors, present)
    labels, answers = ["True", "False"], plm.tokenise_answers(ANSWERS * 2)
    plm.label_ids(labels)  # tokenised the first time
    with AsksNothing():
        fused = encode_fused(
            plm, embedded(plm, prompts), segments, VISIBILITIES[visibility], position=position
        )
        losses, _ = plm.answer_loss(fused, answers)
        (losses.sum() + plm.label_logits(fused, plm.label_ids(labels)).sum()).backward()


def test_load_from_a_folder(plm, tmp_path):
    saved = save_small(plm.family, tmp_path / "model", seed=3)
    loaded = load_plm(str(tmp_path / "model"))
    assert type(loaded) is type(saved)
    parameters = sum(weight.numel() for weight in saved.model.parameters())
    told = {name: loaded.identity[name] for name in ("family", "hidden_size", "parameters")}
    assert told == {"family": plm.family, "hidden_size": 16, "parameters": parameters}
    (fused, _), (expected, _) = encoded(loaded), encoded(saved)
    torch.testing.assert_close(fused.vectors, expected.vectors)
    torch.testing.assert_close(
        loaded.answer_loss(fused, loaded.tokenise_answers(ANSWERS)),
        saved.answer_loss(expected, saved.tokenise_answers(ANSWERS)),
    )


def test_label_logits_are_a_float32_product_whatever_the_dtype(plm):
    """In bfloat16 two labels tie or change places for the product's rounding alone."""
    narrow = SMALL[plm.family]()
    narrow.model.to(torch.bfloat16)
    seen: list[torch.Tensor] = []
    head = narrow.model.get_output_embeddings()
    states, _ = encoded(narrow)
    words = narrow.label_ids(["True", "False"])
    logits = narrow.label_logits(states, words)
    assert logits.dtype == torch.float32
    head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    narrow.generate(states, max_new_tokens=1)  # the head's own input at the first answer position
    (hidden,) = seen
    bias = narrow.model.cls.predictions.decoder.bias if plm.family == "bert" else torch.zeros(99)
    bias = getattr(narrow.model, "final_logits_bias", bias[None])[0]
    expected = hidden.float() @ head.weight[words].float().T + bias[words].float()
    torch.testing.assert_close(logits, expected, atol=1e-6, rtol=1e-6)
    assert not torch.equal(logits, logits.bfloat16().float())


def test_the_identity_tells_a_copy_from_one_that_answers_differently(plm, tmp_path):
    """Half the heads, or another tokenizer, with the very same weights."""
    save_small(plm.family, tmp_path / "model")
    hashes = {
        name: _hashes(shutil.copytree(tmp_path / "model", tmp_path / name))
        for name in ("copy", "heads", "words")
    }
    assert hashes["copy"] == hashes["heads"] == hashes["words"]
    path, name = tmp_path / "heads" / "config.json", HEADS[plm.family]
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {name: config[name] // 2}))
    words = tmp_path / "words" / "tokenizer.json"
    words.write_text(words.read_text().replace('"yes"', '"nay"'))
    for folder, differs in (("heads", "config_sha256"), ("words", "tokenizer_sha256")):
        found = _hashes(tmp_path / folder)
        assert {key for key, value in found.items() if value != hashes["copy"][key]} == {differs}


def _hashes(folder) -> dict[str, str]:
    source = resolve(str(folder))
    names = ("weights_sha256", "config_sha256", "tokenizer_sha256")
    told = {name: getattr(source, name) for name in names}
    if folder.name == "copy":
        identity = load_plm(str(folder)).identity
        assert {name: identity[name] for name in names} == told
    return told
