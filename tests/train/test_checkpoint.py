import re

import pytest
import torch

from promptfuse.errors import RunError
from promptfuse.train.checkpoint import load_checkpoint, save_checkpoint
from promptfuse.train.state import TrainState


def state() -> TrainState:
    """The state after two steps of Adam on two parameters."""
    generator = torch.Generator().manual_seed(0)
    parameters = {
        name: torch.nn.Parameter(torch.randn(2, 3, generator=generator)) for name in ("a", "b")
    }
    optimizer = torch.optim.Adam(parameters.values(), lr=0.1)
    made = TrainState(parameters, optimizer, step=2, losses=[1.5, 0.5])
    for _ in range(2):
        sum((value**2).sum() for value in parameters.values()).backward()
        optimizer.step()
    return made


def contents(made: TrainState) -> list[object]:
    moments = [made.optimizer.state[value] for value in made.parameters.values()]
    tensors = [*made.parameters.values(), *(m[k] for m in moments for k in sorted(m))]
    return [made.step, made.losses, *(tensor.tolist() for tensor in tensors)]


def fresh() -> TrainState:
    made = state()
    for value in made.parameters.values():
        value.data.zero_()
    made.optimizer.state.clear()
    made.step, made.losses = 0, []
    return made


def test_a_checkpoint_holds_all_of_a_state(tmp_path):
    save_checkpoint(tmp_path / "c.safetensors", state())
    other = fresh()
    load_checkpoint(tmp_path / "c.safetensors", other)
    assert contents(other) == contents(state())


def test_no_changed_byte_of_a_checkpoint_is_taken(tmp_path):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, state())
    content, before, refused = path.read_bytes(), contents(state()), 0
    for place in range(len(content)):
        changed = bytes([content[place] ^ 0x10])
        path.write_bytes(content[:place] + changed + content[place + 1 :])
        other = fresh()
        try:
            load_checkpoint(path, other)
            assert contents(other) == before, place
        except RunError as error:
            refused += 1
            assert re.search(r"c\.safetensors", str(error)), place  # noqa: PT017
    assert refused > 0.9 * len(content)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\xff" * 40, b"\2\0\0\0\0\0\0\0{}"])
def test_what_is_no_checkpoint_is_named(tmp_path, content):
    (tmp_path / "c.safetensors").write_bytes(content)
    with pytest.raises(RunError, match=r"c\.safetensors.*(damaged|carries no sha256)"):
        load_checkpoint(tmp_path / "c.safetensors", fresh())
