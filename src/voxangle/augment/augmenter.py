"""Views of crops: clean, in a room, in noise, among talkers, over music, over a telephone."""

from __future__ import annotations

import torch

from voxangle.augment.banks import Banks
from voxangle.augment.config import AugmentConfig
from voxangle.augment.kinds import Draws
from voxangle.errors import CorpusError

__all__ = ["Augmenter"]


class Augmenter:
    """Makes V views of every crop of a batch, on the device that the batch is on.

    Each view draws its kind by the weights of those kinds that have a bank. A batch takes a table of draws,
    one line a view, from a generator on the CPU: a view depends on its own line and crop only, not on the
    device, nor on what else is in the batch.

    Args:
        config: kinds, levels, number of views.
        banks: what ``build_banks`` gathered for this config.

    Raises:
        CorpusError: views are to be drawn, and no kind with a weight has a bank.
    """

    def __init__(self, config: AugmentConfig, banks: Banks) -> None:
        self._config = config
        self._banks = banks
        self.kinds = tuple(kind for kind in banks.kinds if getattr(config.kinds, kind))
        if config.drawn_views and not self.kinds:
            raise CorpusError(
                f"no kind of view is left to draw ({'; '.join(banks.notes)}); name the folders that they need, "
                "or give another kind a weight"
            )
        weights = [getattr(config.kinds, kind) for kind in self.kinds]
        self._edges = torch.tensor(weights, dtype=torch.float64).cumsum(0)

    def __call__(
        self,
        waveforms: torch.Tensor,
        generator: torch.Generator,
        labels: torch.Tensor | None = None,
        *,
        first_row: int = 0,
    ) -> torch.Tensor:
        """Views of crops.

        The SNR of a view is exact over the crop (``mixing.mix_at_snr``); views of other kinds than
        ``clean`` may leave [-1, 1].

        Args:
            waveforms: shape (B, T), float32.
            generator: on the CPU; source of every draw.
            labels: shape (B,), int64, numbers as ``prepared.manifest.labels()`` gives them; a babble then
                has no talker who is the speaker of the crop.
            first_row: where the crops begin in the global batch. With a generator seeded alike on all
                ranks, each rank gets the views that a single process would make of its rows.

        Returns:
            Shape (B, V, T); view 0 is the crop, bit by bit, where the config says ``clean_first``.
        """
        drawn = self._config.drawn_views
        if not drawn:
            return waveforms[:, None].clone()
        self._banks = self._banks.to(waveforms.device)
        numbers, draws = self._draw(first_row, first_row + len(waveforms), generator)
        views = waveforms.repeat_interleave(drawn, dim=0)
        speakers = None if labels is None else labels.cpu().repeat_interleave(drawn)
        for number, kind in enumerate(self.kinds):
            rows = torch.nonzero(numbers == number)[:, 0]
            if len(rows):
                here = rows.to(views.device)
                mine = None if speakers is None else speakers[rows]
                views[here] = self._banks.kinds[kind](views[here], draws.of(rows), mine)
        views = views.reshape(len(waveforms), drawn, -1)
        return torch.cat([waveforms[:, None], views], dim=1) if self._config.clean_first else views

    def _draw(self, first: int, last: int, generator: torch.Generator) -> tuple[torch.Tensor, Draws]:
        """The kinds' numbers and the draws of the views of rows [first, last)."""
        drawn, sources = self._config.drawn_views, self._config.babble_speakers[1]
        table = torch.rand(last * drawn, 3 + 3 * sources, generator=generator, dtype=torch.float64)
        kind, level, crowd, *rest = table[first * drawn :].unbind(1)
        numbers = torch.bucketize(kind * self._edges[-1], self._edges[:-1], right=True)
        return numbers, Draws(level, crowd, torch.stack(rest, 1).reshape(-1, sources, 3))
