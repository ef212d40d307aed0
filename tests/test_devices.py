import pytest
import torch

from promptfuse.errors import ConfigError, UnknownName
from promptfuse.pretrained import DTYPES, device_named, dtype_named, dtype_on


@pytest.fixture
def gpus(monkeypatch):
    """Say that the machine has so many CUDA devices."""

    def there_are(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    return there_are


def test_auto_is_the_first_gpu_or_the_processor(gpus):
    gpus(0)
    assert device_named("auto") == torch.device("cpu")
    gpus(2)
    assert device_named("auto") == torch.device("cuda")
    assert device_named("cuda") == torch.device("cuda")
    assert device_named("cuda:1") == torch.device("cuda", 1)
    assert device_named("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7", "mps"])
def test_a_device_that_is_not_here_is_named_beside_those_that_are(gpus, name):
    gpus(0)
    with pytest.raises(ConfigError, match=f"'{name}': this machine has no such.* auto, cpu$"):
        device_named(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "meta", "CPU", ""])
def test_what_is_no_device_is_named_beside_those_that_are(gpus, name):
    gpus(2)
    kinds = f"'{name}': there is no such kind of device; choose one of: auto, cpu, cuda:0, cuda:1"
    with pytest.raises(ConfigError, match=kinds):
        device_named(name)


def test_a_gpu_beyond_the_last(gpus):
    gpus(2)
    with pytest.raises(ConfigError, match=r"'cuda:7': this machine has no such device.*cuda:1"):
        device_named("cuda:7")


def test_dtypes():
    assert [dtype_named(name) for name in DTYPES] == [
        torch.float32,
        torch.bfloat16,
        torch.float16,
    ]
    with pytest.raises(UnknownName, match="'float8'; choose one of: bfloat16, float16, float32"):
        dtype_named("float8")


@pytest.mark.parametrize(
    ("device", "has_it", "expected"),
    [("cpu", True, "float32"), ("cuda:0", True, "bfloat16"), ("cuda:0", False, "float32")],
)
def test_a_dtype_left_open_is_bfloat16_on_a_gpu_that_has_it(monkeypatch, device, has_it, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: has_it)
    there = torch.device(device)
    assert dtype_on(there, "auto") == getattr(torch, expected)
    assert dtype_on(there, "float16") == torch.float16
