"""Run as a program: an extraction of images by a plain encoder, in a process of its own."""

import json
import sys
from pathlib import Path

from promptfuse.extract.datasets.ingest import MediumRef
from promptfuse.extract.pipeline import extract_features

sys.path.insert(0, str(Path(__file__).parent))
from plain_encoders import PlainEncoder

cache, said = Path(sys.argv[1]), json.loads(sys.argv[2])
media = [MediumRef(bytes.fromhex(key), Path(path), frozenset({"image"})) for key, path in said]
extract_features(media, {"image": PlainEncoder("image")}, cache, workers=2, progress=False)
