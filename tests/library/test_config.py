from pathlib import Path

import pytest

from promptfuse.errors import ConfigError, UnknownName
from promptfuse.extract.settings import ExtractSettings
from promptfuse.library.workspace import ConfigFile
from promptfuse.settings import read_settings
from promptfuse.train.settings import TrainSettings
from promptfuse.train.sweep.grid import text_value


def written(folder, text):
    (folder / "promptfuse.toml").write_text(text)
    return ConfigFile.read(folder)


def test_no_file_gives_the_defaults(tmp_path):
    config = ConfigFile.read(tmp_path)
    assert not config.values
    assert config.settings("train", TrainSettings) == TrainSettings()
    assert config.workspace().cache == Path("pf/cache")


def test_the_command_line_overrides_the_file(tmp_path):
    config = written(
        tmp_path,
        'dataset = "mine"\ncache = "c"\n[train]\nmethod = "blackimage"\nshots = 8\nlr_prompt = 1\n'
        'modalities = ["video"]\n[extract.encoder]\nvideo = "open_clip:ViT-B-32"\n',
    )
    settings = config.settings("train", TrainSettings, shots=16)
    assert (settings.method, settings.shots, settings.lr_prompt) == ("blackimage", 16, 1)
    assert settings.modalities == ("video",)
    assert config.workspace(cache="other").cache == Path("other")
    assert config.workspace().dataset == "mine"
    extract = config.settings("extract", ExtractSettings)
    assert extract.encoder == {"video": "open_clip:ViT-B-32"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shots = 3", "'shots'; choose one of: bench, cache, compact, convert, data"),
        ("[train]\nshot = 3", r"'shot'; choose one of:.*; did you mean 'shots'\?"),
        ('[train]\nmodalities = ["smell"]', r"unknown modalities in \[train\] of .* 'smell'"),
        ('[train]\nmethod = "promptfus"', r"'promptfus'; choose .*; did you mean 'promptfuse'\?"),
    ],
)
def test_unknown_keys(tmp_path, text, message):
    with pytest.raises(UnknownName, match=message):
        written(tmp_path, text).settings("train", TrainSettings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train", r"promptfuse\.toml is not TOML"),
        ('[train]\nshots = "many"', "shots in .* is 'many'; expected a whole number"),
        ("[train]\nshots = true", "shots in .* is True"),
        ('[train]\nwidth_fix = "cut"', "'cut'; expected 'none', 'pad' or 'orthogonal'"),
        ('[train]\nmodalities = "video"', "'video'; expected a list"),
        (
            "[train]\nlr_prompt = 0.0",
            r"lr_prompt in .* is 0\.0; expected greater than 0",
        ),
        ("[train]\nseeds = 0", r"seeds in \[train\] of .* is 0; expected greater than 0"),
        ("[train]\nlr_other = nan", "lr_other in .* is nan; expected a finite number"),
        ("[train]\nseed = -1", "seed in .* is -1; expected greater than or equal to 0"),
        ("[train]\nthreads = 0", "threads in .* is 0"),
        ('[train]\npool = "after_norm"', "pool in .* is 'after_norm'; expected 'after-norm'"),
    ],
)
def test_wrong_values(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        written(tmp_path, text).settings("train", TrainSettings)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"frames": 4, "fps": 2.0}, ConfigError, r"here: frames=4 and fps=2\.0 exclude"),
        ({"encoder": {"smell": "x"}}, UnknownName, "unknown encoder in here 'smell'"),
        ({"encoder": {"video": 3}}, ConfigError, "encoder in here is 3; expected a text"),
        ({"batch_size": 0}, ConfigError, "batch_size in here is 0"),
    ],
)
def test_extract_settings(values, error, message):
    with pytest.raises(error, match=message):
        read_settings(ExtractSettings, values, "here")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("prompt_length", "5", 5),
        ("prompt_length", "none", None),
        ("shots", "512", 512),
        ("width_fix", "none", "none"),
        ("plm", "12", "12"),
        ("modalities", "video+audio", ("video", "audio")),
        ("fields", "image:cls+video:pooler", {"image": "cls", "video": "pooler"}),
    ],
)
def test_a_setting_written_as_text_gets_its_type(key, text, value):
    assert text_value(key, text, "here") == value


def test_text_that_is_no_value_of_its_type_is_named():
    with pytest.raises(
        ConfigError, match=r"prompt_length in here is 2\.5; expected a whole number"
    ):
        text_value("prompt_length", "2.5", "here")
    with pytest.raises(UnknownName, match="unknown key in here 'size'"):
        text_value("size", "3", "here")
