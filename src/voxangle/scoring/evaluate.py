"""From embeddings and a trial list to a result."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxangle import __version__
from voxangle.data import Trials
from voxangle.errors import TrialError
from voxangle.metrics import Interval, OperatingPoint, PairedDifference, SortedScores
from voxangle.metrics.bootstrap import bootstrap, paired_difference
from voxangle.scoring.cosine import cosine_scores
from voxangle.scoring.machine import Machine
from voxangle.scoring.result import (
    DetectionCost,
    Measure,
    Model,
    Protocol,
    Resampling,
    Result,
    TrialCounts,
    TrialScores,
)
from voxangle.scoring.speakers import speakers_from_targets

__all__ = ["Embeddings", "compare", "evaluate", "trials_sha256"]

Embeddings = Mapping[str, NDArray[np.floating[Any]]] | tuple[Sequence[str], NDArray[np.floating[Any]]]

_EER = "FNR = FPR by linear interpolation between ROC points, tied scores merged"
_MIN_DCF = "least c_miss p FNR + c_fa (1 - p) FPR over all thresholds, over min(c_miss p, c_fa (1 - p))"
_FEW_SPEAKERS = 30
_LINES_A_BLOCK = 1 << 16


def evaluate(
    embeddings: Embeddings,
    trials: Trials,
    *,
    speakers: Mapping[str, str] | None = None,
    protocol: Protocol | None = None,
    model: Model | None = None,
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
        protocol: how to score; the default is the cosine of full utterances.
        model: what made the embeddings.
        replicates: of the bootstrap.
        seed: of the bootstrap.
        notes: the corpus's caveats; to be said wherever a figure is shown.
        command: that made the result; by default this process's command line.

    Raises:
        TrialError: an utterance has no embedding, no speaker, or one that cannot be scored; the list has
            one class only; a label contradicts the speakers.
    """
    protocol = protocol or Protocol()
    _require_both_classes(trials)
    scores = cosine_scores(_rows(embeddings, trials), trials)
    speaker = _speaker_numbers(trials, speakers)
    sorted_scores = SortedScores.of(scores[trials.target], scores[~trials.target])
    eer = sorted_scores.eer()
    costs = [sorted_scores.min_dcf(p_target=p) for p in protocol.p_targets]
    intervals = bootstrap(
        scores,
        trials.target,
        speaker[trials.enrol],
        speaker[trials.test],
        priors=protocol.p_targets,
        replicates=replicates,
        seed=seed,
    )
    speakers_from: Literal["corpus", "target trials"] = "target trials" if speakers is None else "corpus"
    targets = int(np.count_nonzero(trials.target))
    return Result(
        name=trials.name,
        trials_sha256=trials_sha256(trials),
        counts=TrialCounts(
            trials=len(trials),
            targets=targets,
            nontargets=len(trials) - targets,
            utterances=len(trials.utterances),
            speakers=intervals.speakers,
        ),
        protocol=protocol,
        eer=Measure(**_figure(eer, intervals.eer), definition=_EER),
        min_dcf=tuple(
            DetectionCost(**_figure(cost, interval), definition=_MIN_DCF, p_target=p)
            for p, cost, interval in zip(protocol.p_targets, costs, intervals.min_dcf, strict=True)
        ),
        intervals=Resampling(
            speakers_from=speakers_from,
            replicates=intervals.replicates,
            discarded=intervals.discarded,
            seed=seed,
        ),
        model=model or Model(),
        notes=(
            *notes,
            *_cautions(intervals.speakers, len(_contradictions(trials, speaker)), speakers_from, eer.rate),
        ),
        voxangle=__version__,
        command=_this_command() if command is None else command,
        machine=Machine.here(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        scores=TrialScores(scores, trials.target),
    )


def compare(
    first: Result,
    second: Result,
    trials: Trials,
    *,
    speakers: Mapping[str, str] | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> PairedDifference:
    """The difference of two systems on one list (first minus second), with 95 % intervals over speakers.

    Args:
        first: of ``evaluate`` on ``trials``.
        second: of ``evaluate`` on ``trials``.
        trials: the list of both.
        speakers: who speaks, by key; as in ``evaluate``.
        replicates: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        TrialError: a result is of another list or protocol, or has no scores because it was read from a file.
    """
    digest = trials_sha256(trials)
    for result in (first, second):
        if result.trials_sha256 != digest:
            raise TrialError(f"{result.model.name}: measured on another list than '{trials.name}'")
    if first.protocol != second.protocol:
        raise TrialError(f"{trials.name}: '{first.model.name}' and '{second.model.name}' differ in protocol")
    if first.scores is None or second.scores is None:
        raise TrialError(f"{trials.name}: a result that was read from a file has no scores; evaluate again")
    speaker = _speaker_numbers(trials, speakers)
    return paired_difference(
        first.scores.scores,
        second.scores.scores,
        trials.target,
        speaker[trials.enrol],
        speaker[trials.test],
        priors=first.protocol.p_targets,
        replicates=replicates,
        seed=seed,
    )


def trials_sha256(trials: Trials) -> str:
    """SHA-256 of the list's content: that of the file ``Trials.write`` writes, whatever the list's name."""
    digest = hashlib.sha256()
    keys = trials.utterances
    for first in range(0, len(trials), _LINES_A_BLOCK):
        block = slice(first, first + _LINES_A_BLOCK)
        rows = zip(
            trials.target[block].tolist(),
            trials.enrol[block].tolist(),
            trials.test[block].tolist(),
            strict=True,
        )
        digest.update("".join(f"{target:d} {keys[a]} {keys[b]}\n" for target, a, b in rows).encode())
    return digest.hexdigest()


def _require_both_classes(trials: Trials) -> None:
    if not trials.target.any():
        raise TrialError(f"{trials.name}: the list has no target trials; error rates need both classes")
    if trials.target.all():
        raise TrialError(f"{trials.name}: the list has no non-target trials; error rates need both classes")


def _rows(embeddings: Embeddings, trials: Trials) -> NDArray[np.floating[Any]]:
    if isinstance(embeddings, tuple):
        keys, matrix = embeddings
        by_key: Mapping[str, NDArray[np.floating[Any]]] = dict(zip(keys, matrix, strict=True))
    else:
        by_key = embeddings
    _require_known(trials, by_key, "embedding", "embed every utterance that the list names")
    return np.stack([by_key[key] for key in trials.utterances])


def _speaker_numbers(trials: Trials, speakers: Mapping[str, str] | None) -> NDArray[np.int64]:
    if speakers is None:
        return speakers_from_targets(trials)
    _require_known(trials, speakers, "speaker", "name the speaker of every utterance, or of none")
    number: dict[str, int] = {}
    numbers = np.array(
        [number.setdefault(speakers[key], len(number)) for key in trials.utterances], dtype=np.int64
    )
    wrong = _contradictions(trials, numbers)
    if wrong.size:
        i = int(wrong[0])
        label, truth = ("target", "two speakers") if trials.target[i] else ("non-target", "one speaker")
        raise TrialError(
            f"{trials.name}, trial {i + 1}: '{trials.utterances[trials.enrol[i]]}' and "
            f"'{trials.utterances[trials.test[i]]}' are a {label} trial, but of {truth} by the corpus "
            f"({wrong.size} such trial(s)); correct the list or the speakers"
        )
    return numbers


def _contradictions(trials: Trials, speaker: NDArray[np.int64]) -> NDArray[np.intp]:
    """The trials whose label is not what their speakers say."""
    return np.flatnonzero((speaker[trials.enrol] == speaker[trials.test]) != trials.target)


def _require_known(trials: Trials, known: Mapping[str, Any], what: str, cure: str) -> None:
    missing = [key for key in trials.utterances if key not in known]
    if missing:
        raise TrialError(
            f"{trials.name}: no {what} of '{missing[0]}' ({len(missing)} of the {len(trials.utterances)} "
            f"utterances of the list lack one); {cure}"
        )


def _figure(point: OperatingPoint, interval: Interval) -> dict[str, Any]:
    return {
        "value": point.rate,
        "threshold": point.threshold,
        "low": interval.low,
        "high": interval.high,
    }


def _cautions(speakers: int, contradictions: int, speakers_from: str, eer: float) -> list[str]:
    cautions = []
    if contradictions:
        cautions.append(
            f"{contradictions} non-target trials pair utterances that target trials join to one speaker: some labels "
            "of the list are wrong. They are scored as the list has them."
        )
    if speakers_from == "target trials":
        cautions.append(
            f"The {speakers} speakers are groups of utterances that target trials join; where one person makes "
            "several groups, the intervals are too narrow. Give the speakers to mend that."
        )
    if speakers < _FEW_SPEAKERS:
        cautions.append(f"Only {speakers} speakers: the intervals are rough, and rather too narrow.")
    if eer == 0:
        cautions.append(
            "No error was seen: the interval of zero width tells of a small list, not of certainty."
        )
    return cautions


def _this_command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
