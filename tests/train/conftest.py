from pathlib import Path

import pytest

from .small_bart import small_bart
from .small_cache import names_of, write_features, write_questions, write_sarcasm


@pytest.fixture(scope="session")
def plm():
    return small_bart()


@pytest.fixture
def sarcasm_cache(tmp_path: Path) -> Path:
    cache = tmp_path / "cache"
    write_sarcasm(cache)
    for modality in ("video", "audio"):
        write_features(cache, modality, names_of("train", 12) + names_of("test", 6))
    return cache


@pytest.fixture
def questions_cache(tmp_path: Path) -> Path:
    cache = tmp_path / "cache"
    write_questions(cache)
    write_features(cache, "image", names_of("train", 5) + names_of("val", 2))
    return cache
