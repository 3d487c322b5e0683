"""Recordings put together: those of several corpora in one row of rows, short ones end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE, Waveform
from voxangle.data.batches import LabelledRecordings
from voxangle.data.manifest import SCHEMA, Manifest
from voxangle.data.sampler import Rows

__all__ = ["Spliced", "join_short"]


@dataclass(frozen=True, eq=False)
class Spliced:
    """Rows that are made of one or more prepared recordings; nothing is copied.

    Attributes:
        manifest: a row has its first recording's key, file and start, all the seconds, and no session or language
            where its recordings differ in them.
        samples: shape (rows,), int64; the length of each at 16 kHz.
    """

    manifest: Manifest
    samples: Rows
    _sources: tuple[LabelledRecordings, ...]
    _pieces: Rows  # shape (pieces, 2), those of a row side by side: a source and a row in it
    _ends: Rows  # shape (rows,): one past the last piece of each row

    @classmethod
    def of(cls, sources: Sequence[LabelledRecordings], join_seconds: float | None = None) -> Spliced:
        """All recordings of the sources, in order; short ones joined where ``join_seconds`` says so.

        Raises:
            CorpusError: two sources share the key of an utterance.
        """
        manifest = Manifest.joined([source.manifest for source in sources])
        samples = np.concatenate([source.samples for source in sources])
        origin = np.concatenate(
            [
                np.stack([np.full(len(source.samples), number), np.arange(len(source.samples))], axis=1)
                for number, source in enumerate(sources)
            ]
        )
        if join_seconds is None:
            return cls(manifest, samples, tuple(sources), origin, np.arange(1, len(samples) + 1))
        rows = join_short(manifest, samples, round(join_seconds * SAMPLE_RATE))
        order, ends = np.concatenate(rows), np.cumsum([len(row) for row in rows])
        lengths = np.diff(np.cumsum(samples[order])[ends - 1], prepend=0)
        return cls(_manifest_of(manifest, rows, lengths), lengths, tuple(sources), origin[order], ends)

    def read(self, row: int, first: int = 0, samples: int | None = None) -> Waveform:
        """Samples [first, first + samples) of a row, to its end where ``samples`` is None.

        Raises:
            IndexError: the row has no such samples.
        """
        length = int(self.samples[row])
        last = length if samples is None else first + samples
        if not 0 <= first <= last <= length:
            raise IndexError(f"samples [{first}, {last}) are not within the {length} of row {row}")
        found = []
        for source, piece in self._pieces[self._ends[row - 1] if row else 0 : self._ends[row]].tolist():
            recordings = self._sources[source]
            here = int(recordings.samples[piece])
            begin, end = max(0, first), min(here, last)
            if begin < end:
                found.append(recordings.read(piece, begin, end - begin))
            first, last = first - here, last - here
        return found[0] if len(found) == 1 else np.concatenate([np.empty(0, np.float32), *found])

    def where(self, keep: NDArray[np.bool_]) -> Spliced:
        """The rows whose entry in ``keep``, shape (rows,), is true, in their order."""
        counts = np.diff(self._ends, prepend=0)
        pieces = self._pieces[np.repeat(keep, counts)]
        return Spliced(
            self.manifest.where(keep), self.samples[keep], self._sources, pieces, np.cumsum(counts[keep])
        )


def join_short(manifest: Manifest, samples: Rows, length: int) -> list[NDArray[np.int64]]:
    """Which recordings to join so that as few as can be are shorter than ``length``.

    Recordings shorter than ``length`` are taken in their order, speaker by speaker and channel by channel, until
    together they are not; what is left over at the end goes to the last that were joined, or stands alone. The
    others stay as they are. WeSpeaker prepares CN-Celeb to the same end, 5 s within speaker and genre, by Kaldi's
    ``choose_utts_to_combine``, which joins other neighbours.

    Args:
        manifest: whose speakers and channels count.
        samples: shape (utterances,), int64; the length of each.
        length: in samples.

    Returns:
        The rows of the manifest that make each new one, ascending, in the order of their first.
    """
    joined = [np.array([row]) for row in np.flatnonzero(samples >= length)]
    short: dict[tuple[str, str], list[int]] = {}
    names = zip(manifest.table["speaker"].to_pylist(), manifest.table["channel"].to_pylist(), strict=True)
    for row, (group, alone) in enumerate(zip(names, (samples >= length).tolist(), strict=True)):
        if not alone:
            short.setdefault(group, []).append(row)
    for rows in short.values():
        chains: list[list[int]] = [[]]
        total = 0
        for row in rows:
            chains[-1].append(row)
            total += int(samples[row])
            if total >= length:
                chains.append([])
                total = 0
        left_over = chains.pop()
        if chains:
            chains[-1] += left_over
        else:
            chains = [left_over]
        joined += [np.array(chain, np.int64) for chain in chains]
    return sorted(joined, key=lambda rows: int(rows[0]))


def _manifest_of(manifest: Manifest, rows: Sequence[NDArray[np.int64]], lengths: Rows) -> Manifest:
    table = manifest.table.take(pa.array([int(row[0]) for row in rows], pa.int64()))
    for name in ("session", "language"):
        values = manifest.table[name].to_pylist()
        shared = [
            first if all(values[i] == first for i in row) else ""
            for row in rows
            for first in [values[row[0]]]
        ]
        table = table.set_column(SCHEMA.get_field_index(name), name, pa.array(shared, pa.string()))
    seconds = pa.array(lengths / SAMPLE_RATE, pa.float64())
    return Manifest(table.set_column(SCHEMA.get_field_index("seconds"), "seconds", seconds), manifest.root)
