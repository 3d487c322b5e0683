"""Scored trials: the figures of a list, or of a part of it, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxangle.errors import TrialError
from voxangle.metrics import Interval, OperatingPoint, SortedScores, act_dcf, cllr, min_cllr
from voxangle.metrics.bootstrap import Bootstrap, bootstrap, llr_bootstrap
from voxangle.scoring.result import Calibrated, Condition, DetectionCost, Figure, Measure
from voxangle.scoring.trial_scores import with_both_classes

__all__ = ["ScoredTrials"]

_EER = "FNR = FPR by linear interpolation between ROC points, tied scores merged"
_MIN_DCF = "least c_miss p FNR + c_fa (1 - p) FPR over all thresholds, over min(c_miss p, c_fa (1 - p))"
_ACT_DCF = (
    "c_miss p FNR + c_fa (1 - p) FPR at the threshold ln(c_fa (1 - p) / (c_miss p)), normalised as minDCF"
)
_CLLR = (
    "mean over both classes of log2(1 + exp(-LLR)) of targets and log2(1 + exp(LLR)) of non-targets, in bits"
)
_ANYTHING = Interval(0.0, 1.0)


@dataclass(frozen=True, eq=False)
class ScoredTrials:
    """Scores, truth and speakers of trials, shape (trials,) each, and what is asked of them.

    Attributes:
        scores: of the trials.
        target: true where both sides are one speaker.
        enrol_speaker: number of the speaker enrolled.
        test_speaker: number of the speaker who is tested.
        priors: of a target trial, one for each minDCF.
        replicates: of the bootstrap.
        seed: of the bootstrap.
        enrol_session: number of the session enrolled, where sessions are drawn too.
        test_session: number of the session that is tested, likewise.
    """

    scores: NDArray[np.floating[Any]]
    target: NDArray[np.bool_]
    enrol_speaker: NDArray[np.int64]
    test_speaker: NDArray[np.int64]
    priors: Sequence[float]
    replicates: int
    seed: int
    enrol_session: NDArray[np.int64] | None = None
    test_session: NDArray[np.int64] | None = None

    def intervals(self) -> Bootstrap:
        """Of the figures, by bootstrap over speakers."""
        return bootstrap(
            self.scores,
            self.target,
            self.enrol_speaker,
            self.test_speaker,
            priors=self.priors,
            replicates=self.replicates,
            seed=self.seed,
            enrol_session=self.enrol_session,
            test_session=self.test_session,
        )

    def figures(self, intervals: Bootstrap | None) -> tuple[Measure, tuple[DetectionCost, ...]]:
        """EER and minDCFs within their intervals, which are all of [0, 1] where nothing is known."""
        ordered = SortedScores.of(self.scores[self.target], self.scores[~self.target])
        around_eer = intervals.eer if intervals else _ANYTHING
        around_costs = intervals.min_dcf if intervals else [_ANYTHING] * len(self.priors)
        return Measure(**_figure(ordered.eer(), around_eer), definition=_EER), tuple(
            DetectionCost(**_figure(ordered.min_dcf(p_target=p), around), definition=_MIN_DCF, p_target=p)
            for p, around in zip(self.priors, around_costs, strict=True)
        )

    def calibrated(self, llrs: NDArray[np.floating[Any]], source: str) -> Calibrated:
        """What log-likelihood ratios of the trials, shape (trials,), cost; ``source`` is their calibration's."""
        of_targets, of_nontargets = llrs[self.target], llrs[~self.target]
        around = llr_bootstrap(
            llrs,
            self.target,
            self.enrol_speaker,
            self.test_speaker,
            priors=self.priors,
            replicates=self.replicates,
            seed=self.seed,
            enrol_session=self.enrol_session,
            test_session=self.test_session,
        )
        return Calibrated(
            source=source,
            cllr=Figure(
                value=cllr(of_targets, of_nontargets),
                low=around.cllr.low,
                high=around.cllr.high,
                definition=_CLLR,
            ),
            min_cllr=min_cllr(of_targets, of_nontargets),
            act_dcf=tuple(
                DetectionCost(
                    value=act_dcf(of_targets, of_nontargets, p_target=p),
                    threshold=math.log((1 - p) / p),
                    low=ends.low,
                    high=ends.high,
                    definition=_ACT_DCF,
                    p_target=p,
                )
                for p, ends in zip(self.priors, around.act_dcf, strict=True)
            ),
        )

    def condition(self, name: str, mask: NDArray[np.bool_]) -> Condition:
        """The figures of the trials in ``mask``; see ``Condition`` for a mask that lacks a class."""
        if mask.shape != self.target.shape:
            raise ValueError(f"{self.target.size} trials, but a condition of shape {mask.shape}")
        mask, whole = with_both_classes(mask, self.target)
        part = replace(
            self,
            scores=self.scores[mask],
            target=self.target[mask],
            enrol_speaker=self.enrol_speaker[mask],
            test_speaker=self.test_speaker[mask],
            enrol_session=None if self.enrol_session is None else self.enrol_session[mask],
            test_session=None if self.test_session is None else self.test_session[mask],
        )
        try:
            intervals: Bootstrap | None = part.intervals()
        except TrialError:  # no draw of so few speakers held both classes
            intervals = None
        eer, min_dcf = part.figures(intervals)
        targets = int(np.count_nonzero(part.target))
        return Condition(
            name=name,
            targets=targets,
            nontargets=part.target.size - targets,
            speakers=np.count_nonzero(np.bincount(np.concatenate([part.enrol_speaker, part.test_speaker]))),
            whole=whole,
            eer=eer,
            min_dcf=min_dcf,
        )


def _figure(point: OperatingPoint, interval: Interval) -> dict[str, Any]:
    return {
        "value": point.rate,
        "threshold": point.threshold,
        "low": interval.low,
        "high": interval.high,
    }
