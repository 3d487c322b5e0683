"""What was measured against what is tolerated: a row an utterance, the worst of each kind first."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from voxangle.data.prepare import Prepared
from voxangle.errors import CorpusError, nearest
from voxangle.quality.duplicates import Duplicate, find_duplicates
from voxangle.quality.labels import doubt_labels
from voxangle.quality.survey import survey
from voxangle.storage import atomic_write

__all__ = ["KINDS", "Kind", "Limits", "Quality", "check_quality"]

_HEARD_ENOUGH = 0.3  # seconds


@dataclass(frozen=True)
class Limits:
    """What is tolerated; the names are those of ``--limit NAME=VALUE``.

    Attributes:
        doubt: of a label, see ``doubt_labels``; at most, in [-2, 2].
        correlation: of two waveforms; from here on they are one recording, in (0, 1].
        above_4khz: the least energy above 4 kHz against that below, in dB.
        clipping: the largest share of samples in flat tops.
        silence: the largest share of frames that do not sound.
        offset: the largest distance of the mean from 0, full scale being 1.
        quietest: the least level in dB of full scale.
        shortest: the least seconds of sounding frames.
        longest: the most seconds.
    """

    doubt: float = 0.2
    correlation: float = 0.8
    above_4khz: float = -45.0
    clipping: float = 1e-3
    silence: float = 0.85
    offset: float = 5e-3
    quietest: float = -45.0
    shortest: float = 0.5
    longest: float = 60.0

    @classmethod
    def read(cls, options: Iterable[str]) -> Limits:
        """The defaults, but for what ``NAME=VALUE`` says; the last of several counts.

        Raises:
            CorpusError: there is no such limit, or the value is not a finite number.
        """
        given = {}
        for option in options:
            name, _, value = option.partition("=")
            known = [field.name for field in fields(cls)]
            if name not in known:
                raise CorpusError(f"--limit {option}: there is no limit '{name}'{nearest(name, known)}")
            try:
                given[name] = float(value)
            except ValueError:
                given[name] = math.nan
            if not math.isfinite(given[name]):
                raise CorpusError(
                    f"--limit {option}: write --limit {name}=NUMBER, such as {name}={getattr(cls, name):g}"
                )
        return cls(**given)


@dataclass(frozen=True)
class Kind:
    """One way in which a recording is doubtful.

    Attributes:
        name: of its column.
        what: in words; what follows a colon is the lesser.
        measure: the column that says how much.
        limit: which of ``Limits`` it is held against.
        when: the limit in words.
        worst_is_high: whether more of it is worse.
    """

    name: str
    what: str
    measure: str
    limit: str
    when: str
    worst_is_high: bool = True


KINDS = (
    Kind(
        "wrong_label",
        "sounds like another speaker",
        "doubt",
        "doubt",
        "nearer to another speaker by more than {:g} (cosine)",
    ),
    Kind(
        "duplicate",
        "the same recording twice",
        "correlation",
        "correlation",
        "correlation of the waveforms at least {:g}",
    ),
    Kind(
        "narrow_band",
        "nothing above 4 kHz: upsampled 8 kHz, or telephone",
        "above_4khz",
        "above_4khz",
        "above 4 kHz less than {:g} dB of what is below",
        False,
    ),
    Kind("clipped", "clipped", "clipping", "clipping", "more than {:.2%} of the samples in flat tops"),
    Kind("mostly_silence", "mostly silence", "silence", "silence", "more than {:.0%} of the frames"),
    Kind(
        "offset_far", "mean far from zero: DC offset", "offset_size", "offset", "more than {:g} of full scale"
    ),
    Kind("too_quiet", "very quiet", "level", "quietest", "what sounds is below {:g} dB of full scale", False),
    Kind(
        "too_short",
        "too little speech",
        "sounding_seconds",
        "shortest",
        "less than {:g} s that sounds",
        False,
    ),
    Kind("too_long", "very long", "seconds", "longest", "more than {:g} s"),
)


@dataclass(frozen=True)
class Quality:
    """The quality of a corpus.

    Attributes:
        prepared: the audio that was measured.
        table: a row an utterance: the manifest's columns, the measures, a column of truth values a kind.
        duplicates: pairs of rows.
        limits: what was tolerated.
        with_labels: whether a model was asked about the labels.
    """

    prepared: Prepared
    table: pa.Table
    duplicates: tuple[Duplicate, ...]
    limits: Limits
    with_labels: bool

    def kinds(self) -> list[Kind]:
        """The kinds that were looked for."""
        return [kind for kind in KINDS if kind.name != "wrong_label" or self.with_labels]

    def worst(self, kind: Kind, most: int | None = None) -> NDArray[np.int64]:
        """The rows of a kind, the worst first."""
        rows = np.flatnonzero(self.table[kind.name].to_numpy(zero_copy_only=False))
        values = self.table[kind.measure].to_numpy(zero_copy_only=False)[rows]
        badness = values if kind.worst_is_high else -values
        if kind.name == "duplicate":  # under two speakers, a copy is a wrong label as well
            badness = badness + self.table["across_speakers"].to_numpy(zero_copy_only=False)[rows]
        order = np.argsort(-badness, kind="stable")
        return np.asarray(rows[order][:most], dtype=np.int64)

    def write(self, path: Path) -> None:
        """Write the table as ``.csv`` or Parquet, atomically; Parquet holds the limits in its metadata."""
        with atomic_write(path) as temporary:
            if path.suffix == ".csv":
                pyarrow.csv.write_csv(self.table, temporary)
            else:
                told = {"voxangle.limits": json.dumps(asdict(self.limits))}
                pq.write_table(self.table.replace_schema_metadata(told), temporary)


def check_quality(
    prepared: Prepared,
    *,
    limits: Limits | None = None,
    embeddings: NDArray[np.float32] | None = None,
    posterior: NDArray[np.float64] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Quality:
    """Measure a prepared corpus and hold it against the limits.

    Args:
        prepared: the audio.
        limits: what is tolerated; None for the defaults.
        embeddings: (N, D) of its utterances, to ask about the labels; a row of NaN where there is none.
        posterior: (N,) of the own class under the prototypes of the model's run, NaN where it has none.
        on_progress: called with (recordings measured, recordings).

    Raises:
        CorpusError: the prepared audio is no longer there.
        StorageError: the measures cannot be kept.
    """
    limits = limits or Limits()
    found = survey(prepared, on_progress=on_progress)
    duplicates = tuple(find_duplicates(found.prints, prepared.read, same=limits.correlation))
    keys = prepared.manifest.column("utterance")
    columns: dict[str, NDArray[Any]] = dict(found.measures)
    columns["sounding_seconds"] = columns["seconds"] * (1 - columns["silence"])
    columns["offset_size"] = np.abs(columns["offset"])
    columns["correlation"] = np.zeros(len(keys))
    same_as = np.full(len(keys), "", dtype=object)
    across = np.zeros(len(keys), bool)
    speakers = prepared.manifest.column("speaker")
    for pair in duplicates:
        for row, other in ((pair.first, pair.other), (pair.other, pair.first)):
            across[row] |= speakers[row] != speakers[other]
            if pair.correlation > columns["correlation"][row]:
                columns["correlation"][row], same_as[row] = pair.correlation, keys[other]
    columns["across_speakers"] = across
    if embeddings is not None:
        columns |= _doubts(prepared, embeddings, posterior)
    for kind in KINDS:
        if kind.measure in columns:
            values, limit = columns[kind.measure], getattr(limits, kind.limit)
            columns[kind.name] = values > limit if kind.worst_is_high else values < limit
    columns["duplicate"] = columns["correlation"] > 0
    # Frames cannot tell where hardly any sound: a short click has no fricatives.
    columns["narrow_band"] &= columns["sounding_seconds"] >= _HEARD_ENOUGH
    base = prepared.manifest.table.drop_columns(["seconds"])
    arrays = {name: base[name] for name in base.column_names} | {"same_as": pa.array(same_as, pa.string())}
    table = pa.table(arrays | {name: pa.array(values) for name, values in columns.items()})
    return Quality(prepared, table, duplicates, limits, embeddings is not None)


def _doubts(
    prepared: Prepared,
    embeddings: NDArray[np.float32],
    posterior: NDArray[np.float64] | None,
) -> dict[str, NDArray[np.generic]]:
    rows = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
    speakers, labels = np.unique(prepared.manifest.column("speaker")[rows].astype(str), return_inverse=True)
    doubts = doubt_labels(embeddings[rows], labels.astype(np.int64))

    def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
        full = np.full(len(embeddings), np.nan)
        full[rows] = values
        return full

    other = np.full(len(embeddings), "", dtype=object)
    other[rows] = speakers[doubts.nearest]
    return {
        "own_cosine": spread(doubts.own),
        "other_cosine": spread(doubts.other),
        "doubt": spread(doubts.doubt),
        "nearest_speaker": other,
        "own_class_posterior": np.full(len(embeddings), np.nan) if posterior is None else posterior,
    }
