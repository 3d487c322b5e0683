"""From embeddings and a trial list to a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxangle.data import Trials
from voxangle.errors import TrialError
from voxangle.scoring.cosine import cosine_scores
from voxangle.scoring.mean_embedding import MeanEmbedding, require_unseen
from voxangle.scoring.measure import measure, require_known
from voxangle.scoring.result import Model, Protocol, Result

__all__ = ["Embeddings", "evaluate"]

Embeddings = Mapping[str, NDArray[np.floating[Any]]] | tuple[Sequence[str], NDArray[np.floating[Any]]]


def evaluate(
    embeddings: Embeddings,
    trials: Trials,
    *,
    speakers: Mapping[str, str] | None = None,
    sessions: Mapping[str, str] | None = None,
    protocol: Protocol | None = None,
    mean: MeanEmbedding | None = None,
    model: Model | None = None,
    conditions: Mapping[str, NDArray[np.bool_]] | None = None,
    replicates: int = 1000,
    seed: int = 0,
    notes: Sequence[str] = (),
    command: str | None = None,
) -> Result:
    """Score a trial list and measure the errors, with 95 % intervals over speakers.

    Args:
        embeddings: one vector (dimensions,) by key; or the keys and a matrix (keys, dimensions). Keys that
            the list does not name do no harm.
        trials: the list.
        speakers: who speaks, by key; without it, utterances joined by target trials are one speaker.
        sessions: the occasion of the recording, by key; unknown where it is empty or missing.
        protocol: how to score; the default is the cosine of full utterances, with the enrolment that the list has.
        mean: subtracted from every embedding before it is scored (see ``cosine_scores``); the protocol says so.
        model: what made the embeddings.
        conditions: masks, shape (trials,), by name (``voxangle.data.conditions``): the parts of the list that get
            figures of their own. Parts without a trial are left out. The time is that of the whole list again for
            each group of parts that divides it.
        replicates: of the bootstrap.
        seed: of the bootstrap.
        notes: the corpus's caveats; to be said wherever a figure is shown.
        command: that made the result; by default this process's command line.

    Raises:
        TrialError: an utterance has no embedding, no speaker, or one that cannot be scored; the list has
            one class only; a label contradicts the speakers; a model has utterances of two speakers; the
            protocol asks for another enrolment than the list has, or for another mean than is given; the mean has
            another dimension, or knows a speaker of the list.
    """
    protocol = _with_mean(_with_enrolment(protocol or Protocol(), trials), mean, trials)
    if mean is not None:
        require_unseen(trials, speakers, keys=mean.keys, mean_speakers=mean.speakers)
    return measure(
        cosine_scores(_rows(embeddings, trials), trials, mean=None if mean is None else mean.vector),
        trials,
        speakers=speakers,
        sessions=sessions,
        protocol=protocol,
        model=model,
        conditions=conditions,
        replicates=replicates,
        seed=seed,
        notes=notes,
        command=command,
    )


def _with_enrolment(protocol: Protocol, trials: Trials) -> Protocol:
    """The protocol with the enrolment rule that the list has."""
    if "enrolment" in protocol.model_fields_set and protocol.enrolment != trials.enrolment:
        raise TrialError(
            f"{trials.name}: the protocol asks for the enrolment '{protocol.enrolment}', but that of the list is "
            f"'{trials.enrolment}'; read the list with its models, or change the protocol"
        )
    return protocol.model_copy(update={"enrolment": trials.enrolment})


def _with_mean(protocol: Protocol, mean: MeanEmbedding | None, trials: Trials) -> Protocol:
    """The protocol with the mean that is subtracted."""
    subtracted = "none" if mean is None else mean.record
    if "mean_subtraction" in protocol.model_fields_set and protocol.mean_subtraction != subtracted:
        raise TrialError(
            f"{trials.name}: the protocol asks for the mean subtraction '{protocol.mean_subtraction}', but given is "
            f"'{subtracted}'; give the mean that the protocol names, or change the protocol"
        )
    return protocol.model_copy(update={"mean_subtraction": subtracted})


def _rows(embeddings: Embeddings, trials: Trials) -> NDArray[np.floating[Any]]:
    if isinstance(embeddings, tuple):
        keys, matrix = embeddings
        by_key: Mapping[str, NDArray[np.floating[Any]]] = dict(zip(keys, matrix, strict=True))
    else:
        by_key = embeddings
    require_known(trials, by_key, "embedding", "embed every utterance that the list names")
    return np.stack([by_key[key] for key in trials.utterances])
