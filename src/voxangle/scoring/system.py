"""A trained model on trial lists: every recording is embedded once, however many lists name it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxangle.data import Manifest, Trials
from voxangle.data.conditions import conditions
from voxangle.data.prepare import Prepared
from voxangle.encoders import Embedder
from voxangle.errors import TrialError
from voxangle.scoring.evaluate import evaluate
from voxangle.scoring.result import Model, Result

__all__ = ["embed_prepared", "embed_trials", "evaluate_lists", "model_of"]

_AT_ONCE = 512  # recordings held decoded while they are embedded

OnProgress = Callable[[int, int], None]
ByKey = dict[str, NDArray[np.float32]]


def model_of(embedder: Embedder) -> Model:
    """Name and checksum of a model, for its results; the checksum is empty of one that was not loaded."""
    return Model(name=embedder.card.name, sha256=embedder.weights_sha256)


def embed_trials(
    embedder: Embedder, lists: Sequence[Trials], root: Path, on_progress: OnProgress | None = None
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


def embed_prepared(embedder: Embedder, prepared: Prepared, on_progress: OnProgress | None = None) -> ByKey:
    """Embeddings of prepared recordings, by utterance."""
    keys = prepared.manifest.column("utterance")
    # Neighbours in length share a batch with little padding.
    order = np.argsort(prepared.samples, kind="stable")
    embeddings: ByKey = {}
    for first in range(0, len(order), _AT_ONCE):
        rows = order[first : first + _AT_ONCE]
        vectors = embedder.embed([prepared.read(int(row)) for row in rows])
        embeddings.update(zip(keys[rows], vectors, strict=True))
        if on_progress is not None:
            on_progress(len(embeddings), len(order))
    return embeddings


def evaluate_lists(
    embeddings: Mapping[str, NDArray[Any]],
    lists: Sequence[Trials],
    *,
    model: Model,
    speakers: Mapping[str, str] | None = None,
    manifest: Manifest | None = None,
    notes: Sequence[str] = (),
    replicates: int = 1000,
) -> list[Result]:
    """``evaluate`` on each list; by condition too, where a manifest says what the utterances are."""
    return [
        evaluate(
            embeddings,
            trials,
            speakers=speakers,
            model=model,
            notes=notes,
            replicates=replicates,
            conditions=None if manifest is None else conditions(trials, manifest),
        )
        for trials in lists
    ]
