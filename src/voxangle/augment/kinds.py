"""The kinds of views, each with the bank it draws from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch

from voxangle.augment.babble import Talkers
from voxangle.augment.clips import Clips, pick
from voxangle.augment.mixing import mix_at_snr, reverberate
from voxangle.augment.telephone import over_telephone

__all__ = ["Added", "Babble", "Clean", "Draws", "Kind", "Reverb", "Telephone"]


@dataclass(frozen=True)
class Draws:
    """What chance decided for n views, on the CPU: float64 fractions in [0, 1).

    Attributes:
        level: shape (n,); place in the range of SNRs.
        crowd: shape (n,); place in the range of numbers of talkers.
        sources: shape (n, S, 3); for each source who, which recording, and where in it.
    """

    level: torch.Tensor
    crowd: torch.Tensor
    sources: torch.Tensor

    def of(self, rows: torch.Tensor) -> Draws:
        """The draws of some of the views."""
        return Draws(self.level[rows], self.crowd[rows], self.sources[rows])

    def snr(self, bounds: tuple[float, float]) -> torch.Tensor:
        """Levels within bounds, shape (n,), in dB."""
        return bounds[0] + self.level * (bounds[1] - bounds[0])


class Kind(Protocol):
    """Makes one view of each crop."""

    def __call__(self, crops: torch.Tensor, draws: Draws, labels: torch.Tensor | None) -> torch.Tensor:
        """Views of crops, shape (n, T) to (n, T); ``labels``, shape (n,), are the crops' speakers."""

    def to(self, device: torch.device) -> Kind:
        """The same kind with its bank on a device."""


@dataclass(frozen=True)
class Clean:
    """The crop itself."""

    def __call__(self, crops: torch.Tensor, draws: Draws, labels: torch.Tensor | None) -> torch.Tensor:  # noqa: ARG002
        """The crops as they are."""
        return crops

    def to(self, device: torch.device) -> Clean:  # noqa: ARG002
        """Itself: there is nothing to move."""
        return self


@dataclass(frozen=True)
class Reverb:
    """The crop in a room.

    Attributes:
        rooms: impulse responses, shape (rooms, L), as ``rooms.aligned`` gives them.
    """

    rooms: torch.Tensor

    def __call__(self, crops: torch.Tensor, draws: Draws, labels: torch.Tensor | None) -> torch.Tensor:  # noqa: ARG002
        """Each crop in a room of its own."""
        room = pick(draws.sources[:, 0, 1], len(self.rooms))
        return reverberate(crops, self.rooms[room.to(self.rooms.device)])

    def to(self, device: torch.device) -> Reverb:
        """The same rooms on a device."""
        return Reverb(self.rooms.to(device))


@dataclass(frozen=True)
class Added:
    """The crop with something added: a noise, or music.

    Attributes:
        clips: what is added.
        snr: range of the SNR, in dB.
    """

    clips: Clips
    snr: tuple[float, float]

    def __call__(self, crops: torch.Tensor, draws: Draws, labels: torch.Tensor | None) -> torch.Tensor:  # noqa: ARG002
        """Each crop with a clip of its own."""
        which = pick(draws.sources[:, 0, 1], len(self.clips))
        added = self.clips.crops(which, draws.sources[:, 0, 2], crops.shape[-1])
        return mix_at_snr(crops, added, draws.snr(self.snr))

    def to(self, device: torch.device) -> Added:
        """The same with its clips on a device."""
        return replace(self, clips=self.clips.to(device))


@dataclass(frozen=True)
class Babble:
    """The crop among talkers.

    Attributes:
        voices: who may talk.
        snr: range of the SNR of all talkers together, in dB.
        talkers: fewest and most.
    """

    voices: Talkers
    snr: tuple[float, float]
    talkers: tuple[int, int]

    def __call__(self, crops: torch.Tensor, draws: Draws, labels: torch.Tensor | None) -> torch.Tensor:
        """Each crop among talkers of its own, none of them its speaker."""
        fewest, most = self.talkers
        talkers = fewest + pick(draws.crowd, most - fewest + 1)
        babble = self.voices.babble(talkers, draws.sources, crops.shape[-1], labels)
        return mix_at_snr(crops, babble, draws.snr(self.snr))

    def to(self, device: torch.device) -> Babble:
        """The same with its voices on a device."""
        return replace(self, voices=self.voices.to(device))


@dataclass(frozen=True)
class Telephone:
    """The crop over a telephone's line, of either law as often."""

    def __call__(self, crops: torch.Tensor, draws: Draws, labels: torch.Tensor | None) -> torch.Tensor:  # noqa: ARG002
        """Each crop over a line of its own."""
        return over_telephone(crops, (draws.level < 0.5).to(crops.device))

    def to(self, device: torch.device) -> Telephone:  # noqa: ARG002
        """Itself: there is nothing to move."""
        return self
