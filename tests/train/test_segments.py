"""The stages of each method and pooling rule, by hand, and where training begins among them."""

from dataclasses import replace

import pytest
import torch

from promptfuse.train.fusion.methods import Fusion
from promptfuse.train.plm.frozen import Segment
from promptfuse.train.segments import embed, stages_of

from .small_plms import SMALL, embedded


@pytest.mark.parametrize(
    ("method", "changes", "modality", "frozen", "trained"),
    [
        ("promptfuse", {}, "video", "place mean scale", ""),
        ("promptfuse", {"pool": "before-norm"}, "audio", "mean place scale", ""),
        ("promptfuse", {"pool": "none"}, "video", "place scale", ""),
        ("promptfuse", {}, "image", "place scale", ""),
        ("promptfuse", {"train_norms": True}, "video", "place mean", "scale"),
        (
            "promptfuse",
            {"train_norms": True, "pool": "before-norm"},
            "video",
            "mean place",
            "scale",
        ),
        ("linear", {}, "audio", "", "project place mean scale"),
        ("linear", {"pool": "before-norm"}, "audio", "mean", "project place scale"),
        ("linear", {"pool": "none"}, "audio", "", "project place scale"),
        ("jointproj", {}, "image", "place mean scale", ""),
        ("jointproj", {"pool": "before-norm"}, "video", "mean place scale", ""),
        ("jointproj", {"pool": "none"}, "video", "place mean scale", ""),
        ("finetune", {}, "video", "place mean scale", ""),
    ],
)
def test_stages(method, changes, modality, frozen, trained):
    fusion = replace(Fusion.of(method), **changes)
    assert stages_of(fusion, modality) == (tuple(frozen.split()), tuple(trained.split()))


@pytest.mark.parametrize("family", list(SMALL))
def test_the_scale_of_a_mean_is_the_mean_of_the_scaled(family):
    """So that the mean can be taken once though the scale after it is trained."""
    plm = SMALL[family]()
    vectors = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1))
    present = torch.arange(5)[None] < torch.tensor([5, 2, 1])[:, None]
    pooled = embed(plm, Segment(vectors, present), ("place", "mean", "scale")).vectors
    whole = embedded(plm, vectors)
    for row, count in enumerate((5, 2, 1)):
        torch.testing.assert_close(pooled[row, 0], whole[row, :count].mean(dim=0))
