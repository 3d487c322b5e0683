"""From what the rooms below found to what is answered."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from voxangle.errors import (
    EnrolmentError,
    NameTakenError,
    OtherModelError,
    StorageError,
    StoreKeyError,
    UnknownVoiceprintError,
    VoxangleError,
)
from voxangle.runtime.card import Card
from voxangle.runtime.decision import BayesRule, Decision
from voxangle.runtime.described import Metric
from voxangle.service.answers import (
    Candidate,
    Identified,
    MeasuredList,
    Verdict,
    VerifiedVoice,
    VoiceprintInfo,
)
from voxangle.service.conditions import CONDITIONS
from voxangle.service.hearing import HeardRecording
from voxangle.service.problems import ProblemError
from voxangle.voiceprints.identification import Identification
from voxangle.voiceprints.store import Entry, Model
from voxangle.voiceprints.verification import Verification

__all__ = ["identified", "info", "measured", "problem_of", "verdict", "verified"]

_METRICS = TypeAdapter(tuple[Metric, ...])


def verdict(
    score: float,
    ratio: float | None,
    rule: BayesRule,
    decision: Decision,
    recordings: Sequence[HeardRecording],
    model: str,
) -> Verdict:
    """Of a trial."""
    return Verdict(
        score=score,
        log_likelihood_ratio=ratio,
        probability=None if ratio is None else rule.probability(ratio),
        prior=rule.prior,
        c_miss=rule.c_miss,
        c_fa=rule.c_fa,
        same_voice=decision.same_voice,
        decided_by=decision.by,
        threshold=decision.threshold,
        threshold_name=decision.name,
        threshold_source=_for_callers(decision.why),
        recordings=tuple(one.heard for one in recordings),
        model=model,
        notes=tuple(note for one in recordings for note in one.notes),
    )


def verified(found: Verification, recording: HeardRecording) -> VerifiedVoice:
    """Of a claim."""
    said = verdict(
        found.score,
        found.log_likelihood_ratio,
        found.rule,
        found.decision,
        [recording],
        found.entry.model.name,
    )
    return VerifiedVoice(**dict(said), voiceprint=found.entry.id, name=found.entry.name)


def identified(found: Identification, recording: HeardRecording, model: str) -> Identified:
    """Of a search."""
    return Identified(
        voiceprint=found.who and found.who.id,
        name=found.who and found.who.name,
        decided=found.decided,
        candidates=tuple(
            Candidate(
                voiceprint=one.entry.id,
                name=one.entry.name,
                score=one.score,
                log_likelihood_ratio=one.log_likelihood_ratio,
                probability=one.probability,
            )
            for one in found.candidates
        ),
        nobody=found.nobody,
        prior=found.rule.prior,
        c_miss=found.rule.c_miss,
        c_fa=found.rule.c_fa,
        decided_by=found.by,
        threshold=found.threshold,
        threshold_name=found.name,
        threshold_source=_for_callers(found.why),
        enrolled=found.enrolled,
        left_out=found.others,
        recordings=(recording.heard,),
        model=model,
        notes=(*found.notes, *recording.notes),
    )


def info(entry: Entry, running: Model) -> VoiceprintInfo:
    """Of a voiceprint."""
    return VoiceprintInfo(
        id=entry.id,
        name=entry.name,
        model=entry.model.name,
        weights_sha256=entry.model.id,
        usable=entry.model.id == running.id,
        recordings=entry.recordings,
        sound=entry.measures.speech,
        created=entry.created,
        updated=entry.updated,
    )


def measured(card: Card) -> tuple[MeasuredList, ...]:
    """The equal error rates on a card."""
    try:
        metrics = _METRICS.validate_python(getattr(card, "metrics", ()))
    except ValidationError:
        return ()  # an exported model's card is kept as it stands, also what a newer voxangle wrote
    return tuple(
        MeasuredList(
            trials=one.trials,
            condition=CONDITIONS.get(one.trials_sha256),
            eer=one.value,
            low=one.low,
            high=one.high,
            speakers=one.speakers,
            notes=tuple(note for note in one.notes if not note.startswith("minDCF")),
        )
        for one in metrics
        if one.name == "EER"
    )


def problem_of(error: VoxangleError) -> ProblemError:
    """What a caller is told of a mistake; neither names nor places of this machine."""
    match error:
        case UnknownVoiceprintError():
            return ProblemError(
                "no-such-voiceprint",
                "Nobody of this name is enrolled.",
                "See how the name is spelt: `GET /v1/voiceprints`, or Voiceprints on the page, lists who is enrolled. "
                "Who is not among them has not been enrolled yet, or was deleted.",
            )
        case OtherModelError():
            return ProblemError(
                "other-model",
                "This person's voiceprint was made with another model, and prints of two models cannot be compared.",
                "Enrol the person again with the model that runs now.",
            )
        case NameTakenError():
            return ProblemError(
                "name-taken",
                "Somebody of this name is enrolled already.",
                "Add to the voiceprint with `add=true`, delete it first, or take another name.",
            )
        case EnrolmentError():
            reasons = "; ".join(error.reasons)
            return ProblemError(
                "enrolment-refused",
                f"{reasons[:1].upper()}{reasons[1:]}.",
                "Record again as the reasons say; nothing was stored.",
            )
        case StorageError() | StoreKeyError():
            return ProblemError(
                "storage",
                "What this service keeps, voiceprints or keys, cannot be read or written now.",
                "The request is not at fault: come again later. Whoever runs the service finds the reason in its log, "
                "under the id of this request.",
                retry_after=10,
            )
    return ProblemError("bad-parameter", f"{_for_callers(str(error))}.", "Correct it and send it again.")


def _for_callers(text: str) -> str:
    """Sentences of the command line name its options."""
    return text.replace("--threshold", "`threshold`")
