"""`import promptfuse`: what it offers, when it imports it, and what it refuses."""

import inspect
import subprocess
import sys

import pytest

import promptfuse as pf
from promptfuse.errors import ConfigError, UnknownName


def run_python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_importing_it_imports_nothing_heavy():
    heavy = {"torch", "numpy", "transformers", "pyarrow", "pydantic", "h5py"}
    program = f"import sys, promptfuse; print(sorted({heavy!r} & set(sys.modules)))"
    assert run_python(program).strip() == "[]"


def test_dir_lists_what_it_offers_and_all_of_it_is_there():
    assert set(pf.__all__) < set(dir(pf))
    assert all(callable(getattr(pf, name)) for name in pf.__all__)


def test_extract_and_train_are_packages_and_functions():
    program = (
        "import promptfuse as pf, promptfuse.train.runs as runs\n"
        "from promptfuse.extract.settings import ExtractSettings\n"
        "print(callable(pf.train), callable(pf.extract), pf.train.runs is runs)"
    )
    assert run_python(program).split() == ["True", "True", "True"]


def test_signatures_name_every_setting():
    keywords = inspect.signature(pf.train).parameters
    assert {"quiet", "dataset", "cache", "shots", "lr_prompt"} <= set(keywords)
    assert keywords["batch_size"].default is None
    assert inspect.signature(pf.extract).parameters["batch_size"].default == 32


def test_what_it_does_not_offer_is_named():
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        pf.tarin  # noqa: B018


@pytest.mark.parametrize("function", [pf.extract, pf.train])
def test_an_unknown_setting_is_named(function, tmp_path):
    with pytest.raises(UnknownName, match="shotz"):
        function(dataset="demo-vqa", cache=str(tmp_path), shotz=3)


def test_a_setting_out_of_range_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"epochs.*-3"):
        pf.train(dataset="demo-vqa", cache=str(tmp_path), epochs=-3)


def test_extract_asks_for_a_dataset(tmp_path):
    with pytest.raises(ConfigError, match="which dataset"):
        pf.extract(cache=str(tmp_path))
