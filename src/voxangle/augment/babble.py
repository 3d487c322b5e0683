"""Babble: several other people talking at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from voxangle.augment.clips import Clips, pick
from voxangle.augment.mixing import power

__all__ = ["Talkers"]


@dataclass(frozen=True)
class Talkers:
    """Speech of known speakers to make babble of.

    Attributes:
        clips: recordings, those of one speaker side by side.
        speakers: shape (speakers,), int64, ascending, on the CPU; the label of each.
        first: shape (speakers,), int64; the first clip of each.
        counts: shape (speakers,), int64; its clips.
    """

    clips: Clips
    speakers: torch.Tensor
    first: torch.Tensor
    counts: torch.Tensor

    @classmethod
    def of(cls, clips: Clips, labels: np.ndarray[Any, np.dtype[np.int64]]) -> Talkers:
        """Talkers from clips and the speaker of each, shape (clips,), int64, ascending."""
        columns = np.unique(labels, return_index=True, return_counts=True)
        return cls(clips, *(torch.from_numpy(column) for column in columns))

    def to(self, device: torch.device) -> Talkers:
        """The same talkers with their samples on a device."""
        return replace(self, clips=self.clips.to(device))

    def babble(
        self, talkers: torch.Tensor, draws: torch.Tensor, samples: int, labels: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Sums of crops of different speakers, each crop at unit power (a silent one stays silent).

        Args:
            talkers: shape (n,), int64, at most K; how many talk. Where fewer speakers are to be had, they all do.
            draws: shape (n, K, 3), float64 in [0, 1): speaker, clip, and beginning of the crop.
            samples: length, T.
            labels: shape (n,), int64; a speaker who must not be among the talkers.

        Returns:
            Shape (n, T), float32, on the device of the clips.
        """
        total = len(self.speakers)
        # Drawing without replacement: a place among the speakers left, moved past those that are taken.
        taken = self._number(labels)[:, None] if labels is not None else torch.empty(len(draws), 0).long()
        free = total - (taken < total).sum(1)
        talkers = talkers.minimum(free)
        # The largest crowds first: the rows that still get a talker in a turn stand together.
        order = talkers.argsort(descending=True)
        mix = torch.zeros(len(draws), samples, device=self.clips.samples.device)
        for turn in range(int(talkers.max())):
            speaker = pick(draws[:, turn, 0], (free - turn).clamp_min(1))
            for other in taken.sort(dim=1).values.unbind(1):
                speaker += speaker >= other
            taken = torch.cat([taken, speaker[:, None]], dim=1)
            rows = order[: int((talkers > turn).sum())]
            chosen = speaker[rows]
            clip = self.first[chosen] + pick(draws[rows, turn, 1], self.counts[chosen])
            crops = self.clips.crops(clip, draws[rows, turn, 2], samples)
            level = power(crops)
            mix[: len(rows)].addcmul_(crops, torch.where(level > 0, level, 1.0).rsqrt())
        return mix[order.argsort().to(mix.device)]

    def _number(self, labels: torch.Tensor) -> torch.Tensor:
        """Where each label stands among the speakers; their number where it does not."""
        place = torch.searchsorted(self.speakers, labels)
        known = self.speakers[place.clamp_max(len(self.speakers) - 1)] == labels
        return torch.where(known, place, len(self.speakers))
