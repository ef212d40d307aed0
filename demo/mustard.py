"""Write clips of a talking face with utterances, in MUStARD's layout."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import ClassVar, Literal

import av
import numpy as np
from tqdm import tqdm

from . import words
from .media import SAMPLE_RATE_HZ, SIZE, draw_face, move_face, render_face, render_voice
from .words import Mood

FRAMES_PER_SECOND = 8
TEST_SHOW = "FRIENDS"
TRAIN_SHOWS = ("BBT", "GOLDENGIRLS", "SARCASMOHOLICS")
SPEAKERS = ("ALEX", "KIM", "NOA", "ROBIN", "SASHA")
Bearer = Literal["face", "voice"]
BEARERS: tuple[Bearer, Bearer] = ("face", "voice")
# About balanced, and not alike: the majority in training is the minority in the test.
SARCASTIC_SHARE = {"train": 0.55, "test": 0.45}


@dataclass(frozen=True)
class Clip:
    """One utterance and how it is delivered; it is sarcastic if the two disagree.

    The delivery stands in the face or in the voice; the other is neutral, so that both are needed.
    """

    id: str
    show: str
    words: Mood
    delivery: Mood
    bearer: Bearer

    @property
    def sarcastic(self) -> bool:
        """Whether the delivery belies the words."""
        return self.words != self.delivery


@dataclass(frozen=True)
class Mustard:
    """How many clips each split has."""

    unit: ClassVar = "clip"
    train: int = 640
    test: int = 200

    def write(self, root: Path, seed: int) -> None:
        """Write the clips, on a thread a core, then `sarcasm_data.json`."""
        folder = root / "utterances_final"
        folder.mkdir()
        clips = self.plan(seed)

        def write(clip: Clip) -> None:
            write_clip(folder / f"{clip.id}.mp4", clip, Random(f"clip/{clip.id}/{seed}"))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            written = pool.map(write, clips)
            list(tqdm(written, folder.name, len(clips), unit=self.unit, disable=None))
        rng = Random(f"mustard/text/{seed}")
        text = json.dumps({clip.id: _annotation(clip, rng) for clip in clips}, indent=1)
        (root / "sarcasm_data.json").write_text(text, encoding="utf-8")

    def plan(self, seed: int) -> list[Clip]:
        """Return all clips, shuffled.

        In each class half of the words are positive, and of either half every other delivery
        stands in the face, so that neither words, nor face, nor voice say anything about the class
        alone.
        """
        rng = Random(f"mustard/plan/{seed}")
        clips: list[Clip] = []
        for split, share in SARCASTIC_SHARE.items():
            test, count = split == "test", getattr(self, split)
            for number in range(count):
                said = words.MOODS[number % 2]
                meant = words.MOODS[(number + (number < round(count * share))) % 2]
                show = TEST_SHOW if test else rng.choice(TRAIN_SHOWS)
                bearer = BEARERS[number // 2 % 2]
                clips.append(Clip(f"{1 + test}_{number + 1}", show, said, meant, bearer))
        rng.shuffle(clips)
        return clips


def _annotation(clip: Clip, rng: Random) -> dict[str, object]:
    """Return a clip's entry in `sarcasm_data.json`."""
    speaker, other = rng.sample(SPEAKERS, 2)
    return {
        "utterance": words.utter(clip.words, rng),
        "speaker": speaker,
        "context": [words.open_talk(rng)],
        "context_speakers": [other],
        "show": clip.show,
        "sarcasm": clip.sarcastic,
    }


def write_clip(path: Path, clip: Clip, rng: Random) -> None:
    """Write one mp4 of H.264 and AAC: a face and a voice of which one carries the delivery."""
    sign = 1 if clip.delivery == "positive" else -1
    rise = {name: sign * rng.uniform(0.7, 1.0) if name == clip.bearer else 0.0 for name in BEARERS}
    count = rng.choice((8, 10))
    face = draw_face(rng, rise["face"] + rng.uniform(-0.1, 0.1))
    frames = [render_face(move_face(face, i / (count - 1), rng), rng) for i in range(count)]
    seconds = count / FRAMES_PER_SECOND
    voice = render_voice(rise["voice"] + rng.uniform(-0.1, 0.1), seconds, rng)
    write_mp4(path, frames, voice)


def write_mp4(path: Path, frames: list[np.ndarray], voice: np.ndarray) -> None:
    """Write frames [64, 64, 3] uint8 and a waveform [S] float32 to a file, bit for bit."""
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        video.width, video.height, video.pix_fmt = SIZE, SIZE, "yuv420p"
        video.thread_count = 1
        video.options = {"preset": "ultrafast", "crf": "18", "flags": "+bitexact"}
        sound = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        sound.bit_rate = 48_000
        sound.options = {"flags": "+bitexact"}
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAMES_PER_SECOND)
            container.mux(video.encode(frame))
        block = av.AudioFrame.from_ndarray(voice[None], format="fltp", layout="mono")
        block.sample_rate, block.pts = SAMPLE_RATE_HZ, 0
        block.time_base = Fraction(1, SAMPLE_RATE_HZ)
        container.mux(sound.encode(block))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
