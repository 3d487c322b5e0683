"""Whether recordings make a print to rely on, and enrolment with those that do.

Each recording has to hold enough speech, must not be clipped all over, and must not be another's copy. All have to be
of one voice: each is compared with the mean of the others, as a trial is, and where the log-likelihood ratio is below
-2 the enrolment is refused. Below 0 it is doubtful, which is said. With the model that comes along, and speakers whom
it does not know, -2 refuses three of four enrolments of two people and one in a hundred of one person's on one day; a
higher bound would refuse too many recordings of other days. A model without a calibration knows only a threshold of the
score, if any, below which it is said.

Two recordings with a cosine of 0.99 or more are most likely one, in two files, which is said: of 8,516 pairs of
different recordings of one person none had more than 0.96. ``python -m benchmarks.agreement`` measures both; figures
are in ``docs/product.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field

from voxangle.config import Config
from voxangle.errors import EnrolmentError
from voxangle.runtime.card import Calibration, Card
from voxangle.runtime.decision import BayesRule, decide
from voxangle.runtime.embedding import BaseEmbedder
from voxangle.runtime.measures import RecordingMeasures
from voxangle.runtime.one_voice import SHORTEST, fault_of_speech
from voxangle.voiceprints.store import Entry, Model, Recording, VoiceprintStore, mean_embedding

__all__ = [
    "Agreement",
    "Enrolled",
    "EnrolmentRules",
    "Findings",
    "agreements",
    "check_recordings",
    "cosine",
    "enrol",
]


class EnrolmentRules(Config):
    """What is asked of the recordings of an enrolment.

    Attributes:
        shortest: seconds of speech in each; fewer are refused.
        enough: seconds of speech in all together; fewer are warned of.
        clipped: share of samples in flat tops from which a recording is refused.
        audible: the share from which it is warned of.
        copy_from: the cosine of two recordings from which one is taken for the other's copy, and warned of.
        agreement: the log-likelihood ratio, in nats, of each with the others, below which they are refused.
    """

    shortest: float = Field(default=SHORTEST, ge=0.0)
    enough: float = Field(default=10.0, ge=0.0)
    clipped: float = Field(default=0.03, ge=0.0, le=1.0)
    audible: float = Field(default=0.001, ge=0.0, le=1.0)
    copy_from: float = Field(default=0.99, ge=-1.0, le=1.0)
    agreement: float = -2.0


class Findings(NamedTuple):
    """What is wrong with recordings, a sentence each.

    Attributes:
        refusals: why they must not be enrolled.
        warnings: what a person ought to know who enrols them.
    """

    refusals: tuple[str, ...]
    warnings: tuple[str, ...]


class Agreement(NamedTuple):
    """How well a recording agrees with others that are given as the same person's.

    Attributes:
        score: the cosine of its embedding and the mean of theirs.
        ratio: the log-likelihood ratio, in nats; None without a calibration.
    """

    score: float
    ratio: float | None


class Enrolled(NamedTuple):
    """What became of an enrolment.

    Attributes:
        entry: the print.
        warnings: what is to be said of its recordings.
    """

    entry: Entry
    warnings: tuple[str, ...]


def check_recordings(
    card: Card,
    recordings: Sequence[Recording],
    known: Sequence[Recording] = (),
    rules: EnrolmentRules | None = None,
    heard: Findings | None = None,
) -> Findings:
    """Whether recordings make a print to rely on.

    Args:
        card: of the model that embedded them.
        recordings: to be enrolled.
        known: of the print that they are to be added to.
        rules: what is asked of them; None for the defaults.
        heard: what was found in the files (``hear_files``), if anybody listened; it tells the short ones too.

    Returns:
        What was found, what was heard before it.
    """
    rules = rules or EnrolmentRules()
    names = [_name(one, place) for place, one in enumerate(recordings, start=1)]
    refusals = [] if heard is None else [*heard.refusals]
    warnings = [] if heard is None else [*heard.warnings]
    seen = {one.reference.sha256 for one in known} - {None}
    for name, one in zip(names, recordings, strict=True):
        if one.reference.sha256 in seen:
            refusals.append(f"{name} is the same file as another of this voiceprint; it adds nothing")
        seen |= {one.reference.sha256} - {None}
        if heard is None and (fault := fault_of_speech(one.measures.speech, rules.shortest)):
            refusals.append(fault.of(name))
        if one.measures.clipping >= rules.audible:
            share = f"{name} is clipped, {100 * one.measures.clipping:.2g} % of its samples"
            (refusals if one.measures.clipping >= rules.clipped else warnings).append(
                f"{share}; lower the recording level and record again"
            )
    warnings += _copies(names, recordings, known, rules)
    speech = sum(one.measures.speech for one in (*known, *recordings))
    if speech < rules.enough:
        warnings.append(
            f"the voiceprint has {speech:.1f} s of sound in all; {rules.enough:g} s or more, of several occasions, "
            "make surer answers"
        )
    disagreeing, doubtful = _agreement(card, names, recordings, known, rules)
    return Findings((*refusals, *disagreeing), (*warnings, *doubtful))


def enrol(
    store: VoiceprintStore,
    embedder: BaseEmbedder,
    name: str,
    recordings: Sequence[Recording],
    *,
    actor: str,
    add: bool = False,
    anyway: bool = False,
    rules: EnrolmentRules | None = None,
    heard: Findings | None = None,
) -> Enrolled:
    """Enrol a person, or add recordings to a print, if they can be relied on.

    Args:
        store: where to keep the print.
        embedder: that embedded the recordings.
        name: of the person.
        recordings: one or more (``take_files``, ``take_waveforms``).
        actor: for the audit trail.
        add: to the print there is.
        anyway: turn refusals into warnings.
        rules: what is asked of the recordings; None for the defaults.
        heard: what was found in the files (``hear_files``), if anybody listened.

    Raises:
        EnrolmentError: the recordings are refused; nothing is stored.
        NameTakenError: without ``add``, the person has a print of this model.
        UnknownVoiceprintError: with ``add``, nobody has this name.
        OtherModelError: with ``add``, the person has prints of other models only.
    """
    model = Model.of(embedder)
    known = store.get(name, model).recordings if add else ()
    findings = check_recordings(embedder.card, recordings, known, rules, heard)
    if findings.refusals and not anyway:
        raise EnrolmentError(findings.refusals)
    keep = store.extend if add else store.enrol
    entry = keep(name, model, recordings, calibration=embedder.card.calibration, actor=actor)
    return Enrolled(entry, (*findings.refusals, *findings.warnings))


def agreements(recordings: Sequence[Recording], fit: Calibration | None) -> Iterator[Agreement]:
    """How well each of N recordings, two or more, agrees with the others, in turn; of two, the same for both.

    Args:
        recordings: N of them.
        fit: the model's calibration, if any.
    """
    for place, one in enumerate(recordings):
        others = [*recordings[:place], *recordings[place + 1 :]]
        score = cosine(mean_embedding(others), one.vector)
        joined = RecordingMeasures.joined([other.measures for other in others])
        yield Agreement(score, fit.log_likelihood_ratio(score, joined, one.measures) if fit else None)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of the angle between two vectors, (D,) each, of any length but 0; in [-1, 1]."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1.0, 1.0))


def _copies(
    names: Sequence[str], recordings: Sequence[Recording], known: Sequence[Recording], rules: EnrolmentRules
) -> Iterator[str]:
    """Of recordings that are in other files what earlier ones are."""
    earlier = [(one.reference.file or "a recording of the voiceprint", one) for one in known]
    for name, one in zip(names, recordings, strict=True):
        for other_name, other in earlier:
            same_file = one.reference.sha256 is not None and one.reference.sha256 == other.reference.sha256
            likeness = cosine(one.vector, other.vector)
            if not same_file and likeness >= rules.copy_from:
                yield (
                    f"{name} sounds as {other_name} does to the last detail (cosine {likeness:.3f}): if it is the same "
                    "recording in another file it adds nothing; record another one"
                )
                break
        earlier.append((name, one))


def _agreement(
    card: Card,
    names: Sequence[str],
    recordings: Sequence[Recording],
    known: Sequence[Recording],
    rules: EnrolmentRules,
) -> tuple[list[str], list[str]]:
    """What disagrees for sure, and what may."""
    every = [*recordings, *known]
    if len(every) < 2:
        return [], []
    if card.calibration is None and not card.thresholds:
        unchecked = (
            "whether the recordings are of one voice was not checked: the model has neither a calibration nor a "
            "threshold; `voxangle calibrate` fits one"
        )
        return [], [unchecked]
    refusals, warnings = [], []
    # Of two, each is the other's other.
    judged = names[:1] if len(every) == 2 and not known else names
    for name, (score, ratio) in zip(judged, agreements(every, card.calibration), strict=False):
        what = f"{name} does not sound like {_others(names, len(every), bool(known))}"
        cure = "record it again, or leave it out"
        if ratio is None:
            decision = decide(card, score, None, BayesRule())
            if not decision.same_voice:
                warnings.append(
                    f"{what} (score {score:.2f}, the model's threshold is {decision.threshold:.2f}); {cure}"
                )
        elif ratio < rules.agreement:
            refusals.append(f"{what} (LLR {ratio:+.1f}): two voices are the likelier explanation; {cure}")
        elif ratio < 0:
            warnings.append(f"{what} too well (LLR {ratio:+.1f}); listen whether it is the same person")
    return refusals, warnings


def _others(names: Sequence[str], every: int, known: bool) -> str:
    if known:
        return "the voiceprint"
    return names[1] if every == 2 else "the other recordings"


def _name(one: Recording, place: int) -> str:
    return one.reference.file or f"recording {place}"
