import json
import subprocess
import sys
from pathlib import Path

import pytest

from promptfuse.errors import ConfigError, EncoderError, UnknownName, UnsafeWeights
from promptfuse.extract.encoders import ENCODERS, EncoderOptions, load_encoder

from ..tiny_models import save_listener, save_tower


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(UnknownName, match="unknown modality 'smell'; choose one of: audio, image"):
        load_encoder("smell", "x")  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        UnknownName, match="family 'tinn'; choose one of: open_clip, pixels, samples"
    ):
        load_encoder("image", "tinn:vit")
    with pytest.raises(UnknownName, match="compute dtype 'int8'; choose one of: bfloat16"):
        EncoderOptions(compute_dtype="int8")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UnknownName, match="storage dtype 'bfloat16'; choose one of: float16"):
        EncoderOptions(storage_dtype="bfloat16")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("spec", ["", "  ", "open_clip:"])
def test_an_encoder_needs_a_name(spec: str):
    with pytest.raises(ConfigError, match=f"encoder '{spec}': a hub id"):
        load_encoder("image", spec)


@pytest.mark.parametrize("fields", [(), ("cls", "cls")])
def test_fields_are_different_names(fields: tuple[str, ...]):
    with pytest.raises(ConfigError, match="one or more different names"):
        EncoderOptions(fields=fields)


def test_an_encoder_must_fit_the_modality(tmp_path: Path):
    tower, listener = save_tower(tmp_path / "vit"), save_listener(tmp_path / "wav2vec2")
    with pytest.raises(EncoderError, match="'vit' model and cannot encode audio"):
        load_encoder("audio", str(tower))
    with pytest.raises(EncoderError, match="'wav2vec2' model and cannot encode video"):
        load_encoder("video", str(listener))


def test_the_family_may_be_spelled_out(tmp_path: Path):
    folder = save_tower(tmp_path / "vit")
    spelled = load_encoder("image", f"transformers:{folder}")
    assert spelled.identity == load_encoder("image", str(folder)).identity
    assert sorted(ENCODERS) == ["open_clip", "pixels", "samples", "timm", "transformers"]


def test_a_model_that_needs_its_own_code_is_refused(tmp_path: Path):
    folder = save_tower(tmp_path / "vit")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('this code must not run')")
    with pytest.raises(UnsafeWeights, match="'vit' needs code from its own folder"):
        load_encoder("image", str(folder))


def test_a_language_model_is_not_an_image_tower(tmp_path: Path):
    import transformers

    config = transformers.BertConfig(
        vocab_size=16,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "preprocessor_config.json").write_text("{}")
    with pytest.raises(EncoderError, match="'bert' cannot be loaded"):
        load_encoder("image", str(tmp_path / "bert"))


def test_identity_and_fields_are_known_without_torch(tmp_path: Path):
    script = (
        "import sys\n"
        "from promptfuse.extract.encoders import load_encoder\n"
        f"tower = {str(save_tower(tmp_path / 'v'))!r}\n"
        f"listener = {str(save_listener(tmp_path / 'w'))!r}\n"
        "for modality in ('image', 'video'): load_encoder(modality, tower).identity\n"
        "encoder = load_encoder('audio', listener)\n"
        "assert encoder.identity and encoder.fields and encoder.decoding\n"
        "heavy = {'torch', 'transformers', 'open_clip', 'torchvision'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
