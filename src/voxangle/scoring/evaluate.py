"""From embeddings and a trial list to a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxangle.data import Trials
from voxangle.errors import TrialError
from voxangle.scoring.cosine import Cosine
from voxangle.scoring.directions import Embedded
from voxangle.scoring.mean_embedding import MeanEmbedding
from voxangle.scoring.measure import measure, require_known
from voxangle.scoring.plda import PLDA
from voxangle.scoring.products import trial_scores
from voxangle.scoring.result import Model, Protocol, Result
from voxangle.scoring.score_normalisation import ScoreNormaliser
from voxangle.scoring.unseen import require_unseen

__all__ = ["Calibrator", "Embeddings", "evaluate"]

Embeddings = Mapping[str, NDArray[np.floating[Any]]] | tuple[Sequence[str], NDArray[np.floating[Any]]]


class Calibrator(NamedTuple):
    """What turns cosines into log-likelihood ratios.

    Attributes:
        llrs: of a list's cosines, shape (trials,), its natural log-likelihood ratios.
        source: what it was fitted on.
        trials_sha256: of that list; empty where it is not known.
    """

    llrs: Callable[[NDArray[np.float32], Trials], NDArray[np.float32]]
    source: str
    trials_sha256: str = ""


def evaluate(
    embeddings: Embeddings,
    trials: Trials,
    *,
    speakers: Mapping[str, str] | None = None,
    sessions: Mapping[str, str] | None = None,
    protocol: Protocol | None = None,
    mean: MeanEmbedding | None = None,
    backend: PLDA | None = None,
    normalisation: ScoreNormaliser | None = None,
    calibration: Calibrator | None = None,
    model: Model | None = None,
    conditions: Mapping[str, NDArray[np.bool_]] | None = None,
    draw_sessions: bool = False,
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
        mean: subtracted from every embedding before it is scored (see ``cosine_scores``), also from those of the
            cohort and in place of PLDA's own mean; the protocol says so.
        backend: scores by PLDA; None for the cosine.
        normalisation: of the scores, by those of a cohort.
        calibration: of plain cosines, where the model has one; PLDA's scores count as log-likelihood ratios without.
        model: what made the embeddings.
        conditions: masks, shape (trials,), by name (``voxangle.data.conditions``): the parts of the list that get
            figures of their own. Parts without a trial are left out. The time is that of the whole list again for
            each group of parts that divides it.
        draw_sessions: draw each drawn speaker's sessions too.
        replicates: of the bootstrap.
        seed: of the bootstrap.
        notes: the corpus's caveats; to be said wherever a figure is shown.
        command: that made the result; by default this process's command line.

    Raises:
        TrialError: an utterance has no embedding, no speaker, or one that cannot be scored; the list has
            one class only; a label contradicts the speakers; a model has utterances of two speakers; the
            protocol asks for another enrolment than the list has, or for another mean, PLDA or normalisation than is
            given; one of these has another dimension, or was learnt from an utterance or a speaker of the list; or
            as ``ScoreNormaliser.normalised``.
    """
    protocol = _as_given(protocol or Protocol(), trials, mean, backend, normalisation)
    learnt = {
        "the mean to subtract": mean,
        "PLDA": backend,
        "the cohort": None if normalisation is None else normalisation.cohort,
    }
    for what, one in learnt.items():
        if one is not None:
            require_unseen(trials, speakers, keys=one.keys, learnt_speakers=one.speakers, what=what)
            if not one.speakers or speakers is None:
                notes = [
                    *notes,
                    f"Of {what} and of the list it is not known who speaks: only utterances were compared.",
                ]
    rule = backend or Cosine()
    subtracted = None if mean is None else mean.vector
    embedded = Embedded(_rows(embeddings, trials), trials.keys, trials.name, trials.models.values())
    sides = rule.sides(embedded, subtracted)
    scores = trial_scores(sides, trials)
    if normalisation is not None:
        scores = normalisation.normalised(scores, sides, trials, rule, subtracted)
    llrs, source = None, ""
    if normalisation is None and backend is not None:
        llrs, source = scores, "none: PLDA's scores as they are"
    elif normalisation is None and mean is None and calibration is not None:
        llrs, source = calibration.llrs(scores, trials), calibration.source
        if calibration.trials_sha256 and calibration.trials_sha256 == trials.sha256():
            notes = [
                *notes,
                "The calibration was fitted on this very list: what the ratios cost is flattered.",
            ]
    return measure(
        scores,
        trials,
        speakers=speakers,
        sessions=sessions,
        protocol=protocol,
        model=model,
        conditions=conditions,
        llrs=llrs,
        calibration=source,
        draw_sessions=draw_sessions,
        replicates=replicates,
        seed=seed,
        notes=notes,
        command=command,
    )


def _as_given(
    protocol: Protocol,
    trials: Trials,
    mean: MeanEmbedding | None,
    backend: PLDA | None,
    normalisation: ScoreNormaliser | None,
) -> Protocol:
    """The protocol with the enrolment that the list has, and with what is given."""
    joint = trials.models and backend is not None and backend.enrolment == "joint"
    enrolment = "joint" if joint else trials.enrolment
    if "enrolment" in protocol.model_fields_set and protocol.enrolment != enrolment:
        raise TrialError(
            f"{trials.name}: the protocol asks for the enrolment '{protocol.enrolment}', but that of the list is "
            f"'{enrolment}'; read the list with its models, or change the protocol"
        )
    given = {
        "scoring": "cosine" if backend is None else backend.record,
        "mean_subtraction": "none" if mean is None else mean.record,
        "normalisation": "none" if normalisation is None else normalisation.record,
    }
    for name, one in given.items():
        if name in protocol.model_fields_set and (asked := getattr(protocol, name)) != one:
            what = name.replace("_", " ")
            raise TrialError(
                f"{trials.name}: the protocol asks for the {what} '{asked}', but given is '{one}'; give the {what} "
                "that the protocol names, or change the protocol"
            )
    return protocol.model_copy(update={"enrolment": enrolment, **given})


def _rows(embeddings: Embeddings, trials: Trials) -> NDArray[np.floating[Any]]:
    if isinstance(embeddings, tuple):
        keys, matrix = embeddings
        by_key: Mapping[str, NDArray[np.floating[Any]]] = dict(zip(keys, matrix, strict=True))
    else:
        by_key = embeddings
    require_known(trials, by_key, "embedding", "embed every utterance that the list names")
    return np.stack([by_key[key] for key in trials.utterances])
