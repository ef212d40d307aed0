"""A hub id's revision: taken where it is typed, recorded, and taken again by what follows."""

import json

import pytest
from typer.testing import CliRunner

from promptfuse.cli import app
from promptfuse.errors import PretrainedError
from promptfuse.pretrained import resolve
from promptfuse.train.record import read_record
from promptfuse.train.runs.folders import run_folders

from ..extract.media_files import write_image
from ..extract.tiny_models import save_tower
from ..train.small_bart import save_small_bart
from ..train.small_cache import names_of, write_features, write_sarcasm

HUB = "owner/bart"
MAIN, TAGGED = "a" * 40, "b" * 40
QUICK = ("--max-steps", "2", "--prompt-length", "3", "--plm", HUB)


@pytest.fixture
def refs(tmp_path, monkeypatch):
    """Give the refs of a hub id of two commits in the local cache: main, and the tag v1."""
    monkeypatch.chdir(tmp_path)
    write_sarcasm(tmp_path / "pf" / "cache")
    write_features(tmp_path / "pf" / "cache", "video", names_of("train", 12) + names_of("test", 6))
    repository = tmp_path / "hub" / "models--owner--bart"
    for seed, commit in enumerate((MAIN, TAGGED)):
        save_small_bart(repository / "snapshots" / commit, seed=seed)
    refs = repository / "refs"
    refs.mkdir()
    (refs / "main").write_text(MAIN)
    (refs / "v1").write_text(TAGGED)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return refs


def pfcli(*arguments, code=0):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def records(tmp_path):
    return [read_record(folder) for folder in run_folders(tmp_path / "pf" / "runs")]


def test_a_run_keeps_the_commit_of_its_language_model(refs, tmp_path):
    pfcli("train", *QUICK)
    pfcli("train", *QUICK, "--plm-revision", "v1")
    assert [record.plm["revision"] for record in records(tmp_path)] == [MAIN, TAGGED]
    assert [record.settings.plm_revision for record in records(tmp_path)] == [None, "v1"]
    (refs / "v1").write_text(MAIN)  # the tag has moved; each run goes on with its own commit
    (refs / "main").write_text(TAGGED)
    for number in ("1", "2"):
        assert "on jokes's split 'test'" in pfcli("eval", number)


def test_a_sweep_can_vary_it(refs, tmp_path):
    pfcli("sweep", "--method", "promptfuse", "--set", "plm_revision=none,v1", "--set", f"plm={HUB}",
          "--set", "max_steps=1", "--set", "prompt_length=2", "--shots", "4")  # fmt: skip
    assert {record.plm["revision"] for record in records(tmp_path)} == {MAIN, TAGGED}


def test_an_unknown_revision_and_one_of_a_folder_are_refused(refs, tmp_path):
    with pytest.raises(PretrainedError, match=r"'owner/bart' at revision 'v9' is neither a folder"):
        resolve(HUB, revision="v9")
    with pytest.raises(PretrainedError, match=r"is a folder, which has no revision 'v1'"):
        resolve(str(tmp_path), revision="v1")


def test_params_reads_it(refs, tmp_path):
    (tmp_path / "hub/models--owner--bart/snapshots" / TAGGED / "config.json").write_text(
        '{"model_type": "bart", "d_model": 24}'
    )
    assert "(width 16)" in pfcli("params", "--plm", HUB)
    assert "(width 24)" in pfcli("params", "--plm", HUB, "--plm-revision", "v1")


def test_extract_takes_it_for_each_encoder(refs, tmp_path):
    towers = refs.parents[1] / "models--owner--vit"
    for seed, commit in enumerate((MAIN, TAGGED)):
        save_tower(towers / "snapshots" / commit, seed=seed)
    (towers / "refs").mkdir()
    (towers / "refs" / "main").write_text(MAIN)
    (towers / "refs" / "v1").write_text(TAGGED)
    write_image(tmp_path / "a.png", size=(40, 30))
    (tmp_path / "data.csv").write_text("id,text,answer,image\n1,What?,cat,a.png\n")
    rows = ("extract", "--dataset", "mine", "--data", "data.csv", "--encoder", "owner/vit")
    pfcli(*rows)
    pfcli(*rows, "--encoder-revision", "image=v1")
    manifests = [
        json.loads(path.read_text())
        for path in sorted((tmp_path / "pf/cache/features/image").glob("*/manifest.json"))
    ]
    assert {manifest["identity"]["revision"] for manifest in manifests} == {MAIN, TAGGED}
    assert len({manifest["identity"]["weights_sha256"] for manifest in manifests}) == 2
