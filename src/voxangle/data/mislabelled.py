"""Recordings some of which are said to be of another speaker, to see what wrong labels do to a training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from voxangle.audio import Waveform
from voxangle.data.batches import LabelledRecordings
from voxangle.data.manifest import SCHEMA, Manifest
from voxangle.data.sampler import Rows
from voxangle.errors import CorpusError

__all__ = ["Mislabelled"]


@dataclass(frozen=True, eq=False)
class Mislabelled:
    """Recordings whose labels have partly been exchanged among them; audio and all else stay as they are.

    Every speaker is said to have as many recordings as she has.

    Attributes:
        manifest: with the wrong speakers.
        wrong: shape (utterances,), true where the speaker is not the one who speaks.
    """

    manifest: Manifest
    wrong: NDArray[np.bool_]
    _recordings: LabelledRecordings

    @classmethod
    def of(cls, recordings: LabelledRecordings, share: float, *, seed: int = 0) -> Mislabelled:
        """Exchange the labels of a share of the recordings; those of a smaller share are among them.

        Args:
            recordings: with their true speakers.
            share: of the recordings, in [0, 1].
            seed: of the draw.

        Raises:
            CorpusError: so many labels cannot be exchanged, because more than half of them are one speaker's.
        """
        random = np.random.default_rng(seed)
        labels = recordings.manifest.labels()
        chosen = random.permutation(labels.size)[: round(share * labels.size)]
        given = _exchanged(labels[chosen], random)
        wrong = np.zeros(labels.size, bool)
        wrong[chosen] = True
        names = recordings.manifest.column("speaker").astype(object)
        names[chosen] = np.array(recordings.manifest.speakers(), object)[given]
        table = recordings.manifest.table.set_column(
            SCHEMA.get_field_index("speaker"), "speaker", pa.array(names, pa.string())
        )
        return cls(Manifest(table, recordings.manifest.root), wrong, recordings)

    @property
    def true_manifest(self) -> Manifest:
        """With the speakers who speak."""
        return self._recordings.manifest

    @property
    def samples(self) -> Rows:
        """Shape (utterances,), int64; the length of each recording at 16 kHz."""
        return self._recordings.samples

    def read(self, row: int, first: int = 0, samples: int | None = None) -> Waveform:
        """Samples [first, first + samples) of a recording, to its end where ``samples`` is None."""
        return self._recordings.read(row, first, samples)

    def where(self, keep: NDArray[np.bool_]) -> Mislabelled:
        """The recordings whose entry in ``keep``, shape (utterances,), is true, in their order."""
        return Mislabelled(self.manifest.where(keep), self.wrong[keep], self._recordings.where(keep))


def _exchanged(labels: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """The labels in another order, none of them where it was or where the same one was."""
    if labels.size and 2 * np.bincount(labels).max() > labels.size:
        raise CorpusError(
            f"the labels of {labels.size} recordings cannot be exchanged: more than half of them are of one speaker; "
            "change data.swapped_labels, or train on more speakers"
        )
    given = random.permutation(labels)
    for here in np.flatnonzero(given == labels).tolist():
        if given[here] == labels[here]:  # still
            # Who may change places with it: always someone, as no speaker has more than half of the labels.
            able = np.flatnonzero((given != labels[here]) & (labels != labels[here]))
            there = random.choice(able)
            given[[here, there]] = given[[there, here]]
    return given
