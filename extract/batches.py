"""A batch of prepared media → their features, whatever one of them does."""

import numpy as np

from ..errors import EncoderError, MediumError, PromptFuseError
from .datasets.ingest import MediumRef
from .encoders.base import Encoder, Row
from .prepare import as_medium_error

#: Media that share a batch, each prepared or with the reason why it cannot be.
Batch = list[tuple[MediumRef, np.ndarray | MediumError]]


def encode_batch(encoder: Encoder, batch: Batch, batch_size: int) -> list[Row | MediumError]:
    """Return each prepared medium's row, or what is wrong with it where a batch cannot be encoded.

    Raises:
        EncoderError: If the blank cannot be encoded either: then it is no medium's fault.
    """
    items = [prepared for _, prepared in batch if isinstance(prepared, np.ndarray)]
    try:
        return [*encoder.encode(items, batch_size=batch_size)] if items else []
    except PromptFuseError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever one medium does, the others go on
        try:
            encode_blank(encoder)
        except Exception:  # noqa: BLE001
            kind = type(error).__name__
            raise EncoderError(
                f"the {encoder.modality} encoder fails, with its blank input too: {kind}: {error}"
            ) from error
    return [_row(encoder, item, batch_size) for item in items]


def _row(encoder: Encoder, item: np.ndarray, batch_size: int) -> Row | MediumError:
    try:
        return encoder.encode([item], batch_size=batch_size)[0]
    except Exception as error:  # noqa: BLE001
        return as_medium_error(error)


def encode_blank(encoder: Encoder) -> Row:
    """Return the features of no signal."""
    return encoder.encode([encoder.blank()], batch_size=max(1, encoder.blank_steps))[0]
