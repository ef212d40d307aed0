"""Pictures of coloured shapes and of faces, as uint8 pixels; and voice-like tones."""

from dataclasses import dataclass, replace
from math import cos, pi, sin
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from .words import RGB, Scene

SIZE = 64
_OVERSAMPLE = 3
_CANVAS = (SIZE * _OVERSAMPLE, SIZE * _OVERSAMPLE)
SKINS = ((236, 188, 150), (198, 140, 100), (130, 84, 58), (250, 214, 90), (150, 200, 150))
_DARK = (25, 20, 20)
SAMPLE_RATE_HZ = 16_000

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Face:
    """A drawn face; `smile` runs from -1 (frown) over 0 (neutral) to 1, lengths are in pixels."""

    smile: float
    x: float
    y: float
    radius: float
    skin: Color
    background: Color
    eyes_open: float = 1.0


def draw_face(rng: Random, smile: float) -> Face:
    """Return a face of a given expression; place, size and colours are drawn at random."""
    radius = rng.uniform(20, 27)
    x, y = (rng.uniform(radius + 2, SIZE - radius - 2) for _ in range(2))
    skin = _jitter(rng.choice(SKINS), rng)
    background = (rng.randrange(20, 160), rng.randrange(20, 160), rng.randrange(20, 160))
    return Face(smile, x, y, radius, skin, background)


def move_face(face: Face, progress: float, rng: Random) -> Face:
    """Return the face a little later in its clip; `progress` runs from 0 to 1."""
    return replace(
        face,
        smile=face.smile * (0.7 + 0.3 * sin(pi * progress)),
        x=face.x + rng.uniform(-1, 1) + 2 * (progress - 0.5),
        y=face.y + rng.uniform(-1, 1),
        eyes_open=0.15 if rng.random() < 0.12 else 1.0,
    )


def render_face(face: Face, rng: Random) -> np.ndarray:
    """Return the pixels of a face: [64, 64, 3] uint8."""
    canvas = Image.new("RGB", _CANVAS, face.background)
    pen = ImageDraw.Draw(canvas)
    x, y, r = (length * _OVERSAMPLE for length in (face.x, face.y, face.radius))
    pen.ellipse(_box(x, y, r, r), fill=face.skin)
    for side in (-1, 1):
        eye = _box(x + side * 0.38 * r, y - 0.28 * r, 0.12 * r, 0.17 * r * face.eyes_open)
        pen.ellipse(eye, fill=_DARK)
        inner, outer = (
            (x + side * out * r, y - 0.55 * r + raised * r * face.smile)
            for out, raised in ((0.20, -0.10), (0.56, 0.10))
        )
        pen.line([inner, outer], fill=_DARK, width=max(int(0.08 * r), 3))
    depth = 0.42 * r * face.smile
    mouth = [
        (x + 0.55 * r * t, y + 0.42 * r + depth * (0.5 - t * t))
        for t in (i / 8 - 1 for i in range(17))
    ]
    pen.line(mouth, fill=(120, 20, 30), width=max(int(0.16 * r), 3), joint="curve")
    return _finish(canvas, rng)


def render_scene(scene: Scene, rng: Random) -> np.ndarray:
    """Return the pixels of a scene; places, sizes and the background are random: uint8."""
    grey = rng.randrange(20, 110)
    canvas = Image.new("RGB", _CANVAS, _jitter((grey, grey, grey), rng))
    pen = ImageDraw.Draw(canvas)
    cell, size = SIZE / 2, rng.uniform(8, 12)
    for place in rng.sample(range(4), scene.count):
        radius = size * rng.uniform(0.9, 1.1)
        slack = max(cell / 2 - radius - 1, 0)
        x, y = (cell * (at + 0.5) + rng.uniform(-slack, slack) for at in (place % 2, place // 2))
        x, y, r = (length * _OVERSAMPLE for length in (x, y, radius))
        color = _jitter(RGB[scene.color], rng)
        if scene.shape == "circle":
            pen.ellipse(_box(x, y, r, r), fill=color)
        elif scene.shape == "triangle":
            angles = (0, 2 * pi / 3, -2 * pi / 3)
            pen.polygon([(x + 1.1 * r * sin(a), y - 1.1 * r * cos(a)) for a in angles], fill=color)
        else:  # a square, or the two bars of a cross
            for w, h in [(0.85, 0.85)] if scene.shape == "square" else [(1, 0.33), (0.33, 1)]:
                pen.rectangle(_box(x, y, w * r, h * r), fill=color)
    return _finish(canvas, rng)


def _box(x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
    """Return the corners of what reaches `w` and `h` to either side of its middle."""
    return x - w, y - h, x + w, y + h


def _finish(canvas: Image.Image, rng: Random) -> np.ndarray:
    """Return the canvas at its final size, with a little sensor noise: uint8."""
    pixels = np.asarray(canvas.reduce(_OVERSAMPLE), dtype=np.int16)
    noise = np.random.default_rng(rng.getrandbits(32)).integers(-5, 6, pixels.shape, dtype=np.int16)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def _jitter(color: Color, rng: Random) -> Color:
    """Return a colour near the given one."""
    r, g, b = (min(max(c + rng.randrange(-14, 15), 0), 255) for c in color)
    return r, g, b


def render_voice(rise: float, seconds: float, rng: Random) -> np.ndarray:
    """Return a tone of several harmonics with syllables and breath: [S] float32 in -1..1.

    `rise` runs from -1 (the pitch falls) over 0 (it stays) to 1 (it rises); pitch, range, timbre,
    rhythm, loudness and noise are drawn at random.
    """
    samples = round(seconds * SAMPLE_RATE_HZ)
    noise = np.random.default_rng(rng.getrandbits(32))
    t = np.arange(samples) / samples
    octaves = rng.uniform(0.55, 0.95) * rise
    wobble = 0.015 * np.sin(2 * np.pi * (rng.uniform(3, 6) * seconds * t + rng.random()))
    pitch_hz = rng.uniform(110, 240) * 2 ** (octaves * (t - 0.5) + wobble)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    tilt = rng.uniform(0.9, 1.6)
    tone = sum(np.sin(h * phase + rng.random()) / h**tilt for h in range(1, 7))
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * (rng.uniform(2.5, 4.5) * seconds * t + rng.random()))
    edges = np.minimum(1, np.minimum(t, 1 - t) * seconds / 0.04)
    wave = tone * syllables * edges
    wave = wave / np.abs(wave).max() + rng.uniform(0.005, 0.04) * noise.standard_normal(samples)
    return np.clip(rng.uniform(0.3, 0.8) * wave, -1, 1).astype(np.float32)
