r"""Decisions by Bayes' rule: from a log-likelihood ratio, a prior and costs to the answer that costs least.

Of a trial with log-likelihood ratio :math:`\ell` (natural logarithm), at the prior :math:`\pi` of one voice, the
probability of one voice is

.. math:: P = \sigma(\ell + \operatorname{logit} \pi)

and to accept costs less on average than to reject where

.. math:: \ell \ge \ln \frac{(1 - \pi) \, C_\mathrm{fa}}{\pi \, C_\mathrm{miss}}

(Bruemmer and du Preez, "Application-independent evaluation of speaker detection", 2006, section 3).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from pydantic import Field, ValidationError

from voxangle.config import Config, first_problem
from voxangle.errors import VoxangleError
from voxangle.runtime.card import Card, choose_threshold

__all__ = ["BayesRule", "Decision", "decide"]


class BayesRule(Config):
    """What a decision is to be best for.

    Attributes:
        prior: probability, before anything is heard, that both recordings are of one voice; in (0, 1).
        c_miss: cost of calling one voice two, in any unit.
        c_fa: cost of calling two voices one, in the same unit.
    """

    prior: float = Field(default=0.5, gt=0.0, lt=1.0)
    c_miss: float = Field(default=1.0, gt=0.0)
    c_fa: float = Field(default=1.0, gt=0.0)

    @classmethod
    def check(cls, **given: float | None) -> BayesRule:
        """A rule from what a person typed; None for what was not given.

        Raises:
            VoxangleError: a prior is not in (0, 1), or a cost is not a number above 0.
        """
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            name, _, problem = first_problem(error).partition(": ")
            raise VoxangleError(
                f"--{name.replace('_', '-')} {given[name]:g}: {problem[0].lower()}{problem[1:]}"
            ) from error

    @property
    def threshold(self) -> float:
        """The log-likelihood ratio, in nats, from which one voice is the cheaper answer."""
        return math.log(1 - self.prior) - math.log(self.prior) + math.log(self.c_fa) - math.log(self.c_miss)

    def probability(self, ratio: float) -> float:
        """Of one voice, in [0, 1], at a log-likelihood ratio in nats; costs have no part in it."""
        log_odds = ratio + math.log(self.prior) - math.log(1 - self.prior)
        # The exponent is never positive, so that it cannot overflow.
        small = math.exp(-abs(log_odds))
        return 1 / (1 + small) if log_odds >= 0 else small / (1 + small)

    def __str__(self) -> str:
        return f"prior {self.prior:g}, a miss costs {self.c_miss:g}, a false acceptance {self.c_fa:g}"


class Decision(NamedTuple):
    """Whether two recordings are of one voice, and why.

    Attributes:
        same_voice: None where nothing can decide.
        by: what was compared with the threshold.
        threshold: from which on it is one voice.
        name: of the threshold: ``bayes``, ``given``, or one on the card.
        why: where the threshold comes from, for a person to read.
    """

    same_voice: bool | None
    by: Literal["log_likelihood_ratio", "score"] | None
    threshold: float | None
    name: str | None
    why: str


def decide(
    card: Card, score: float, ratio: float | None, rule: BayesRule, threshold: str | None = None
) -> Decision:
    """Decide by the log-likelihood ratio where there is one and no threshold of the score is asked for.

    Args:
        card: of the model.
        score: of the trial, a cosine.
        ratio: its log-likelihood ratio, in nats; None where the model has no calibration.
        rule: what the decision is to be best for; without a ratio it has no say.
        threshold: of the score, or the name of one on the card; None for Bayes' rule, or else the card's first.

    Raises:
        VoxangleError: the threshold is neither a finite number nor a name on the card.
    """
    if threshold is None and ratio is not None:
        return Decision(ratio >= rule.threshold, "log_likelihood_ratio", rule.threshold, "bayes", str(rule))
    limit = choose_threshold(card, threshold)
    if limit is None:
        return Decision(None, None, None, None, "the model has none; give one with --threshold")
    return Decision(score >= limit.value, "score", limit.value, limit.name, str(limit))
