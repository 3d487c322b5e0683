"""A trained model on trial lists: every recording is embedded once, however many lists name it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE, Waveform
from voxangle.data import Manifest, Trials
from voxangle.data.batches import LabelledRecordings
from voxangle.data.conditions import conditions
from voxangle.errors import SilenceError, TrialError
from voxangle.runtime import MINIMUM_SECONDS, BaseEmbedder
from voxangle.runtime.windows import Window
from voxangle.scoring.embedding_set import SEED, EmbeddingSet, drawn_rows, keys_sha256
from voxangle.scoring.evaluate import Calibrator, evaluate
from voxangle.scoring.mean_embedding import MeanEmbedding
from voxangle.scoring.plda import PLDA
from voxangle.scoring.result import AveragedSplit, LearntFrom, Model, Protocol, Result
from voxangle.scoring.score_normalisation import ScoreNormaliser

__all__ = [
    "Known",
    "embed_prepared",
    "embed_to_learn",
    "embed_trials",
    "evaluate_lists",
    "known_of",
    "model_of",
]

OnProgress = Callable[[int, int], None]
ByKey = dict[str, NDArray[np.float32]]


def model_of(embedder: BaseEmbedder) -> Model:
    """Name and checksum of a model, for its results; the checksum is empty of one that was not loaded."""
    return Model(name=embedder.card.name, sha256=embedder.weights_sha256)


def embed_trials(
    embedder: BaseEmbedder, lists: Sequence[Trials], root: Path, on_progress: OnProgress | None = None
) -> ByKey:
    """Embeddings of all recordings that the lists name, whose keys are paths below ``root``.

    Raises:
        TrialError: a list names a file that is not there.
        AudioError: a file cannot be used.
    """
    keys = list(dict.fromkeys(key for trials in lists for key in trials.utterances))
    for trials in lists:
        missing = [key for key in trials.utterances if not (root / key).is_file()]
        if missing:
            raise TrialError(
                f"{trials.name}: the list names '{missing[0]}', which is not below {root} ({len(missing)} of the "
                f"{len(trials.utterances)} recordings of the list are not there); correct the list or --root"
            )
    embedded = embedder.embed_files([root / key for key in keys], on_progress=on_progress)
    return dict(zip(keys, embedded.embeddings, strict=True))


def embed_prepared(
    embedder: BaseEmbedder, prepared: LabelledRecordings, on_progress: OnProgress | None = None
) -> ByKey:
    """Embeddings of prepared recordings, by utterance."""
    keys = prepared.manifest.column("utterance")
    embeddings: ByKey = {}
    rows = range(len(keys))
    for key, one in zip(keys, embedder.embed_stream(_prepared(prepared, rows), workers=0), strict=True):
        if one.vector is None:
            raise one.error or TrialError(f"{key}: has no embedding")
        embeddings[key] = one.vector
        if on_progress is not None:
            on_progress(len(embeddings), len(keys))
    return embeddings


def embed_to_learn(
    embedder: BaseEmbedder,
    recordings: LabelledRecordings,
    corpora: Sequence[AveragedSplit],
    *,
    recipe: str = "",
    unreadable: int = 0,
    utterances: int | None = None,
    on_progress: OnProgress | None = None,
) -> EmbeddingSet:
    """The embeddings of recordings that something is learnt from; those without one are counted.

    Args:
        embedder: makes the embeddings.
        recordings: such as a training split's.
        corpora: where they are from, for the record.
        recipe: name of the recipe that chose them, if one did.
        unreadable: utterances of these corpora that are not among the recordings because they cannot be read.
        utterances: take a sample of so many; None for all.
        on_progress: called with (recordings done, recordings in all).

    Raises:
        TrialError: no recording has an embedding.
    """
    keys = recordings.manifest.column("utterance")
    long_enough = np.flatnonzero(recordings.samples >= MINIMUM_SECONDS * SAMPLE_RATE)
    rows = long_enough[drawn_rows(keys[long_enough].tolist(), utterances)]
    vectors = np.empty((len(rows), embedder.dimension), np.float32)
    embedded: list[int] = []
    stream = embedder.embed_stream(_prepared(recordings, rows), workers=0)
    for done, (row, one) in enumerate(zip(rows.tolist(), stream, strict=True), start=1):
        if one.vector is not None:
            vectors[len(embedded)] = one.vector
            embedded.append(row)
        elif one.error is not None and not isinstance(one.error, SilenceError):
            raise one.error
        if on_progress is not None:
            on_progress(done, len(rows))
    source = " + ".join(f"{one.corpus}/{one.split}" for one in corpora)
    if not embedded:
        raise TrialError(
            f"{source}: none of its {len(keys):,} utterances has an embedding, so nothing can be learnt from them; "
            f"they are shorter than {MINIMUM_SECONDS} s, or silent"
        )
    silent = len(rows) - len(embedded)
    names = tuple(keys[embedded].tolist())
    record = LearntFrom(
        corpora=tuple(corpora),
        recipe=recipe,
        utterances=len(embedded),
        available=len(long_enough) - silent,
        left_out=unreadable + len(keys) - len(long_enough) + silent,
        seed=SEED if len(rows) < len(long_enough) else None,
        utterances_sha256=keys_sha256(names),
    )
    speakers = tuple(recordings.manifest.column("speaker")[embedded].tolist())
    return EmbeddingSet(vectors[: len(embedded)], names, speakers, record)


def evaluate_lists(
    embeddings: Mapping[str, NDArray[Any]],
    lists: Sequence[Trials],
    *,
    model: Model,
    protocol: Protocol | None = None,
    mean: MeanEmbedding | None = None,
    backend: PLDA | None = None,
    normalisation: ScoreNormaliser | None = None,
    calibration: Calibrator | None = None,
    manifest: Manifest | None = None,
    by_condition: bool = False,
    draw_sessions: bool = False,
    notes: Sequence[str] = (),
    replicates: int = 1000,
) -> list[Result]:
    """``evaluate`` on each list; speakers, sessions and conditions are those of the manifest, where there is one."""
    return [
        evaluate(
            embeddings,
            trials,
            protocol=protocol,
            mean=mean,
            backend=backend,
            normalisation=normalisation,
            calibration=calibration,
            model=model,
            notes=notes,
            draw_sessions=draw_sessions,
            replicates=replicates,
            **known_of(trials, manifest, by_condition=by_condition),
        )
        for trials in lists
    ]


class Known(TypedDict):
    """What ``evaluate`` and ``measure`` are told of a list's utterances; see ``evaluate``."""

    speakers: Mapping[str, str] | None
    sessions: Mapping[str, str] | None
    conditions: Mapping[str, NDArray[np.bool_]] | None


def known_of(trials: Trials, manifest: Manifest | None, *, by_condition: bool) -> Known:
    """What a manifest says of a list's utterances; sessions where it has any, conditions where asked for."""
    if manifest is None:
        return {"speakers": None, "sessions": None, "conditions": None}
    keys, sessions = manifest.column("utterance").tolist(), manifest.column("session").tolist()
    return {
        "speakers": manifest.speaker_of(),
        "sessions": dict(zip(keys, sessions, strict=True)) if any(sessions) else None,
        "conditions": conditions(trials, manifest) if by_condition else None,
    }


@dataclass(frozen=True, slots=True)
class _PreparedRecording:
    """A prepared recording as the embedder reads it."""

    recordings: LabelledRecordings
    row: int

    @property
    def name(self) -> str:
        return str(self.recordings.manifest.table["utterance"][self.row].as_py())

    def length(self) -> int:
        return int(self.recordings.samples[self.row])

    def read(self, window: Window | None) -> Waveform:
        if window is None:
            return self.recordings.read(self.row)
        return self.recordings.read(self.row, window.first, window.samples)


def _prepared(recordings: LabelledRecordings, rows: Iterable[int]) -> Iterator[_PreparedRecording]:
    return (_PreparedRecording(recordings, int(row)) for row in rows)
