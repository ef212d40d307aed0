"""Sounds: a voice-like tone whose pitch rises, stays or falls."""

from random import Random

import numpy as np

SAMPLE_RATE_HZ = 16_000


def render_voice(rise: float, seconds: float, rng: Random) -> np.ndarray:
    """Return a tone of several harmonics with syllables and breath: [S] float32 in -1..1.

    Args:
        rise: from -1 (the pitch falls) over 0 (it stays) to 1 (it rises).
        seconds: the length.
        rng: draws pitch, range, timbre, rhythm, loudness and noise.
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
