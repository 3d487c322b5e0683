r"""Who is it, if anybody: one voice against all prints of a model, as an open set.

There are :math:`N + 1` hypotheses: the voice is that of one of the :math:`N` who are enrolled, or of nobody among them.
With the prior :math:`\pi` that it is somebody enrolled, each as likely as the other, and the log-likelihood ratio
:math:`\ell_i` of print i, which is against "a voice unknown", Bayes' rule gives

.. math::
    P_i = \frac{\frac{\pi}{N} e^{\ell_i}}{1 - \pi + \frac{\pi}{N} \sum_j e^{\ell_j}}, \qquad
    P_\mathrm{nobody} = \frac{1 - \pi}{1 - \pi + \frac{\pi}{N} \sum_j e^{\ell_j}}

(Bruemmer and de Villiers, "The speaker partitioning problem", Odyssey 2010, where the partitions are those of the
recording and the enrolled). The prior of each one is :math:`\pi / N`, and so the threshold at which to name i costs
less than to name nobody is that of verification (``BayesRule``), raised by the logarithm of the number enrolled:

.. math::
    \ell_i \ge \eta + \ln N, \qquad \eta = \ln \frac{(1 - \pi) \, C_\mathrm{fa}}{\pi \, C_\mathrm{miss}}

However many are enrolled, a stranger is taken for one of them with a probability of at most :math:`e^{-\eta}`, if the
ratios are calibrated: the mean of :math:`e^{\ell}` over strangers is then 1, so that by Markov's inequality each ratio
is above the threshold with a probability of at most :math:`e^{-\eta} / N`, and :math:`N` of them share that
(the false-positive identification rate of ISO/IEC 19795-1). At the default of equal costs and :math:`\pi = 0.5` that
bound says nothing; state your own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from voxangle.errors import VoiceprintError
from voxangle.runtime.card import Card, choose_threshold
from voxangle.runtime.decision import BayesRule
from voxangle.runtime.embedding import BaseEmbedder
from voxangle.voiceprints.store import Entry, Found, Model, Recording, VoiceprintStore

__all__ = ["Candidate", "Identification", "identify"]

_DEPTH = 100
"""How many of the nearest prints get a ratio: measures of quality may change their order, those beyond add nothing."""


_By = Literal["log_likelihood_ratio", "score"] | None


class _Limit(NamedTuple):
    """What is compared, from which value on, what that is called and why."""

    by: _By
    value: float | None
    name: str | None
    why: str


class Candidate(NamedTuple):
    """Somebody it may be.

    Attributes:
        entry: the print.
        score: the cosine of the print's mean and the recording's embedding.
        log_likelihood_ratio: against an unknown voice, in nats; None where the model has no calibration.
        probability: that it is this person, of all who are enrolled and nobody; None likewise.
    """

    entry: Entry
    score: float
    log_likelihood_ratio: float | None
    probability: float | None


@dataclass(frozen=True, slots=True)
class Identification:
    """What is to be said of a voice.

    Attributes:
        who: the print that it is taken for; None for nobody, or where nothing can decide.
        decided: whether something could.
        by: what was compared with the threshold.
        threshold: from which on the best candidate is named.
        name: of the threshold: ``bayes``, ``given``, or one on the card.
        why: where it comes from, for a person to read.
        candidates: the best, best first, those below the threshold among them.
        nobody: the probability that it is nobody who is enrolled; None where the model has no calibration.
        enrolled: N.
        others: prints of other models, which were left out.
        rule: what the decision is best for; its prior is that of somebody enrolled.
        notes: what else is to be said.
    """

    who: Entry | None
    decided: bool
    by: _By
    threshold: float | None
    name: str | None
    why: str
    candidates: tuple[Candidate, ...]
    nobody: float | None
    enrolled: int
    others: int
    rule: BayesRule
    notes: tuple[str, ...]


def identify(
    store: VoiceprintStore,
    embedder: BaseEmbedder,
    recording: Recording,
    *,
    actor: str,
    top: int = 5,
    rule: BayesRule | None = None,
    threshold: str | None = None,
    exact: bool = False,
) -> Identification:
    """Whose voice it is, if that of anybody enrolled. The audit trail gets a line.

    Args:
        store: of prints.
        embedder: that embedded the recording.
        recording: of somebody.
        actor: for the audit trail.
        top: how many candidates at most, 1 to 100.
        rule: prior of somebody enrolled, and costs; None for 0.5 and equal costs.
        threshold: of the score instead, as it is, or the name of one on the model's card.
        exact: look at every print, also where an approximate index would answer.

    Raises:
        VoiceprintError: ``top`` is out of range.
        VoxangleError: the threshold is no number and no name on the card.
    """
    if not 1 <= top <= _DEPTH:
        raise VoiceprintError(f"{top} candidates: from 1 to {_DEPTH} can be asked for")
    rule = rule or BayesRule()
    model = Model.of(embedder)
    found = store.search(model, recording.vector, _DEPTH, exact=exact)
    candidates, nobody = _weighed(embedder.card, found, recording, rule)
    limit = _threshold(embedder.card, found, rule, threshold)
    above = [] if limit.value is None else [one for one in candidates if _value(one, limit.by) >= limit.value]
    who = above[0].entry if above else None
    store.note(
        "identify",
        actor=actor,
        print_id=None if who is None else who.id,
        model=model,
        identified=who is not None,
        enrolled=found.enrolled,
    )
    return Identification(
        who,
        limit.value is not None or not found.enrolled,
        *limit,
        tuple(candidates[:top]),
        nobody,
        found.enrolled,
        found.others,
        rule,
        tuple(_notes(found, above, limit)),
    )


def _weighed(
    card: Card, found: Found, recording: Recording, rule: BayesRule
) -> tuple[list[Candidate], float | None]:
    """Candidates, best first, and the probability of nobody."""
    fit = card.calibration
    if fit is None:
        return [Candidate(entry, score, None, None) for entry, score in found.neighbours], None
    ratios = [
        fit.log_likelihood_ratio(score, entry.measures, recording.measures)
        for entry, score in found.neighbours
    ]
    each = math.log(rule.prior) - math.log(max(found.enrolled, 1))
    log_weights = np.array([math.log1p(-rule.prior), *(each + ratio for ratio in ratios)])
    weights = np.exp(log_weights - log_weights.max())
    nobody, *probabilities = (weights / weights.sum()).tolist()
    candidates = [
        Candidate(entry, score, ratio, probability)
        for (entry, score), ratio, probability in zip(found.neighbours, ratios, probabilities, strict=True)
    ]
    return sorted(candidates, key=lambda one: _value(one, "log_likelihood_ratio"), reverse=True), nobody


def _threshold(card: Card, found: Found, rule: BayesRule, asked: str | None) -> _Limit:
    if not found.enrolled:
        return _Limit(None, None, None, "nobody is enrolled with this model")
    if asked is not None:
        given = choose_threshold(card, asked)
        assert given is not None  # noqa: S101 - one was asked for
        return _Limit("score", given.value, given.name, str(given))
    if card.calibration is None:
        why = (
            f"the model has no calibration, and a threshold for two recordings is too low for {found.enrolled:,} "
            "enrolled; calibrate it with `voxangle calibrate`, or give one with --threshold"
        )
        return _Limit(None, None, None, why)
    raised = rule.threshold + math.log(found.enrolled)
    why = f"{rule}: {rule.threshold:+.2f}, and {math.log(found.enrolled):.2f} more for {found.enrolled:,} enrolled"
    return _Limit("log_likelihood_ratio", raised, "bayes", why)


def _value(one: Candidate, by: _By) -> float:
    value = one.log_likelihood_ratio if by == "log_likelihood_ratio" else one.score
    assert value is not None  # noqa: S101 - there is a calibration where ratios are compared
    return value


def _notes(
    found: Found,
    above: list[Candidate],
    limit: _Limit,
) -> list[str]:
    notes = []
    if found.others:
        notes.append(
            f"{found.others:,} voiceprints of other models were left out: they cannot be compared; enrol them again "
            "with this model"
        )
    if len(above) > 1:
        notes.append(
            f"{len(above)} candidates are above the threshold; look at their probabilities, or record more speech"
        )
    if limit.by == "score" and found.enrolled > 1:
        notes.append(
            f"the threshold '{limit.name}' is one of two recordings: with {found.enrolled:,} enrolled a stranger has "
            "as many chances to be taken for one of them"
        )
    return notes
