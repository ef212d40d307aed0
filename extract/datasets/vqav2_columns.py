"""VQAv2's questions and annotations as columns, where both are in one order, as the official ones.

What is otherwise is `Irregular`: `vqav2` then reads it one by one, or says what is wrong.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow.compute import binary_join_element_wise, utf8_lpad  # pyright: ignore[reportAttributeAccessIssue]

from ...cache.example_batches import BATCH_ROWS, path_column
from .annotations import Irregular, stream_batches
from .spool import batch_saying

_TEXT = pa.large_string()
_IDS = {"question_id": pa.int64(), "image_id": pa.int64()}
_ASKED = pa.struct({**_IDS, "question": _TEXT})
_SAID = pa.struct(
    {
        **_IDS,
        **dict.fromkeys(("multiple_choice_answer", "answer_type", "question_type"), _TEXT),
        "answers": pa.list_(pa.struct({"answer": _TEXT})),
    }
)


def split_batches(
    questions: Path, annotations: Path | None, image: str
) -> Iterator[pa.RecordBatch]:
    """Yield a split's examples as a spool holds them; the images' paths begin with `image`."""
    ids: list[np.ndarray] = []
    said = iter(())
    if annotations is not None:
        said = _in_rows(stream_batches(annotations, "annotations", _SAID))
    for asked in _in_rows(stream_batches(questions, "questions", _ASKED)):
        ids.append(asked["question_id"].to_numpy())
        columns = _asked(asked, image)
        if annotations is not None:
            columns |= _said(asked, next(said, None))
        yield batch_saying(asked.num_rows, columns)
    every = np.sort(np.concatenate(ids or [[]]))
    if not len(every) or (every[1:] == every[:-1]).any() or next(said, None) is not None:
        raise Irregular


def _in_rows(objects: Iterable[pa.StructArray]) -> Iterator[pa.RecordBatch]:
    """Yield objects as columns of `BATCH_ROWS` rows, the last of fewer."""
    held, count = [], 0
    for part in objects:
        held.append(part)
        count += len(part)
        if count >= BATCH_ROWS:
            joined = pa.concat_arrays(held)
            whole = count - count % BATCH_ROWS
            for start in range(0, whole, BATCH_ROWS):
                yield pa.RecordBatch.from_struct_array(joined[start : start + BATCH_ROWS])
            held, count = [joined[whole:]], count - whole
    if count:
        yield pa.RecordBatch.from_struct_array(pa.concat_arrays(held))


def _asked(asked: pa.RecordBatch, image: str) -> dict[str, pa.Array]:
    """Return what questions say, by column."""
    numbers = asked["image_id"]
    if (numbers.to_numpy() < 0).any():  # its sign stands before the zeros
        raise Irregular
    digits = utf8_lpad(numbers.cast(_TEXT), 12, "0")
    start, end, between = (pa.scalar(text, _TEXT) for text in (image, ".jpg", ""))
    return {
        "id": asked["question_id"].cast(_TEXT),
        "text": asked["question"],
        path_column("image"): binary_join_element_wise(start, digits, end, between),
    }


def _said(asked: pa.RecordBatch, said: pa.RecordBatch | None) -> dict[str, pa.Array]:
    """Return what the annotations of these questions say, by column."""
    if said is None or not all(said[name].equals(asked[name]) for name in _IDS):
        raise Irregular
    lists = said["answers"]
    (answers,) = lists.flatten().flatten()
    offsets = lists.offsets.to_numpy().astype(np.int64)
    if answers.null_count or not np.diff(offsets).all():
        raise Irregular
    return {
        "answer": said["multiple_choice_answer"],
        "answers": pa.LargeListArray.from_arrays(offsets - offsets[0], answers),
        "answer_type": said["answer_type"],
        "question_type": said["question_type"],
    }
