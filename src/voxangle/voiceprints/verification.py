"""A claimed identity against a voice: log-likelihood ratio, probability, decision."""

from __future__ import annotations

from dataclasses import dataclass

from voxangle.runtime.decision import BayesRule, Decision, decide
from voxangle.runtime.embedding import BaseEmbedder
from voxangle.voiceprints.enrolment import cosine
from voxangle.voiceprints.store import Entry, Model, Recording, VoiceprintStore

__all__ = ["Verification", "verify"]


@dataclass(frozen=True, slots=True)
class Verification:
    """What is to be said of a claim.

    Attributes:
        entry: the print of whom the voice claims to be.
        score: the cosine of the print's mean and the recording's embedding.
        log_likelihood_ratio: in nats; None where the model has no calibration.
        probability: that it is this person's voice, at the rule's prior; None likewise.
        rule: what the decision is best for.
        decision: whether it is this person's voice, and why.
    """

    entry: Entry
    score: float
    log_likelihood_ratio: float | None
    probability: float | None
    rule: BayesRule
    decision: Decision


def verify(
    store: VoiceprintStore,
    embedder: BaseEmbedder,
    name: str,
    recording: Recording,
    *,
    actor: str,
    rule: BayesRule | None = None,
    threshold: str | None = None,
) -> Verification:
    """Whether a recording is of the person whom it claims to be of. The audit trail gets a line.

    Args:
        store: of prints.
        embedder: that embedded the recording; its calibration counts, also where the print was made under another.
        name: of the person.
        recording: of the claim.
        actor: for the audit trail.
        rule: what the decision is to be best for; None for equal costs and a prior of 0.5.
        threshold: of the score instead, or the name of one on the model's card; see ``decide``.

    Raises:
        UnknownVoiceprintError: nobody has this name.
        OtherModelError: the person has prints of other models only.
        VoxangleError: the threshold is no number and no name on the card.
    """
    rule = rule or BayesRule()
    model = Model.of(embedder)
    print_ = store.get(name, model)
    score = cosine(print_.mean, recording.vector)
    fit = embedder.card.calibration
    ratio = (
        None if fit is None else fit.log_likelihood_ratio(score, print_.entry.measures, recording.measures)
    )
    decision = decide(embedder.card, score, ratio, rule, threshold)
    store.note("verify", actor=actor, print_id=print_.entry.id, model=model, accepted=decision.same_voice)
    probability = None if ratio is None else rule.probability(ratio)
    return Verification(print_.entry, score, ratio, probability, rule, decision)
