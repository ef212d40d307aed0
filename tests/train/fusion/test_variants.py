"""Every method and variant, from the cache to the loss, against the plain equations."""

import math
from dataclasses import replace

import pytest
import torch

from promptfuse.cache.examples import read_examples
from promptfuse.cache.store import feature_sets
from promptfuse.errors import ConfigError, PlmError
from promptfuse.train.data import FusionData, open_source
from promptfuse.train.fusion.methods import Fusion
from promptfuse.train.fusion.parameters import initial_parameters
from promptfuse.train.fusion.sequence import encode_fused
from promptfuse.train.fusion.visibility import BLIND, REVERSE, VISIBILITIES
from promptfuse.train.loop import run_losses, task_for
from promptfuse.train.plm.frozen import Segment

from .. import paper_equations as paper
from .. import t5_equations
from ..small_cache import key_of
from ..small_plms import CLOSE, SMALL, embedded, whole

SHAPE = {"layers": 2, "heads": 4}
SCALE = math.sqrt(16)  # scale_embedding
MODALITIES = ("video", "audio")
FIELDS = {"video": "pooler", "audio": "last_hidden_state"}
UNSEEN = {"full": None, "blind": ("prompt", "input"), "reverse": ("input", "prompt")}
INDICES = [[0, 1, 2, 7], [5, 2, 9, 4]]  # of two runs

VARIANTS = [
    ("promptfuse", {}),
    ("promptfuse", {"prompt_position": "middle"}),
    ("promptfuse", {"prompt_position": "end"}),
    ("promptfuse", {"visibility": "reverse"}),
    ("promptfuse", {"visibility": "reverse", "prompt_position": "end"}),
    ("promptfuse", {"prompt_encoder": "linear"}),
    ("promptfuse", {"prompt_encoder": "lstm"}),
    ("promptfuse", {"pool": "before-norm"}),
    ("promptfuse", {"pool": "none"}),
    ("promptfuse", {"train_norms": True}),
    ("promptfuse", {"train_norms": True, "pool": "before-norm", "prompt_position": "end"}),
    ("promptfuse", {"train_norms": True, "pool": "none", "prompt_encoder": "lstm"}),
    ("blindprompt", {}),
    ("blindprompt", {"prompt_position": "middle"}),
    ("blindprompt", {"prompt_position": "end"}),
    ("blindprompt", {"prompt_encoder": "lstm", "pool": "none", "train_norms": True}),
    ("linear", {}),
    ("linear", {"pool": "before-norm"}),
    ("linear", {"pool": "none"}),
    ("jointproj", {}),
    ("jointproj", {"pool": "before-norm"}),
    ("jointproj", {"pool": "none"}),
]


@pytest.fixture
def table(sarcasm_cache):
    return read_examples(sarcasm_cache, "jokes", "train")


@pytest.fixture
def sources(sarcasm_cache, plm):
    opened = [
        open_source(feature_sets(sarcasm_cache, modality)[0], plm, field=None, width_fix="none")
        for modality in MODALITIES
    ]
    return {source.modality: source for source in opened}


def started(fusion, plm, *, length=5) -> dict[str, torch.Tensor]:
    """Two runs' parameters, a little away from where training starts."""
    parameters = initial_parameters(
        fusion,
        plm,
        [3, 4],
        prompt_length=length if fusion.method.prompt else 0,
        modalities=MODALITIES,
        prompt_init="random",
    )
    noise = torch.Generator().manual_seed(9)
    return {
        name: tensor + 0.1 * torch.randn(tensor.shape, generator=noise)
        for name, tensor in parameters.items()
    }


def layer_of(parameters, name):
    own = [key for key in parameters if key.startswith(f"{name}.")]
    return {key.removeprefix(f"{name}."): parameters[key] for key in own}


def plain_segment(weights, vectors, parameters, name):
    if f"norm.{name}.weight" not in parameters:
        return paper.segment(weights, vectors)
    scale, shift = parameters[f"norm.{name}.weight"], parameters[f"norm.{name}.bias"]
    return paper.trained_segment(weights, vectors, scale, shift)


def plain_medium(weights, fusion, steps, parameters, name):
    def embedded(vectors):
        if fusion.method.name == "linear":
            vectors = vectors @ parameters["projection.weight"].T + parameters["projection.bias"]
        return plain_segment(weights, vectors, parameters, name)

    if fusion.pool == "before-norm":
        return embedded(steps.mean(dim=0, keepdim=True))
    return embedded(steps) if fusion.pool == "none" else embedded(steps).mean(dim=0, keepdim=True)


def plain_prompt(fusion, parameters):
    prompt, layer = parameters["prompt"], layer_of(parameters, "prompt_encoder")
    if fusion.prompt_encoder == "linear":
        return prompt @ layer["weight"].T + layer["bias"]
    return paper.lstm(prompt, layer) if fusion.prompt_encoder == "lstm" else prompt


def plain_parts(weights, fusion, media, text_ids, parameters):
    text = weights["model.shared.weight"][text_ids] * SCALE
    if fusion.method.name == "jointproj":
        pooled = [
            plain_medium(weights, fusion, steps, parameters, name).mean(dim=0)
            for name, steps in media.items()
        ]
        medium = (pooled[0] + pooled[1]) / 2
        both = torch.stack([torch.cat([word, medium]) for word in paper.segment(weights, text)])
        fused = both @ parameters["projection.weight"].T + parameters["projection.bias"]
        return [("input", fused)]
    parts = [
        ("input", plain_medium(weights, fusion, steps, parameters, name))
        for name, steps in media.items()
    ]
    parts.append(("input", paper.segment(weights, text)))
    if fusion.method.prompt:
        place = {"start": 0, "middle": len(MODALITIES), "end": len(parts)}[fusion.prompt_position]
        prompt = plain_segment(weights, plain_prompt(fusion, parameters), parameters, "prompt")
        parts.insert(place, ("prompt", prompt))
    return parts


def plain_loss(plm, fusion, table, sources, indices, parameters):
    weights = plm.model.state_dict() | {"model.shared.weight": plm.model.model.shared.weight}
    losses = []
    for index in indices:
        media = {
            name: torch.from_numpy(source.features.read([key_of(f"train{index}")], FIELDS[name])[0])
            for name, source in sources.items()
        }
        media = {name: steps.float() for name, steps in media.items()}
        ids = plm.tokenise([table.texts[index]])[0]
        parts = plain_parts(weights, fusion, media, ids, parameters)
        memory = paper.memory_of(weights, parts, unseen=UNSEEN[fusion.visibility], **SHAPE)
        logits = paper.decoder_logits(weights, [2, 0], memory, scale=SCALE, **SHAPE)[-1]
        target = ["True", "False"].index(table.answers[index])
        losses.append(paper.token_losses(logits[[5, 6]][None], [target]))
    return torch.cat(losses).mean()


@pytest.mark.parametrize(("method", "changes"), VARIANTS, ids=str)
def test_losses_and_all_gradients(plm, table, sources, method, changes):
    fusion = replace(Fusion.of(method), **changes)
    data = FusionData(table, list(sources.values()), plm, fusion)
    ours = {name: one.requires_grad_() for name, one in started(fusion, plm).items()}
    task = task_for(plm, ("True", "False"), table)
    losses = run_losses(plm, data, task, ours, torch.tensor(INDICES).flatten().numpy())
    losses.sum().backward()
    for run in range(2):
        plain = {name: one[run].detach().clone().requires_grad_() for name, one in ours.items()}
        expected = plain_loss(plm, fusion, table, sources, INDICES[run], plain)
        expected.backward()
        torch.testing.assert_close(losses[run], expected, atol=1e-5, rtol=1e-5)
        for name, parameter in plain.items():
            if parameter.numel():
                gradient = ours[name].grad[run]
                torch.testing.assert_close(gradient, parameter.grad, atol=1e-5, rtol=1e-4)
                assert gradient.abs().max() > 0


def test_trained_norms_start_as_the_models_own(plm, table, sources):
    losses = []
    for train_norms in (False, True):
        fusion = replace(Fusion.of("blindprompt"), train_norms=train_norms)
        data = FusionData(table, list(sources.values()), plm, fusion)
        parameters = initial_parameters(
            fusion, plm, [0], prompt_length=3, modalities=MODALITIES, prompt_init="tokens"
        )
        task = task_for(plm, ("True", "False"), table)
        losses.append(run_losses(plm, data, task, parameters, torch.arange(8).numpy()))
    torch.testing.assert_close(losses[0], losses[1], atol=1e-6, rtol=1e-6)


def states(plm, visibility, position):
    """The fused states' prompt and input parts, and the leaves that they come from."""
    random = torch.Generator().manual_seed(5)
    prompt = torch.randn(1, 4, 16, generator=random).requires_grad_()
    media = torch.randn(2, 3, 16, generator=random).requires_grad_()
    text = torch.randn(2, 6, 16, generator=random).requires_grad_()
    segments = [Segment.whole(media), Segment.whole(text)]
    placed = embedded(plm, prompt)
    fused = whole(encode_fused(plm, placed, segments, visibility, position=position)).vectors
    start = {"start": 0, "middle": 3, "end": 9}[position]
    inside = fused[:, start : start + 4]
    outside = torch.cat([fused[:, :start], fused[:, start + 4 :]], dim=1)
    return inside, outside, prompt, media, text


def largest_gradient(output, leaf) -> float:
    (gradient,) = torch.autograd.grad(output.pow(3).sum(), leaf, retain_graph=True)
    return float(gradient.abs().max())


@pytest.mark.parametrize("position", ["start", "middle", "end"])
def test_a_blind_prompts_states_ignore_every_input(plm, position):
    inside, outside, prompt, media, text = states(plm, BLIND, position)
    assert largest_gradient(inside, media) == largest_gradient(inside, text) == 0
    assert min(largest_gradient(outside, leaf) for leaf in (prompt, media, text)) > 1e-3


@pytest.mark.parametrize("position", ["start", "middle", "end"])
def test_in_reverse_the_inputs_states_ignore_the_prompt(plm, position):
    inside, outside, prompt, media, text = states(plm, REVERSE, position)
    assert largest_gradient(outside, prompt) == 0
    assert min(largest_gradient(inside, leaf) for leaf in (prompt, media, text)) > 1e-3


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"visibility": "blind"}, "--visibility"),
        ({"prompt_position": "end"}, "--prompt-position"),
        ({"prompt_encoder": "lstm"}, "--prompt-encoder"),
        ({"train_norms": True}, "--train-norms"),
    ],
)
def test_what_varies_a_prompt_needs_one(changes, option):
    with pytest.raises(ConfigError, match=f"{option} belongs to methods with a prompt; linear"):
        replace(Fusion.of("linear"), **changes)


def test_norms_that_are_not_there_are_not_trained(plm):
    class Normless:
        family = "t5"
        hidden_size = plm.hidden_size
        token_vectors = plm.token_vectors
        norm = None

    fusion = replace(Fusion.of("promptfuse"), train_norms=True)
    with pytest.raises(PlmError, match="t5 puts no layer norm on its embedded segments"):
        initial_parameters(
            fusion, Normless(), [0], prompt_length=2, modalities=("image",), prompt_init="tokens"
        )


@pytest.mark.parametrize("position", ["start", "middle", "end"])
@pytest.mark.parametrize("visibility", list(UNSEEN))
def test_the_order_of_segments_is_what_t5_sees(visibility, position):
    """BART's answers do not depend on the order of segments; T5's relative positions do."""
    t5 = SMALL["t5"]()
    weights = t5.model.state_dict()
    random = torch.Generator().manual_seed(6)
    ours = torch.randn(1, 4, 16, generator=random).requires_grad_()
    plain = ours.detach().clone().requires_grad_()
    media = [torch.randn(1, steps, 16, generator=random) for steps in (1, 3)]
    batch = t5.pad(t5.tokenise(["how many"]))
    text = Segment(embedded(t5, t5.embed_tokens(batch.ids)), batch.present)
    inputs = [*(Segment.whole(one) for one in media), text]
    fused = encode_fused(t5, ours, inputs, VISIBILITIES[visibility], position=position)
    fused = whole(fused).vectors[0]
    parts = [("input", one[0]) for one in (*media, weights["shared.weight"][batch.ids])]
    parts.insert({"start": 0, "middle": 2, "end": 3}[position], ("prompt", plain[0]))
    roles = [role for role, part in parts for _ in part]
    allowed = torch.tensor([[(q, k) != UNSEEN[visibility] for k in roles] for q in roles])
    expected = t5_equations.encoder(weights, torch.cat([part for _, part in parts]), allowed)
    torch.testing.assert_close(fused, expected, atol=CLOSE["t5"], rtol=1e-4)
    fused.pow(3).sum().backward()
    expected.pow(3).sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad, atol=1e-3, rtol=1e-3)
