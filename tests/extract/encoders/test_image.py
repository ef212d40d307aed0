import numpy as np
import pytest

from promptfuse.errors import EncoderError, MediumTooLarge, MediumUnreadable
from promptfuse.extract.encoders import EncoderOptions
from promptfuse.extract.encoders.image import TowerEncoder
from promptfuse.extract.media import Image, Waveform


class MeanTower:
    """The mean colour as features; it records the size of each batch."""

    parallel = 1

    def __init__(self, *, side: int | None = 4) -> None:
        self.side = side
        self.sizes: list[int] = []

    def transform(self, pixels: np.ndarray) -> np.ndarray:
        if 1 in pixels.shape[:2]:
            raise ValueError("height and width must be above 1")
        return pixels[: self.side, : self.side].astype(np.float32)

    def forward(
        self, batch: np.ndarray, fields: tuple[str, ...], mask: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        assert mask is None
        self.sizes.append(len(batch))
        return {name: batch.mean((1, 2)).astype(np.float16) for name in fields}


def encoder_of(tower: MeanTower, *, shortest_side: int | None = None) -> TowerEncoder:
    return TowerEncoder(
        lambda: tower,
        modality="image",
        options=EncoderOptions(),
        identity={"id": "mean"},
        provenance={},
        shapes={"pooler": (3,)},
        shortest_side=shortest_side,
    )


def flat(value: int, *, height: int = 5, width: int = 6) -> Image:
    return Image(np.full((height, width, 3), value, np.uint8))


def test_no_forward_pass_takes_more_than_a_batch():
    tower = MeanTower()
    encoder = encoder_of(tower)
    items = [encoder.prepare(flat(value)) for value in range(7)]
    rows = encoder.encode(items, batch_size=3)
    assert tower.sizes == [3, 3, 1]
    assert [row["pooler"].tolist() for row in rows] == [[float(v)] * 3 for v in range(7)]


def test_an_image_that_scaling_would_blow_up_is_refused_before_it_is_scaled():
    encoder = encoder_of(MeanTower(), shortest_side=224)
    encoder.prepare(flat(0, height=10, width=1000))
    with pytest.raises(MediumTooLarge, match=r"60000 x 2 pixels.*1,505,280,000 pixels"):
        encoder.prepare(flat(0, height=2, width=60_000))


def test_what_preprocessing_refuses_is_that_mediums_fault():
    with pytest.raises(MediumUnreadable, match=r"6 x 1 pixels cannot be preprocessed.*above 1"):
        encoder_of(MeanTower()).prepare(flat(0, height=1))


def test_preprocessing_without_a_fixed_size_is_explained():
    encoder = encoder_of(MeanTower(side=None))
    items = [encoder.prepare(flat(0)), encoder.prepare(flat(0, width=9))]
    with pytest.raises(EncoderError, match=r"different sizes, \[\(5, 6, 3\), \(5, 9, 3\)\]"):
        encoder.encode(items, batch_size=2)


def test_sound_is_not_looked_at():
    with pytest.raises(TypeError, match="Waveform"):
        encoder_of(MeanTower()).prepare(Waveform(np.zeros(4, np.float32), 16_000))
