"""What every definition of the features is: a module from waveforms to log-mel energies that hears no padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor, nn

from voxangle.config import Config
from voxangle.features.padding import padding_mask

__all__ = ["BaseFilterbank", "BaseFilterbankConfig"]


class BaseFilterbankConfig(Config):
    """Settings that every definition has.

    Attributes:
        definition: whose definition of log-mel energies, a name in ``FILTERBANKS``.
        bins: number of mel filters.
        subtract_mean: subtract from each bin its mean over the recording (cepstral mean normalisation), which
            cancels a fixed channel.
    """

    definition: str
    bins: int = Field(default=80, ge=1, le=1024)
    subtract_mean: bool = True


class BaseFilterbank(nn.Module):
    """Base of the filterbanks: log-mel energies of a batch of waveforms, in float32 under any autocast.

    Args:
        config: the settings.

    Attributes:
        config: the settings.
        shortest: the fewest samples of a waveform.
        needs: that, in words.
    """

    config: BaseFilterbankConfig
    shortest: int
    needs: str

    if TYPE_CHECKING:

        def __call__(self, waveforms: Tensor, samples: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
            """Log-mel energies (B, F, bins), and how many frames of each row are real; see ``forward``."""
            ...

    def forward(self, waveforms: Tensor, samples: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Log-mel energies, and how many frames of each row are real.

        Args:
            waveforms: (B, T) in [-1, 1] at 16 kHz, T >= ``shortest``.
            samples: (B,) integers, the length of each row before padding, in samples; None if none is padded.

        Returns:
            features: (B, F, bins) float32, F = ``frames_of(T)``; exactly zero beyond a row's frames. What stands in
                the padding of ``waveforms`` changes nothing.
            frames: (B,) integers, ``frames_of(samples)``; None if ``samples`` is None.

        Raises:
            ValueError: a row is shorter than ``shortest``, or ``samples`` exceeds T.
        """
        if waveforms.shape[-1] < self.shortest:
            raise ValueError(f"a waveform of {waveforms.shape[-1]} samples is shorter than {self.needs}")
        if samples is not None and not torch.compiler.is_compiling():
            self._check_lengths(samples, waveforms.shape[-1])
        with torch.autocast(waveforms.device.type, enabled=False):
            features = self._log_mel(waveforms.float(), samples)
        if samples is None:
            if self.config.subtract_mean:
                features = features - features.mean(dim=1, keepdim=True)
            return features, None
        frames = self.frames_of(samples)
        padding = padding_mask(frames, features.shape[1]).unsqueeze(-1)
        features = features.masked_fill(padding, 0.0)
        if self.config.subtract_mean:
            mean = features.sum(dim=1, keepdim=True) / frames[:, None, None]
            features = (features - mean).masked_fill(padding, 0.0)
        return features, frames

    def frames_of(self, samples: Tensor) -> Tensor:
        """How many frames so many samples have."""
        raise NotImplementedError

    def _log_mel(self, waveforms: Tensor, samples: Tensor | None) -> Tensor:
        """(B, F, bins) of (B, T); what it returns beyond a row's frames does not matter."""
        raise NotImplementedError

    def _check_lengths(self, samples: Tensor, total: int) -> None:
        wrong = ((samples < self.shortest) | (samples > total)).nonzero()
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"row {row}: a length of {int(samples[row])} samples is outside {self.shortest} (it needs "
                f"{self.needs}) to {total} (the padded length)"
            )
