"""Adding noise at an exact level, and reverberation by FFT, on any device."""

from __future__ import annotations

import torch

__all__ = ["DIRECT_PATH", "mix_at_snr", "power", "reverberate", "smooth_size"]

DIRECT_PATH = 40
"""Where an impulse response has its direct path, in samples: what a band-limited one needs to rise (2.5 ms)."""


def power(waveforms: torch.Tensor) -> torch.Tensor:
    """Mean square of each waveform, shape (..., T) to (..., 1)."""
    # In one pass, without an array of squares.
    norm: torch.Tensor = torch.linalg.vector_norm(waveforms, dim=-1, keepdim=True)
    return norm.square() / waveforms.shape[-1]


def mix_at_snr(waveforms: torch.Tensor, noises: torch.Tensor, snr: torch.Tensor) -> torch.Tensor:
    """Waveforms plus noises, scaled so that 10 log10(power(waveform) / power(noise)) is exactly ``snr``.

    Both powers are means over the whole crop, its pauses included. The waveform itself is not changed:
    the sum may leave [-1, 1] and is not clipped. A silent waveform or a silent noise leaves the waveform
    as it is.

    Args:
        waveforms: shape (B, T).
        noises: shape (B, T).
        snr: shape (B,), in dB.

    Returns:
        Shape (B, T).
    """
    noise_power = power(noises)
    wanted = power(waveforms) * torch.pow(10.0, -snr[:, None].to(waveforms) / 10)
    gain = torch.where(noise_power > 0, wanted / noise_power.clamp_min(_SMALLEST), 0.0).sqrt()
    return torch.addcmul(waveforms, gain, noises)


def reverberate(waveforms: torch.Tensor, responses: torch.Tensor) -> torch.Tensor:
    """Waveforms convolved with impulse responses, at the power they had.

    The direct path of a response stands at ``DIRECT_PATH``; the result begins there, so that what is said
    stays where it was in the crop. Before the crop there is silence: its reverberation is not heard.

    Args:
        waveforms: shape (B, T).
        responses: shape (B, L).

    Returns:
        Shape (B, T).
    """
    samples = waveforms.shape[-1]
    size = smooth_size(samples + responses.shape[-1] - 1)
    spectra = torch.fft.rfft(waveforms, size) * torch.fft.rfft(responses, size)
    wet: torch.Tensor = torch.fft.irfft(spectra, size)[..., DIRECT_PATH : DIRECT_PATH + samples]
    wet_power = power(wet)
    gain = torch.where(wet_power > 0, power(waveforms) / wet_power.clamp_min(_SMALLEST), 0.0).sqrt()
    return gain * wet


_SMALLEST = torch.finfo(torch.float32).tiny


def smooth_size(size: int) -> int:
    """The least number from ``size`` on without a prime factor above 5: lengths that FFTs are fast at."""
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1
