"""From the scores of a trial list to a result."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from voxangle import __version__
from voxangle.data import Trials
from voxangle.data.conditions import Conditions
from voxangle.errors import TrialError
from voxangle.scoring.machine import Machine
from voxangle.scoring.result import (
    Calibrated,
    Condition,
    DetectionCost,
    Measure,
    Model,
    Protocol,
    Resampling,
    Result,
    TrialCounts,
)
from voxangle.scoring.scored import ScoredTrials
from voxangle.scoring.speakers import speakers_from_targets
from voxangle.scoring.trial_scores import TrialScores

__all__ = ["measure", "remeasure", "require_known", "trials_sha256"]

_FEW_SPEAKERS = 30
# Between lists whose intervals hold and one with almost no false alarms, whose do not (benchmarks/coverage.py).
_FEW_ALARMS = 10


def measure(
    scores: NDArray[np.floating[Any]],
    trials: Trials,
    *,
    protocol: Protocol,
    speakers: Mapping[str, str] | None = None,
    sessions: Mapping[str, str] | None = None,
    model: Model | None = None,
    conditions: Mapping[str, NDArray[np.bool_]] | None = None,
    llrs: NDArray[np.floating[Any]] | None = None,
    calibration: str = "",
    draw_sessions: bool = False,
    replicates: int = 1000,
    seed: int = 0,
    notes: Sequence[str] = (),
    command: str | None = None,
) -> Result:
    """The errors that scores make, with 95 % intervals over speakers.

    Args:
        scores: shape (trials,), in the order of the list; higher means more alike.
        trials: the list.
        protocol: how the scores came about.
        speakers: as in ``evaluate``, like all that follows.
        sessions: the occasion of the recording, by key.
        model: what made the scores.
        conditions: masks, shape (trials,), by name.
        llrs: shape (trials,), natural log-likelihood ratios of calibrated scores, where there is a calibration.
        calibration: what that was fitted on.
        draw_sessions: draw each drawn speaker's sessions too (see ``voxangle.metrics.bootstrap``).
        replicates: of the bootstrap.
        seed: of the bootstrap.
        notes: the corpus's caveats.
        command: that made the result.

    Raises:
        TrialError: a score is NaN or infinite; an utterance has no speaker; the list has one class only; a label
            contradicts the speakers; a model has utterances of two speakers.
    """
    _require_both_classes(trials)
    speaker = _speaker_numbers(trials, speakers)
    parts = {name: mask for name, mask in (conditions or {}).items() if mask.any()}
    known = TrialScores(
        scores,
        trials.target,
        trials.keys,
        trials.enrol,
        trials.test,
        speaker,
        () if speakers is None else _names(trials, speakers),
        None if sessions is None else _session_numbers(trials, speaker, sessions),
        parts,
        llrs,
        trials_sha256(trials),
    )
    if draw_sessions and known.session is None:
        raise TrialError(
            f"{trials.name}: no sessions to draw are known; give a corpus that tells them, or draw speakers alone"
        )
    figures = _figures(known, protocol.p_targets, calibration, replicates, seed, draw_sessions)
    targets = int(np.count_nonzero(trials.target))
    return Result(
        name=trials.name,
        trials_sha256=known.trials_sha256,
        counts=TrialCounts(
            trials=len(trials),
            targets=targets,
            nontargets=len(trials) - targets,
            utterances=len(trials.utterances),
            speakers=known.speakers_present(),
            models=len(trials.models),
        ),
        protocol=protocol,
        **figures,
        model=model or Model(),
        notes=(
            *notes,
            *_of_the_list(
                known.speakers_present(), len(_contradictions(trials, speaker)), speakers is not None
            ),
            *_of_the_figures(figures["eer"], figures["min_dcf"], known),
            *(_unknown(conditions) if isinstance(conditions, Conditions) else ()),
        ),
        **_here(command),
        scores=known,
    )


def remeasure(
    result: Result,
    scores: TrialScores,
    *,
    protocol: Protocol,
    model: Model,
    calibration: str = "",
    replicates: int = 1000,
    seed: int = 0,
    notes: Sequence[str] = (),
    command: str | None = None,
) -> Result:
    """The result on the same list of other scores, such as a fusion's.

    Args:
        result: of the list.
        scores: of the same trials, in their order.
        protocol: how the scores came about.
        model: what made them.
        calibration: what the calibration of ``scores.llrs`` was fitted on.
        replicates: of the bootstrap.
        seed: of the bootstrap.
        notes: what is to be said beside what the result says.
        command: that made the new result.
    """
    drawn = "session" in result.intervals.unit
    figures = _figures(scores, protocol.p_targets, calibration, replicates, seed, drawn)
    outdated = _of_the_figures(result.eer, result.min_dcf, result.require_scores())
    said = [
        *(note for note in result.notes if note not in outdated),
        *notes,
        *_of_the_figures(figures["eer"], figures["min_dcf"], scores),
    ]
    return result.model_copy(
        update={
            **figures,
            **_here(command),
            "protocol": protocol,
            "model": model,
            "notes": tuple(dict.fromkeys(said)),
            "scores": scores,
        }
    )


class _Figures(TypedDict):
    """The entries of a result that follow from its scores."""

    eer: Measure
    min_dcf: tuple[DetectionCost, ...]
    calibrated: Calibrated | None
    conditions: tuple[Condition, ...]
    intervals: Resampling


class _Here(TypedDict):
    """The entries of a result that say when, where and how it was made."""

    voxangle: str
    command: str
    machine: Machine
    date: str


def _figures(
    scores: TrialScores,
    priors: Sequence[float],
    calibration: str,
    replicates: int,
    seed: int,
    draw_sessions: bool,
) -> _Figures:
    sessions = scores.session if draw_sessions else None
    scored = ScoredTrials(
        scores.scores,
        scores.target,
        scores.enrol_speaker,
        scores.test_speaker,
        priors,
        replicates,
        seed,
        None if sessions is None else sessions[scores.enrol],
        None if sessions is None else sessions[scores.test],
    )
    intervals = scored.intervals()
    eer, min_dcf = scored.figures(intervals)
    return {
        "eer": eer,
        "min_dcf": min_dcf,
        "calibrated": None if scores.llrs is None else scored.calibrated(scores.llrs, calibration),
        "conditions": tuple(scored.condition(name, mask) for name, mask in scores.conditions.items()),
        "intervals": Resampling(
            unit="speaker and session" if draw_sessions else "speaker",
            speakers_from="corpus" if scores.speakers else "target trials",
            replicates=intervals.replicates,
            discarded=intervals.discarded,
            seed=seed,
        ),
    }


def _here(command: str | None) -> _Here:
    return {
        "voxangle": __version__,
        "command": _this_command() if command is None else command,
        "machine": Machine.here(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def trials_sha256(trials: Trials) -> str:
    """SHA-256 of the list's content, whatever its name; see ``Trials.sha256``."""
    return trials.sha256()


def _unknown(conditions: Conditions) -> list[str]:
    return [
        f"In {count:,} of the {conditions.trials:,} trials the {what} of a side is unknown (or that of a model's "
        f"utterances differs): they count in no condition of {what}."
        for what, count in conditions.unknown.items()
        if count
    ]


def _require_both_classes(trials: Trials) -> None:
    if not trials.target.any():
        raise TrialError(f"{trials.name}: the list has no target trials; error rates need both classes")
    if trials.target.all():
        raise TrialError(f"{trials.name}: the list has no non-target trials; error rates need both classes")


def _speaker_numbers(trials: Trials, speakers: Mapping[str, str] | None) -> NDArray[np.int64]:
    # Draws go by number. Numbers go by name, so that the order of the list moves no interval.
    if speakers is None:
        groups = speakers_from_targets(trials)
        least = [min(keys) for keys in _by_group(trials.keys, groups)]
        rank = np.empty(len(least), dtype=np.int64)
        rank[np.argsort(np.array(least, dtype=object))] = np.arange(len(least))
        return rank[np.unique(groups, return_inverse=True)[1]]
    require_known(trials, speakers, "speaker", "name the speaker of every utterance, or of none")
    number = {name: place for place, name in enumerate(_names(trials, speakers))}
    numbers = np.array([number[speakers[key]] for key in trials.utterances], dtype=np.int64)
    if trials.models:
        numbers = np.concatenate([numbers, _model_speakers(trials, numbers)])
    wrong = _contradictions(trials, numbers)
    if wrong.size:
        i = int(wrong[0])
        label, truth = ("target", "two speakers") if trials.target[i] else ("non-target", "one speaker")
        raise TrialError(
            f"{trials.name}, trial {i + 1}: '{trials.keys[trials.enrol[i]]}' and "
            f"'{trials.utterances[trials.test[i]]}' are a {label} trial, but of {truth} by the corpus "
            f"({wrong.size} such trial(s)); correct the list or the speakers"
        )
    return numbers


def _names(trials: Trials, speakers: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted({speakers[key] for key in trials.utterances}))


def _by_group(keys: Sequence[str], groups: NDArray[np.int64]) -> list[list[str]]:
    """The keys of each group, by ascending number of the group."""
    order = np.argsort(groups, kind="stable")
    ends = np.flatnonzero(np.diff(groups[order])) + 1
    return [[keys[place] for place in part] for part in np.split(order, ends)]


def _session_numbers(
    trials: Trials, speaker: NDArray[np.int64], sessions: Mapping[str, str]
) -> NDArray[np.int64]:
    """A session is one speaker's, whatever it is called; one that is not known, or a model's, is like no other."""
    number: dict[tuple[int, str], int] = {}
    return np.array(
        [
            number.setdefault((int(speaker[place]), sessions.get(key) or f"\0{place}"), len(number))
            for place, key in enumerate(trials.keys)
        ],
        dtype=np.int64,
    )


def _model_speakers(trials: Trials, numbers: NDArray[np.int64]) -> list[int]:
    for model, members in trials.models.items():
        other = members[numbers[members] != numbers[members[0]]]
        if other.size:
            raise TrialError(
                f"{trials.name}: the model '{model}' has utterances of two speakers, "
                f"'{trials.utterances[members[0]]}' and '{trials.utterances[other[0]]}'; correct the models or the "
                "speakers"
            )
    return [int(numbers[members[0]]) for members in trials.models.values()]


def _contradictions(trials: Trials, speaker: NDArray[np.int64]) -> NDArray[np.intp]:
    """The trials whose label is not what their speakers say."""
    return np.flatnonzero((speaker[trials.enrol] == speaker[trials.test]) != trials.target)


def require_known(trials: Trials, known: Mapping[str, Any], what: str, cure: str) -> None:
    """Every utterance of the list is among the known ones, or a TrialError says which is not."""
    missing = [key for key in trials.utterances if key not in known]
    if missing:
        raise TrialError(
            f"{trials.name}: no {what} of '{missing[0]}' ({len(missing)} of the {len(trials.utterances)} "
            f"utterances of the list lack one); {cure}"
        )


def _of_the_list(speakers: int, contradictions: int, speakers_known: bool) -> list[str]:
    """What must be said of any figure of the list."""
    cautions = []
    if contradictions:
        cautions.append(
            f"{contradictions} non-target trials pair utterances that target trials join to one speaker: some labels "
            "of the list are wrong. They are scored as the list has them."
        )
    if not speakers_known:
        cautions.append(
            f"The {speakers} speakers are groups of utterances that target trials join; where one person makes "
            "several groups, the intervals are too narrow. Give the speakers to mend that."
        )
    if speakers < _FEW_SPEAKERS:
        cautions.append(f"Only {speakers} speakers: the intervals are rough, and rather too narrow.")
    return cautions


def _of_the_figures(eer: Measure, costs: Sequence[DetectionCost], scores: TrialScores) -> list[str]:
    """What must be said of these figures."""
    cautions = []
    if eer.value == 0:
        cautions.append(
            "No error was seen: the interval of zero width tells of a small list, not of certainty."
        )
    for cost in costs:
        alarms = int(np.count_nonzero(scores.of_nontargets >= cost.threshold))
        if alarms < _FEW_ALARMS and cost.value < 1 - 1e-9:  # not where rejecting everything is best
            cautions.append(
                f"minDCF at p = {cost.p_target:g} stands on {alarms} false alarm{'' if alarms == 1 else 's'}: it is "
                "too low, and so is its interval; more non-target trials would tell."
            )
    return cautions


def _this_command() -> str:
    program = Path(sys.argv[0]).name
    return shlex.join(["voxangle" if program == "__main__.py" else program, *sys.argv[1:]])
