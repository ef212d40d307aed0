import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from promptfuse.errors import PretrainedError, UnsafeWeights
from promptfuse.pretrained import CONFIG_NAME, PROCESSOR_NAMES, Pretrained, resolve


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tower"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "vit", "hidden_size": 4}))
    save_file({"b": np.zeros(2, np.float32), "a": np.ones(3)}, folder / "model.safetensors")
    return folder


def test_a_local_folder_is_known_by_its_own_name_wherever_it_lies(folder: Path, tmp_path: Path):
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "tower")
    here, there = resolve(str(folder)), resolve(str(moved))
    assert (here.id, here.revision) == ("tower", None)
    assert (here.id, here.weights_sha256) == (there.id, there.weights_sha256)


def test_the_weights_hash_is_the_sha256_of_the_file(folder: Path):
    expected = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert resolve(str(folder)).weights_sha256 == expected


def test_tensor_names_come_from_the_header(folder: Path):
    assert resolve(str(folder)).tensor_names == {"a", "b"}


@pytest.mark.parametrize(
    "content", [b"", b"\x05", b"\xff" * 64, (4).to_bytes(8, "little") + b"{..}"]
)
def test_a_file_that_is_no_safetensors_file_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(PretrainedError, match=r"model\.safetensors: not a safetensors file"):
        _ = resolve(str(tmp_path)).tensor_names


def test_the_config_hash_ignores_where_a_checkpoint_came_from(folder: Path):
    before = resolve(str(folder)).config_sha256
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "transformers_version": "5.0", "architectures": ["X"]})
    )
    assert resolve(str(folder)).config_sha256 == before
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    assert resolve(str(folder)).config_sha256 != before


def test_sharded_weights_are_all_read(folder: Path):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    save_file({"c": np.zeros(1)}, folder / "model-00002-of-00002.safetensors")
    parts = {"a": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    assert resolve(str(folder)).tensor_names == {"a", "b", "c"}
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(PretrainedError, match="model-00002-of-00002"):
        _ = resolve(str(folder)).weights


def test_pickled_weights_are_refused(folder: Path):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnsafeWeights, match=r"only as pickle \(pytorch_model\.bin\)"):
        _ = resolve(str(folder)).weights


def test_a_folder_without_weights_is_named(folder: Path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(PretrainedError, match=r"'tower': no model\.safetensors"):
        _ = resolve(str(folder)).weights


@pytest.mark.parametrize("spec", ["/no/such/folder", "./vit", "a/b/c", "owner/na me"])
def test_a_path_that_is_not_there_is_not_taken_for_a_hub_id(spec: str):
    with pytest.raises(PretrainedError, match=f"'{spec}': no such folder"):
        resolve(spec)


@pytest.mark.parametrize("spec", ["1" * 5000, "~nobody-of-this-name/vit"])
def test_what_can_name_no_folder_is_refused(spec: str):
    with pytest.raises(PretrainedError, match=f"model '{spec[:20]}.*: no folder's name"):
        resolve(spec)


def test_a_hub_id_that_cannot_be_fetched_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(PretrainedError, match="run `hf download nobody/no-such-tower`"):
        resolve("nobody/no-such-tower")


def test_a_hub_id_in_the_local_cache_needs_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "hub" / "models--owner--tower" / "snapshots" / commit
    shutil.copytree(folder, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(commit)
    (snapshot / "preprocessor_config.json").write_text("{}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    found = resolve("owner/tower")
    assert (found.id, found.revision, found.model_type) == ("owner/tower", commit, "vit")
    (snapshot / "preprocessor_config.json").unlink()  # a copy made for another purpose
    with pytest.raises(
        PretrainedError, match=r"no preprocessor_config\.json.*hf download owner/tower"
    ):
        resolve("owner/tower").processor("image_processor")


def test_a_cached_configuration_needs_no_weights_beside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
):
    (folder / "preprocessor_config.json").write_text("{}")
    (folder / "model.safetensors").unlink()
    asked = []

    def snapshot_download(hub_id: str, *, local_files_only: bool = False, **_: object) -> str:
        if local_files_only:
            return str(folder)
        asked.append(hub_id)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    for patterns in ((CONFIG_NAME, *PROCESSOR_NAMES), (CONFIG_NAME,)):
        assert resolve("owner/tower", patterns=patterns).folder == folder
    assert not asked
    assert resolve("owner/tower").folder == tmp_path  # with weights


def test_a_repository_with_pickles_alone_is_refused(tmp_path: Path):
    with pytest.raises(UnsafeWeights, match=r"'owner/tower': the copy .* has no model\.safet"):
        _ = Pretrained(folder=tmp_path, id="owner/tower", revision="abc").weights


def test_preprocessing_may_be_nested_in_a_processor_file(folder: Path):
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": {"size": 3}}))
    assert resolve(str(folder)).processor("image_processor") == {"size": 3}
    with pytest.raises(PretrainedError, match=r"no preprocessor_config\.json"):
        resolve(str(folder)).processor("feature_extractor")


def test_a_config_that_is_not_json_is_named(folder: Path):
    (folder / "config.json").write_text("{")
    with pytest.raises(PretrainedError, match=r"config\.json: not JSON"):
        _ = resolve(str(folder)).config


def test_the_tokenizer_hash_follows_vocabulary_and_configuration_and_nothing_else(folder: Path):
    with pytest.raises(PretrainedError, match="holds no tokenizer; expected one of: tokenizer"):
        _ = resolve(str(folder)).tokenizer_sha256
    (folder / "vocab.json").write_text('{"a": 0}')
    words = resolve(str(folder)).tokenizer_sha256
    (folder / "merges.txt").write_text("a b")
    assert resolve(str(folder)).tokenizer_sha256 != words
    (folder / "tokenizer.json").write_text("{}")
    whole = resolve(str(folder)).tokenizer_sha256
    (folder / "vocab.json").unlink()  # tokenizer.json says all that it said
    assert resolve(str(folder)).tokenizer_sha256 == whole
    (folder / "tokenizer_config.json").write_text('{"transformers_version": "5.0"}')
    assert resolve(str(folder)).tokenizer_sha256 == whole
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert resolve(str(folder)).tokenizer_sha256 != whole
