from dataclasses import replace
from functools import partial

import pytest
import torch

from promptfuse.cache.examples import DatasetInfo, Example, read_examples, write_examples
from promptfuse.cache.manifest import FieldSpec, Manifest
from promptfuse.cache.store import FeatureWriter, feature_sets
from promptfuse.train.data import FusionData, open_source
from promptfuse.train.data.sources import width_map
from promptfuse.train.explain.attribution import Integration, attribute
from promptfuse.train.explain.fused_answer import BASELINES, FusedAnswer, LiveMedium
from promptfuse.train.fusion.methods import Fusion
from promptfuse.train.fusion.parameters import initial_parameters
from promptfuse.train.loop import fuse

from ..small_cache import WIDTH, key_of
from ..small_plms import SMALL
from ..small_senses import SmallEars, SmallEyes

TEXT = "what colour is the square"


def drawn(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def image(**changes):
    return LiveMedium("image", SmallEyes(3 * 4 * 5, **changes), drawn(3, 4, 5) * 255)


def clip():
    eyes = LiveMedium("video", SmallEyes(3 * 4 * 4), drawn(3, 3, 4, 4) * 255)
    ears = LiveMedium("audio", SmallEars(), drawn(40, seed=1) * 2 - 1)
    return [eyes, ears]


def parameters_of(fusion, plm, modalities, length=4):
    return initial_parameters(
        fusion, plm, [3], prompt_length=length if fusion.method.prompt else 0,
        modalities=modalities, prompt_init="random",
    )  # fmt: skip


def answer_of(plm, media, method="promptfuse", *, labels=False, **changes):
    fusion = replace(Fusion.of(method), **changes)
    return FusedAnswer(
        plm,
        fusion,
        parameters_of(fusion, plm, [one.modality for one in media]),
        media,
        plm.tokenise([TEXT])[0],
        plm.label_ids(["True", "False"]) if labels else None,
    )


def sums(found):
    return sum(float(one.sum()) for one in (*found.media.values(), found.tokens))


@pytest.mark.parametrize("method", ["noprompt", "promptfuse", "blindprompt", "linear", "jointproj"])
@pytest.mark.parametrize("family", SMALL)
def test_attributions_sum_to_the_change(family, method):
    answer = answer_of(SMALL[family](), [image()], method)
    found = attribute(answer, integration=Integration(units=7 * image().units))
    likely = answer.logits(*answer.inputs())[0].softmax(dim=0)
    assert found.target == int(likely.argmax())
    assert found.output == pytest.approx(float((likely.max() / (1 - likely.max())).log()), abs=1e-4)
    assert found.delta == pytest.approx(sums(found) - found.change, abs=1e-5)
    assert abs(found.delta) < 1e-2 * abs(found.change)
    assert found.relative_delta < 1e-2
    assert {name: one.shape for name, one in found.media.items()} == {"image": (3, 4, 5)}
    assert found.tokens.shape == (len(answer.text_ids),)


@pytest.mark.parametrize("pool", ["after-norm", "before-norm", "none"])
@pytest.mark.parametrize("family", SMALL)
def test_frames_and_samples_share_the_path_with_the_text(family, pool):
    answer = answer_of(SMALL[family](), clip(), labels=True, pool=pool)
    found = attribute(answer)
    assert {name: one.shape for name, one in found.media.items()} == {
        "video": (3, 3, 4, 4),
        "audio": (40,),
    }
    assert found.target in (0, 1)
    assert abs(found.delta) < 1e-2 * abs(found.change)
    assert all(one.abs().sum() > 0 for one in (*found.media.values(), found.tokens))


def test_every_point_is_counted():
    seen: list[int] = []
    answer = answer_of(SMALL["bart"](), [image()])
    found = attribute(answer, integration=Integration(units=8 * image().units), watch=seen.append)
    assert max(seen) <= 8
    assert sum(seen) >= found.steps


def test_a_riemann_sum_by_hand_gives_the_same():
    answer = answer_of(SMALL["bart"](), [image()])
    found = attribute(answer, integration=Integration(tolerance=1e-4))
    inputs, baselines = answer.inputs(), answer.baselines("black")
    steps, sums = 400, [torch.zeros_like(one) for one in inputs]
    for step in range(steps):
        share = (step + 0.5) / steps
        at = [
            (start + share * (end - start)).requires_grad_()
            for start, end in zip(baselines, inputs, strict=True)
        ]
        output = answer.log_odds(found.target, *at)[0]
        gradients = torch.autograd.grad(output, at)
        for total, gradient, start, end in zip(sums, gradients, baselines, inputs, strict=True):
            total += gradient * (end - start) / steps
    torch.testing.assert_close(found.media["image"], sums[0][0], atol=2e-5, rtol=1e-3)
    torch.testing.assert_close(found.tokens, sums[1][0].sum(dim=1), atol=2e-5, rtol=1e-3)


def test_special_tokens_stay_and_words_become_padding():
    plm = SMALL["bart"]()
    answer = answer_of(plm, [image()])
    pixels, tokens = answer.baselines("black")
    assert pixels.shape == (1, 3, 4, 5)
    assert not pixels.any()
    vectors = plm.token_vectors()
    ids = torch.tensor([0, *[1] * 5, 2])  # <s>, five times <pad>, </s>
    assert torch.equal(tokens[0], vectors[ids])
    found = attribute(answer)
    assert found.tokens[0] == found.tokens[-1] == 0
    assert (found.tokens[1:-1] != 0).all()


def test_an_unknown_word_is_a_word():
    plm = SMALL["bart"]()
    answer = replace(answer_of(plm, [image()]), text_ids=[0, 3, 2])
    assert torch.equal(answer.baselines("black")[1][0, 1], plm.token_vectors()[1])


def test_just_after_silence_is_where_the_path_is_refined():
    """Sound at unit variance turns at once: a plain rule of so many points misses it."""
    ears = LiveMedium("audio", SmallEars(floor=1e-12), drawn(40, seed=1) * 2 - 1)
    answer = replace(answer_of(SMALL["bart"](), [ears], labels=True), text_ids=[0, 2])
    for equal in (50, 400):
        plain = attribute(answer, integration=Integration(steps=equal, max_steps=equal))
        assert plain.steps == equal
        assert plain.relative_delta > 0.1
    found = attribute(answer)
    assert found.relative_delta < 1e-2
    assert 50 < found.steps < 1600


def test_a_long_clip_goes_through_in_smaller_passes():
    seen = []

    class Watched(SmallEyes):
        def __call__(self, decoded, weights=None):
            seen.append(len(decoded))
            return super().__call__(decoded, weights)

    clip = LiveMedium("video", Watched(3 * 4 * 4), drawn(6, 3, 4, 4) * 255)
    answer = answer_of(SMALL["bart"](), [clip], labels=True)
    whole = attribute(answer)
    assert max(seen) == 50 * 6
    seen.clear()
    parts = attribute(answer, integration=Integration(units=2.5 * clip.units))
    assert max(seen) == 2 * 6
    seen.clear()
    attribute(answer, integration=Integration(units=1e-9, steps=4, max_steps=4))
    assert max(seen) == 6
    torch.testing.assert_close(parts.media["video"], whole.media["video"], atol=1e-5, rtol=1e-4)


def test_refining_ends_where_it_may_not_go_on():
    answer = answer_of(SMALL["bart"](), clip(), labels=True)
    found = attribute(answer, integration=Integration(steps=4, max_steps=20, tolerance=1e-9))
    assert found.steps <= 20


def test_other_baselines():
    pixels = torch.arange(96.0).view(2, 3, 4, 4)
    assert not BASELINES["black"](pixels).any()
    mean = BASELINES["mean"](pixels)
    assert mean.shape == pixels.shape
    assert torch.equal(mean[1, 2], torch.full((4, 4), 87.5))
    big = drawn(3, 32, 32)
    blurred = BASELINES["blur"](big)
    assert blurred.shape == big.shape
    assert blurred.std() < 0.4 * big.std()
    assert blurred.mean() == pytest.approx(float(big.mean()), abs=0.02)
    answer = answer_of(SMALL["bart"](), [image()])
    black, mean = (attribute(answer, baseline=name) for name in ("black", "mean"))
    assert mean.baseline_output != black.baseline_output
    assert mean.relative_delta < 1e-2


def write_cache(root, plm, media, width):
    """Write what the live encoders give, in float32, as if it had been extracted."""
    modalities = [one.modality for one in media]
    key = key_of("it")
    example = Example("1", TEXT, answer="True", media=dict.fromkeys(modalities, key))
    write_examples(
        root,
        DatasetInfo(
            "one", "table", "label", ("True", "False"), "True", tuple(modalities), {"test": 1}
        ),
        {"test": [example]},
        [],
    )
    for one in media:
        vectors = one.vectors(one.decoded[None])[0]
        ragged = one.modality != "image"
        shape = tuple(vectors.shape[1:]) if ragged or len(vectors) == 1 else tuple(vectors.shape)
        field = FieldSpec(one.encoder.field, "float32", shape, ragged=ragged)
        with FeatureWriter(root, Manifest(one.modality, {"id": "x"}, (field,))) as writer:
            for row in (bytes(32), key):
                writer.append(
                    row,
                    {
                        field.name: vectors.view(-1, *shape).numpy()
                        if ragged
                        else vectors.view(shape).numpy()
                    },
                )
    table = read_examples(root, "one", "test")
    opened = [feature_sets(root, one.modality)[0] for one in media]
    open_ = partial(open_source, plm=plm, width_fix="orthogonal")
    return table, [
        open_(found, field=one.encoder.field) for found, one in zip(opened, media, strict=True)
    ]


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("promptfuse", {}),
        ("promptfuse", {"pool": "before-norm"}),
        ("blindprompt", {"pool": "none"}),
        ("promptfuse", {"prompt_position": "middle"}),
        ("linear", {}),
        ("jointproj", {}),
    ],
)
@pytest.mark.parametrize("media", [clip, lambda: [image(tokens=3)], lambda: [image(width=8)]])
def test_the_explained_function_is_the_one_that_answers(tmp_path, family, method, changes, media):
    plm = SMALL[family]()
    there = [
        replace(one, width=width_map(one.encoder.width, WIDTH, fix="orthogonal", what="x"))
        for one in media()
    ]
    answer = answer_of(plm, there, method, labels=True, **changes)
    table, sources = write_cache(tmp_path, plm, there, WIDTH)
    data = FusionData(table, sources, plm, answer.fusion)
    fused = fuse(plm, data, answer.parameters, [0])
    expected = plm.label_logits(fused, answer.choice_ids)
    found = answer.logits(*answer.inputs())
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
