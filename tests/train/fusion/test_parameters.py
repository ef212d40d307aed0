import math
from dataclasses import replace

import pytest
import torch

from promptfuse.train.fusion.methods import METHODS, Fusion
from promptfuse.train.fusion.parameters import (
    encode_prompt,
    initial_parameters,
    parameter_shapes,
)


def counted(name: str, *, modalities=("image",), length=20, **changes) -> int:
    fusion = replace(Fusion.of(name), **changes)
    shapes = parameter_shapes(
        fusion,
        hidden_size=768,
        prompt_length=length if fusion.method.prompt else 0,
        modalities=modalities,
    )
    return sum(math.prod(shape) for shape in shapes.values())


def test_table_1():
    """20 × 768; 768² + 768, printed as 0.59M; 2 × 768² + 768, printed as 1.18M."""
    assert {name: counted(name) for name in METHODS} == {
        "promptfuse": 15_360,
        "blindprompt": 15_360,
        "blackimage": 15_360,
        "noprompt": 0,
        "linear": 590_592,
        "jointproj": 1_180_416,
        "finetune": 0,  # and the encoders, which have shapes of their own
    }
    shapes = parameter_shapes(
        Fusion.of("finetune"),
        hidden_size=768,
        prompt_length=0,
        modalities=("image",),
        encoders={"image": {"layer.weight": (3, 4), "layer.bias": (3,)}},
    )
    assert shapes == {
        "prompt": (0, 768),
        "encoder.image.layer.weight": (3, 4),
        "encoder.image.layer.bias": (3,),
    }


def test_variants():
    assert counted("promptfuse", train_norms=True) == 15_360 + 2 * 1_536
    three = counted("promptfuse", train_norms=True, modalities=("video", "audio"))
    assert three == 15_360 + 3 * 1_536
    assert counted("promptfuse", length=100) == 76_800
    assert counted("promptfuse", prompt_encoder="linear") == 15_360 + 590_592
    lstm = sum(weight.numel() for weight in torch.nn.LSTM(768, 768).parameters())
    assert counted("promptfuse", prompt_encoder="lstm") == 15_360 + lstm


def drawn(plm, name, seeds, *, length=4, **changes):
    return initial_parameters(
        replace(Fusion.of(name), **changes),
        plm,
        seeds,
        prompt_length=length,
        modalities=("image",),
        prompt_init="tokens",
    )


@pytest.mark.parametrize(("method", "inputs"), [("linear", 16), ("jointproj", 32)])
def test_a_projection_starts_as_torchs_own_layer(plm, method, inputs):
    parameters = drawn(plm, method, [7], length=0)
    torch.manual_seed(7)
    theirs = torch.nn.Linear(inputs, 16)
    torch.testing.assert_close(parameters["projection.weight"][0], theirs.weight.detach())
    torch.testing.assert_close(parameters["projection.bias"][0], theirs.bias.detach())
    assert sum(tensor[0].numel() for tensor in parameters.values()) == inputs * 16 + 16


@pytest.mark.parametrize("encoder", ["none", "linear", "lstm"])
def test_a_run_starts_alike_alone_and_beside_others(plm, encoder):
    together = drawn(plm, "promptfuse", [0, 5], prompt_encoder=encoder, train_norms=True)
    alone = drawn(plm, "promptfuse", [5], prompt_encoder=encoder, train_norms=True)
    assert all(torch.equal(together[name][1], alone[name][0]) for name in alone)
    plain = drawn(plm, "promptfuse", [5])
    assert torch.equal(alone["prompt"], plain["prompt"])  # whatever else is drawn


@pytest.mark.parametrize("encoder", ["none", "linear", "lstm"])
def test_the_encoded_prompt_needs_no_encoder(plm, encoder):
    parameters = drawn(plm, "promptfuse", [0, 1], prompt_encoder=encoder, train_norms=True)
    encoded = encode_prompt(parameters)
    assert set(encoded) == {
        "prompt", "norm.prompt.weight", "norm.prompt.bias", "norm.image.weight", "norm.image.bias"
    }  # fmt: skip
    assert encoded["prompt"].shape == (2, 4, 16)
    assert torch.equal(encode_prompt(encoded)["prompt"], encoded["prompt"])
    assert torch.equal(encoded["prompt"], parameters["prompt"]) == (encoder == "none")
