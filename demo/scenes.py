"""Drawings: coloured shapes and faces, as uint8 pixels."""

from dataclasses import dataclass, replace
from math import cos, pi, sin
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from .words import Scene

SIZE = 64
_OVERSAMPLE = 3
RGB = {
    "red": (214, 40, 40),
    "green": (46, 160, 67),
    "blue": (40, 88, 220),
    "yellow": (240, 208, 40),
    "purple": (150, 50, 180),
    "white": (240, 240, 240),
}
SKINS = ((236, 188, 150), (198, 140, 100), (130, 84, 58), (250, 214, 90), (150, 200, 150))


@dataclass(frozen=True)
class Face:
    """A drawn face; `smile` runs from -1 (frown) over 0 (neutral) to 1, lengths are in pixels."""

    smile: float
    x: float
    y: float
    radius: float
    skin: tuple[int, int, int]
    background: tuple[int, int, int]
    eyes_open: float = 1.0


def draw_face(rng: Random, smile: float) -> Face:
    """Return a face of a given expression; place, size and colours are drawn at random."""
    radius = rng.uniform(20, 27)
    return Face(
        smile=smile,
        x=rng.uniform(radius + 2, SIZE - radius - 2),
        y=rng.uniform(radius + 2, SIZE - radius - 2),
        radius=radius,
        skin=_jitter(rng.choice(SKINS), rng),
        background=(rng.randrange(20, 160), rng.randrange(20, 160), rng.randrange(20, 160)),
    )


def move_face(face: Face, progress: float, rng: Random) -> Face:
    """Return the face a little later in its clip; `progress` runs from 0 to 1."""
    strength = 0.7 + 0.3 * sin(pi * progress)
    return replace(
        face,
        smile=face.smile * strength,
        x=face.x + rng.uniform(-1, 1) + 2 * (progress - 0.5),
        y=face.y + rng.uniform(-1, 1),
        eyes_open=0.15 if rng.random() < 0.12 else 1.0,
    )


def render_face(face: Face, rng: Random) -> np.ndarray:
    """Return the pixels of a face: [64, 64, 3] uint8."""
    canvas, pen = _canvas(face.background)
    k, r = _OVERSAMPLE, face.radius * _OVERSAMPLE
    x, y = face.x * k, face.y * k
    pen.ellipse((x - r, y - r, x + r, y + r), fill=face.skin)
    for side in (-1, 1):
        ex, ey, w, h = x + side * 0.38 * r, y - 0.28 * r, 0.12 * r, 0.17 * r * face.eyes_open
        pen.ellipse((ex - w, ey - h, ex + w, ey + h), fill=(25, 20, 20))
        inner, outer = -0.10 * r * face.smile, 0.10 * r * face.smile
        brow = [
            (x + side * 0.20 * r, y - 0.55 * r + inner),
            (x + side * 0.56 * r, y - 0.55 * r + outer),
        ]
        pen.line(brow, fill=(25, 20, 20), width=max(int(0.08 * r), 3))
    steps = [i / 8 - 1 for i in range(17)]
    depth = 0.42 * r * face.smile
    mouth = [(x + 0.55 * r * t, y + 0.42 * r + depth * (0.5 - t * t)) for t in steps]
    pen.line(mouth, fill=(120, 20, 30), width=max(int(0.16 * r), 3), joint="curve")
    return _finish(canvas, rng)


def render_scene(scene: Scene, rng: Random) -> np.ndarray:
    """Return the pixels of a scene; places, sizes and the background are random: uint8."""
    grey = rng.randrange(20, 110)
    background = tuple(min(max(grey + rng.randrange(-14, 15), 0), 255) for _ in range(3))
    canvas, pen = _canvas((background[0], background[1], background[2]))
    cell, size = SIZE / 2, rng.uniform(8, 12)
    for place in rng.sample(range(4), scene.count):
        radius = size * rng.uniform(0.9, 1.1)
        slack = max(cell / 2 - radius - 1, 0)
        x = cell * (place % 2 + 0.5) + rng.uniform(-slack, slack)
        y = cell * (place // 2 + 0.5) + rng.uniform(-slack, slack)
        color = _jitter(RGB[scene.color], rng)
        _shape(pen, scene.shape, x * _OVERSAMPLE, y * _OVERSAMPLE, radius * _OVERSAMPLE, color)
    return _finish(canvas, rng)


def _shape(
    pen: ImageDraw.ImageDraw, shape: str, x: float, y: float, r: float, color: tuple[int, int, int]
) -> None:
    """Draw one shape around (x, y)."""
    if shape == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=color)
    elif shape == "triangle":
        angles = (0, 2 * pi / 3, -2 * pi / 3)
        pen.polygon([(x + 1.1 * r * sin(a), y - 1.1 * r * cos(a)) for a in angles], fill=color)
    else:  # a square, or the two bars of a cross
        for w, h in [(0.85, 0.85)] if shape == "square" else [(1, 0.33), (0.33, 1)]:
            pen.rectangle((x - w * r, y - h * r, x + w * r, y + h * r), fill=color)


def _canvas(color: tuple[int, int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return an oversampled canvas and its pen."""
    canvas = Image.new("RGB", (SIZE * _OVERSAMPLE, SIZE * _OVERSAMPLE), color)
    return canvas, ImageDraw.Draw(canvas)


def _finish(canvas: Image.Image, rng: Random) -> np.ndarray:
    """Return the canvas at its final size, with a little sensor noise: uint8."""
    pixels = np.asarray(canvas.reduce(_OVERSAMPLE), dtype=np.int16)
    noise = np.random.default_rng(rng.getrandbits(32)).integers(-5, 6, pixels.shape, dtype=np.int16)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def _jitter(color: tuple[int, int, int], rng: Random) -> tuple[int, int, int]:
    """Return a colour near the given one."""
    r, g, b = (min(max(c + rng.randrange(-14, 15), 0), 255) for c in color)
    return r, g, b
