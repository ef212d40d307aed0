import pytest
from transformers import BartConfig, ViTConfig, ViTModel

from promptfuse.commands.params import run_params
from promptfuse.errors import PretrainedError
from promptfuse.train.settings import ParamsSettings


def test_table_1(capsys):
    """86M and 180M, 0.59M, 1.18M, 15,360: the paper's counts at the paper's sizes."""
    counts = run_params(
        ParamsSettings(
            plm="bart-base", encoder="vit-base", audio_encoder="wav2vec2-base", prompt_length=20
        )
    )
    image, both = counts.pop("finetune")
    assert (image, both) == (86_389_248, 86_389_248 + 94_371_712)
    assert counts == {
        "promptfuse": [15_360] * 2,
        "blindprompt": [15_360] * 2,
        "blackimage": [15_360] * 2,
        "noprompt": [0] * 2,
        "linear": [590_592] * 2,
        "jointproj": [1_180_416] * 2,
    }
    assert "590,592" in capsys.readouterr().out


def test_another_width():
    counts = run_params(
        ParamsSettings(
            plm="bart-large", encoder="vit-base", audio_encoder="wav2vec2-base", prompt_length=5
        )
    )
    assert counts["promptfuse"][0] == 5 * 1024
    assert counts["jointproj"][0] == 2 * 1024 * 1024 + 1024


def test_folders_are_read_by_their_configuration_alone(tmp_path):
    small = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=32)
    small.save_pretrained(tmp_path / "vit")
    BartConfig(d_model=24).save_pretrained(tmp_path / "bart")
    counts = run_params(
        ParamsSettings(
            plm=str(tmp_path / "bart"),
            encoder=str(tmp_path / "vit"),
            audio_encoder="wav2vec2-base",
            prompt_length=2,
        )
    )
    weights = sum(weight.numel() for weight in ViTModel(small).parameters())
    assert counts["finetune"][0] == weights
    assert counts["promptfuse"] == [48, 48]


def test_what_is_no_model_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "nonsense"}')
    with pytest.raises(PretrainedError, match=r"config\.json cannot be used.*nonsense"):
        run_params(
            ParamsSettings(
                plm=str(tmp_path),
                encoder="vit-base",
                audio_encoder="wav2vec2-base",
                prompt_length=2,
            )
        )
