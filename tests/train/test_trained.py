import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from promptfuse.errors import RunError
from promptfuse.train.checkpoint import sealed
from promptfuse.train.data.selection import select
from promptfuse.train.fusion.methods import Fusion
from promptfuse.train.record import PROMPT
from promptfuse.train.runs.finish import finish_runs
from promptfuse.train.settings import InputChoice, TrainSettings
from promptfuse.train.trained import (
    load_prompt,
    require_same_features,
    require_same_plm,
    write_prompt,
)

from .small_bart import small_bart
from .small_cache import names_of, write_features
from .small_runs import start_runs

QUICK = TrainSettings(max_steps=2, batch_size=5, prompt_length=3, lr_prompt=0.1)


def trained(cache, runs, plm, dataset="shapes", **changes):
    (folder,) = start_runs(cache, runs, dataset, plm, replace(QUICK, **changes))
    finish_runs([folder], cache, plm, checkpoint_every=500, quiet=True)
    return folder


def rewrite(path, *, drop=(), tensors=None, settings=None, **entries):
    """Write a prompt's file again with other metadata, as its own JSON."""
    with safe_open(path, framework="pt") as file:
        held = tensors or {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = {name: text for name, text in file.metadata().items() if name not in drop}
    if settings is not None:
        entries["settings"] = json.loads(metadata["settings"]) | settings
    metadata |= {name: json.dumps(value) for name, value in entries.items()}
    path.write_bytes(sealed(held, metadata))


@pytest.fixture
def shared(questions_cache, tmp_path, plm):
    path = tmp_path / "shared.safetensors"
    write_prompt(path, load_prompt(trained(questions_cache, tmp_path / "runs", plm)))
    return path


def features(cache, **chosen):
    """Return the feature sets of the questions' images, as evaluation opens them."""
    return select(cache, "shapes", "val", InputChoice(features=chosen)).features


def test_a_finished_runs_own_file_says_all_that_answering_needs(shared, tmp_path, plm):
    prompt = load_prompt(shared)
    (folder,) = (tmp_path / "runs").glob("[0-9]*")
    own = load_prompt(folder / PROMPT)
    assert own.about == prompt.about
    assert torch.equal(own.parameters["prompt"], prompt.parameters["prompt"])
    about = prompt.about
    assert (about.name, about.dataset, about.task) == (folder.name, "shapes", "vqa")
    assert about.plm == plm.identity
    assert prompt.fusion == Fusion.of("promptfuse")
    assert prompt.fields == {"image": "pooler"}
    assert prompt.manifests["image"].identity["id"] == "small"


def test_modalities_keep_their_order_and_labels_theirs(sarcasm_cache, tmp_path, plm):
    folder = trained(sarcasm_cache, tmp_path / "runs", plm, "jokes", modalities=("video", "audio"))
    about = load_prompt(folder / PROMPT).about
    assert about.settings.modalities == ("video", "audio")
    assert about.labels == ("True", "False")


def test_what_fits_is_taken(shared, questions_cache, plm):
    prompt = load_prompt(shared)
    require_same_plm(prompt.about.name, prompt.about.plm, plm)
    require_same_features(prompt, features(questions_cache)["image"].manifest)


def test_another_language_model_is_refused(shared, plm):
    about, other = load_prompt(shared).about, small_bart(seed=1)
    expected = (
        f"was trained with small .*weights {plm.identity['weights_sha256']}.*, "
        f"not with small .*weights {other.identity['weights_sha256']}"
    )
    with pytest.raises(RunError, match=f"{expected}.* they differ in: weights$"):
        require_same_plm(about.name, about.plm, other)


@pytest.mark.parametrize(
    ("key", "word"), [("config_sha256", "configuration"), ("tokenizer_sha256", "tokenizer")]
)
def test_the_same_weights_set_up_otherwise_are_refused(shared, plm, key, word):
    """Half the heads, or other words, answer differently with the very same weights."""
    about, other = load_prompt(shared).about, small_bart()
    other.identity = {**plm.identity, key: "another"}
    with pytest.raises(RunError, match=f"they differ in: {word}$"):
        require_same_plm(about.name, about.plm, other)


def test_another_encoder_is_refused(shared, questions_cache):
    held = names_of("train", 5) + names_of("val", 2)
    fingerprint = write_features(questions_cache, "image", held, encoder="another")
    expected = f"of small, not on {fingerprint} of another; .* in: identity.id: .*another.*small"
    other = features(questions_cache, image=fingerprint)["image"].manifest
    with pytest.raises(RunError, match=expected):
        require_same_features(load_prompt(shared), other)


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"settings": {"pool": "max"}}, "settings.pool in .*shared.safetensors is 'max'; expected"),
        ({"settings": {"visibility": None}}, "settings.visibility in .* is None; expected 'full'"),
        ({"settings": {"lr_prompt": -1}}, "settings.lr_prompt in .* is -1; expected greater"),
        ({"settings": {"seed": 0.5}}, "settings.seed in .* is 0.5; expected a whole number"),
        ({"settings": {"method": "lora"}}, "unknown settings.method in .* 'lora'"),
        (
            {"settings": {"widht_fix": "pad"}},
            "unknown key in settings of .* 'widht_fix'.*mean 'width_fix'",
        ),
        ({"settings": {"prompt_length": 4}}, r"holds .*\(3, 16\).*speaks of .*\(4, 16\)"),
        ({"settings": {"train_norms": True}}, r"speaks of .*norm\.image\.weight"),
        ({"settings": {"modalities": ["audio"]}}, "does not say which audio features"),
        ({"labels": "yes"}, "labels in .* is 'yes'; expected a list"),
        ({"task": "label"}, r"shared.safetensors: labels is \[\], and the task is 'label'"),
        ({"task": "label", "labels": ["a", "a"]}, r"labels is \['a', 'a'\], .* equal"),
        ({"task": "label", "labels": ["a", " "]}, r"labels is \['a', ' '\], .* empty"),
        ({"labels": ["a"]}, r"labels is \['a'\], and the task is 'vqa'"),
        ({"format": 99}, "is of format 99, and this promptfuse reads up to format 1"),
        ({"format": -5}, "format in .* is -5; expected greater than 0"),
        ({"format": "1"}, "format in .* is '1'; expected a whole number"),
        ({"name": "../../planted"}, r"name is '\.\./\.\./planted', .* without its folder"),
        ({"name": "/root/planted"}, "name is '/root/planted', .* without its folder"),
        ({"name": ".."}, r"name is '\.\.', .* without its folder"),
        ({"name": ""}, "name is '', .* without its folder"),
        ({"plm": {"source": "x"}}, r"plm is \{'source': 'x'\}, .* which language model"),
        ({"encoders": {}}, "does not say which image features"),
        ({"encoders": {"image": {"field": "cls"}}}, r"shared.safetensors has no encoders\.image\."),
        ({"drop": ("task",)}, "shared.safetensors has no task"),
        ({"drop": ("format",)}, "shared.safetensors has no format"),
        ({"tensors": {"prompts": torch.zeros(3, 16)}}, "holds no prompt; .*: prompts"),
    ],
    ids=str,
)
def test_a_file_that_contradicts_itself_is_refused(shared, edits, message):
    rewrite(shared, **edits)
    with pytest.raises(RunError, match=message):
        load_prompt(shared)


def test_an_edited_manifest_is_refused(shared):
    encoders = json.loads(json.dumps(asdict(load_prompt(shared).about)["encoders"]))
    encoders["image"]["manifest"]["identity"]["id"] = "forged"
    rewrite(shared, encoders=encoders)
    with pytest.raises(ValueError, match=r"encoders\.image\.manifest: says fingerprint"):
        load_prompt(shared)


def test_a_manifest_of_other_features_is_refused(shared):
    encoders = json.loads(json.dumps(asdict(load_prompt(shared).about)["encoders"]))
    encoders["image"]["fingerprint"] = "0123456789abcdef"
    rewrite(shared, encoders=encoders)
    with pytest.raises(RunError, match="says image features '0123456789abcdef' and describes"):
        load_prompt(shared)


def test_another_programs_file_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"prompt": torch.zeros(3, 16)}, path, {"format": "pt"})
    with pytest.raises(RunError, match=r"other\.safetensors carries no sha256 of its content"):
        load_prompt(path)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.full((3, 16), torch.nan), r"prompt holds NaN in 48 of 48 places"),
        (torch.eye(3, 16) * torch.inf, r"prompt holds NaN in 48 of 48 places"),
        (torch.zeros(3, 16).index_fill(0, torch.tensor([1]), -torch.inf), r"infinity in 16 of 48"),
        (torch.zeros(3, 16, dtype=torch.int64), r"prompt is int64; expected float32"),
        (torch.zeros(3, 16, dtype=torch.float16), r"prompt is float16; expected float32"),
        (torch.zeros(3, 16, dtype=torch.float64), r"prompt is float64; expected float32"),
    ],
    ids=["nan", "nan and inf", "inf", "int64", "float16", "float64"],
)
def test_numbers_that_cannot_answer_are_refused(shared, tensor, message):
    rewrite(shared, tensors={"prompt": tensor})
    with pytest.raises(RunError, match=rf"shared\.safetensors: .*{message}"):
        load_prompt(shared)


def test_a_prompt_that_is_not_finite_is_not_written(shared, tmp_path):
    prompt = load_prompt(shared)
    broken = prompt.parameters["prompt"].clone()
    broken[1, 2] = torch.nan
    path = tmp_path / "broken.safetensors"
    with pytest.raises(RunError, match=r"broken.* not written: prompt holds NaN in 1 of 48 places"):
        write_prompt(path, replace(prompt, parameters={"prompt": broken}))
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, r"labels in its metadata is '\[{56}\.\.\., which is not JSON .*recursion"),
        ("{", r"labels in its metadata is '\{', which is not JSON"),
    ],
    ids=["nested", "cut short"],
)
def test_metadata_that_is_no_json_is_refused(shared, text, message):
    with safe_open(shared, framework="pt") as file:
        held, metadata = {"prompt": file.get_tensor("prompt")}, dict(file.metadata())
    shared.write_bytes(sealed(held, metadata | {"labels": text}))
    with pytest.raises(RunError, match=message):
        load_prompt(shared)


def test_no_changed_byte_of_a_prompt_is_taken(shared):
    """Every byte of the lengths, the header and the values, with two other values each."""
    content, before = shared.read_bytes(), load_prompt(shared)
    for place in range(len(content)):
        for change in (0x01, 0x80):
            shared.write_bytes(
                content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]
            )
            try:
                prompt = load_prompt(shared)
            except RunError as error:
                assert str(shared) in str(error), (place, change)  # noqa: PT017
            else:  # white space of the header
                assert prompt.about == before.about, (place, change)
                assert torch.equal(prompt.parameters["prompt"], before.parameters["prompt"])


@pytest.mark.parametrize("size", [0, 7, 8, 100])
def test_a_prompt_cut_short_is_refused(shared, size):
    shared.write_bytes(shared.read_bytes()[:size])
    with pytest.raises(RunError, match=r"shared\.safetensors is damaged"):
        load_prompt(shared)
