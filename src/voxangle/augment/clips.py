"""Many short recordings as one array, from which crops are gathered in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import torch

from voxangle.audio import SAMPLE_RATE, Waveform

__all__ = ["Clips", "pick"]

_SEAM = SAMPLE_RATE // 100


@dataclass(frozen=True)
class Clips:
    """Recordings end to end.

    Attributes:
        samples: shape (all samples,), int16, each clip at full scale; on the device that crops are wanted on.
        first: shape (clips,), int64, on the CPU; where each clip begins.
        lengths: shape (clips,), int64, on the CPU; its samples.
    """

    samples: torch.Tensor
    first: torch.Tensor
    lengths: torch.Tensor

    @classmethod
    def of(cls, waveforms: Sequence[Waveform]) -> Clips:
        """Clips from at least one waveform; each is scaled to its peak and closed to a loop.

        The last 10 ms are faded into the first, so that a crop may run over the end without a click.
        """
        loops = [_loop(waveform) for waveform in waveforms]
        scaled = [np.rint(loop * (32767 / max(float(np.abs(loop).max()), 1e-9))) for loop in loops]
        lengths = [len(loop) for loop in loops]
        return cls(
            torch.from_numpy(np.concatenate(scaled).astype(np.int16)),
            torch.tensor([0, *accumulate(lengths[:-1])]),
            torch.tensor(lengths),
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def to(self, device: torch.device) -> Clips:
        """The same clips with their samples on a device."""
        return replace(self, samples=self.samples.to(device))

    def crops(self, which: torch.Tensor, places: torch.Tensor, samples: int) -> torch.Tensor:
        """Crops of clips; one that is shorter than the crop is repeated.

        Args:
            which: shape (n,), int64, on the CPU; the clip of each crop.
            places: shape (n,), float64 in [0, 1), on the CPU; where it begins among the possible beginnings.
            samples: length of the crops, T.

        Returns:
            Shape (n, T), float32 in [-1, 1], on the device of the clips.
        """
        lengths = self.lengths[which]
        whole = lengths >= samples
        starts = pick(places, torch.where(whole, lengths - samples + 1, lengths))
        if whole.all():
            return self._straight(which, starts, samples)
        crops = torch.empty(len(which), samples, device=self.samples.device)
        for mask, read in ((whole, self._straight), (~whole, self._looped)):
            rows = torch.nonzero(mask)[:, 0]
            if len(rows):
                crops[rows.to(crops.device)] = read(which[rows], starts[rows], samples)
        return crops

    def _straight(self, which: torch.Tensor, starts: torch.Tensor, samples: int) -> torch.Tensor:
        # Rows of a view: no index a sample.
        first = (self.first[which] + starts).to(self.samples.device)
        return self.samples.unfold(0, samples, 1)[first].float().div_(32767)

    def _looped(self, which: torch.Tensor, starts: torch.Tensor, samples: int) -> torch.Tensor:
        columns = torch.stack([starts, self.lengths[which], self.first[which]])[..., None]
        starts, lengths, first = columns.to(self.samples.device)
        index = (starts + torch.arange(samples, device=first.device)) % lengths + first
        return self.samples[index].float().div_(32767)


def pick(places: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
    """Whole numbers in [0, count) from fractions in [0, 1), of any one shape; float64 to int64."""
    # The product of a fraction just below 1 may round up to the count itself.
    limit = torch.as_tensor(count) - 1
    return (places * count).long().minimum(limit)


def _loop(waveform: Waveform) -> Waveform:
    seam = min(_SEAM, len(waveform) // 2)
    if not seam:
        return waveform
    rise = np.linspace(0, 1, seam, dtype=np.float32)
    loop = waveform[:-seam].copy()
    loop[:seam] = rise * waveform[:seam] + (1 - rise) * waveform[-seam:]
    return loop
