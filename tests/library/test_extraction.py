from dataclasses import replace

import pytest

from promptfuse.extract.settings import ExtractSettings
from promptfuse.library import extraction
from promptfuse.library.extraction import provide_generated
from promptfuse.library.workspace import Workspace
from promptfuse.train.settings import InputChoice

from ..train.small_cache import names_of, write_features, write_sarcasm

NAMES = names_of("train", 12) + names_of("test", 6)
BOTH = ("video", "audio")


@pytest.fixture
def workspace(tmp_path):
    return Workspace(cache=tmp_path, dataset="demo-mustard")


@pytest.fixture
def extracted(monkeypatch):
    asked = []

    def extract(workspace, settings):
        asked.append(settings)
        write_sarcasm(workspace.cache, name=workspace.dataset)

    monkeypatch.setattr(extraction, "extract", extract)
    return asked


def test_a_dataset_that_is_not_there_is_made(workspace, extracted):
    list(provide_generated(workspace, ()))
    list(provide_generated(workspace, ()))
    assert extracted == [ExtractSettings()]


def test_only_what_is_missing_is_extracted(workspace, extracted, tmp_path):
    write_sarcasm(tmp_path, name="demo-mustard")
    for modality in BOTH:
        write_features(tmp_path, modality, NAMES)
    usual, live = InputChoice(), InputChoice(live=True)
    other = InputChoice(modalities=("video",), fields={"video": "cls"})
    list(provide_generated(workspace, [usual]))
    assert extracted == []
    list(provide_generated(workspace, [usual, live, other]))
    assert extracted == [
        ExtractSettings(modality=BOTH, encoder={"video": "pixels", "audio": "samples"}),
        ExtractSettings(modality=("video",), fields={"video": "cls"}),
    ]


def test_what_was_interrupted_is_extracted_again(workspace, extracted, tmp_path):
    write_sarcasm(tmp_path, name="demo-mustard")
    write_features(tmp_path, "video", NAMES)
    write_features(tmp_path, "audio", NAMES[:5])
    list(provide_generated(workspace, [InputChoice()]))
    assert extracted == [ExtractSettings(modality=BOTH)]


def test_nothing_of_another_dataset_is_extracted(workspace, extracted, tmp_path):
    list(provide_generated(replace(workspace, dataset="jokes"), [InputChoice()]))
    list(provide_generated(replace(workspace, data=str(tmp_path)), [InputChoice()]))
    assert extracted == []
