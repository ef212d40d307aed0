import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    BartForConditionalGeneration,
)

from promptfuse import demo
from promptfuse.demo import words

FOLDER = Path(demo.__file__).parent / "models"
MODELS = ("vit", "wav2vec2", "bart")


def model_path(name: str) -> Path:
    return FOLDER / name


def load(name: str):
    kind = BartForConditionalGeneration if name == "bart" else AutoModel
    return kind.from_pretrained(
        model_path(name), dtype=torch.float32, local_files_only=True, use_safetensors=True
    )


def test_all_models_are_small_and_only_safetensors() -> None:
    files = [path for name in MODELS for path in model_path(name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8_000_000
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".txt"}


@pytest.mark.parametrize("name", MODELS)
def test_model_loads_in_the_dtype_asked_for(name: str) -> None:
    model = load(name)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_config_has_the_shared_width(name: str) -> None:
    config = json.loads((model_path(name) / "config.json").read_text())
    assert config["d_model" if name == "bart" else "hidden_size"] == 128


def test_image_tower_takes_its_processors_output() -> None:
    processor = AutoImageProcessor.from_pretrained(model_path("vit"))
    pixels = np.zeros((80, 100, 3), np.uint8)
    inputs = processor(images=[pixels], return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 3, 64, 64)
    assert load("vit").eval()(**inputs).pooler_output.shape == (1, 128)


def test_sound_tower_takes_its_extractors_output() -> None:
    extractor = AutoFeatureExtractor.from_pretrained(model_path("wav2vec2"))
    inputs = extractor(np.zeros(16_000, np.float32), sampling_rate=16_000, return_tensors="pt")
    vectors = load("wav2vec2").eval()(**inputs).last_hidden_state
    assert vectors.shape[2] == 128
    assert 20 <= vectors.shape[1] <= 30


def test_answers_are_single_tokens_and_come_back() -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_path("bart"))
    answers = ["True", "False", "yes", "no", *words.COLORS, *words.SHAPES, *map(str, words.COUNTS)]
    for answer in answers:
        ids = tokenizer(answer)["input_ids"]
        assert len(ids) == 3, answer
        assert (ids[0], ids[2]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        assert tokenizer.decode(ids, skip_special_tokens=True) == answer


def test_tokenizer_keeps_any_text() -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_path("bart"))
    text = "Naïve Zoë asks: 3×4 = 12?"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_decoding_starts_as_bart_does() -> None:
    config = load("bart").config
    tokenizer = AutoTokenizer.from_pretrained(model_path("bart"))
    assert config.decoder_start_token_id == tokenizer.eos_token_id == 2
    assert load("bart").generation_config.forced_bos_token_id == tokenizer.bos_token_id == 0
    assert config.dropout == 0.0
