"""Noise made from nothing, for those who have no recordings of it."""

from __future__ import annotations

import numpy as np

from voxangle.audio import SAMPLE_RATE, Waveform

__all__ = ["coloured_noise"]


def coloured_noise(random: np.random.Generator, samples: int) -> Waveform:
    """Gaussian noise of a random colour, steady or swelling.

    Its power falls as 1 / frequency^b, b uniform in [-0.5, 2] (0 white, 1 pink, 2 brown), under up to three
    resonances of 6 to 20 dB; every second one swells and ebbs at up to 8 Hz. It is periodic in its length:
    repeating it makes no click.

    Args:
        random: source of the draws.
        samples: length, T; at least a second or so for the low frequencies to be there.

    Returns:
        Shape (T,), float32, at a peak of 1.
    """
    frequency = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    octaves = np.log2(np.maximum(frequency, 40.0))
    decibels = -3.0103 * random.uniform(-0.5, 2.0) * octaves
    for _ in range(random.integers(4)):
        centre, width = random.uniform(np.log2(60), np.log2(7000)), random.uniform(0.05, 0.8)
        decibels += random.uniform(6, 20) * np.exp(-(((octaves - centre) / width) ** 2))
    noise = _filtered(random, 10 ** ((decibels - decibels.max()) / 20) * (frequency > 0), samples)
    if random.random() < 0.5:
        swell = _filtered(random, np.exp(-((frequency / random.uniform(0.5, 8.0)) ** 2)), samples)
        noise = noise * np.exp(random.uniform(0.3, 1.2) * swell / swell.std())
    return np.asarray(noise / np.abs(noise).max(), np.float32)


def _filtered(
    random: np.random.Generator, gain: np.ndarray[tuple[int], np.dtype[np.float64]], samples: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    spectrum = random.standard_normal(len(gain)) + 1j * random.standard_normal(len(gain))
    return np.fft.irfft(gain * spectrum, samples)
