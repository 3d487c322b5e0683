"""EER and minDCF of ten million scores."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_curve

from benchmarks.ratio import Measurement, in_turns
from voxangle.metrics import SortedScores

__all__ = ["error_rates"]


def error_rates(rounds: int) -> Measurement:
    """Seconds for EER and both minDCFs, beside scikit-learn's ROC curve alone."""
    random = np.random.default_rng(0)
    target = random.normal(1.5, 1, 100_000).astype(np.float32)
    nontarget = random.normal(-1.5, 1, 9_900_000).astype(np.float32)
    scores, labels = np.concatenate([target, nontarget]), np.repeat([1, 0], [len(target), len(nontarget)])

    def ours() -> None:
        ordered = SortedScores.of(target, nontarget)
        ordered.eer()
        for prior in (0.01, 0.05):
            ordered.min_dcf(p_target=prior)

    def theirs() -> None:
        roc_curve(labels, scores)

    our_seconds, their_seconds = in_turns(ours, theirs, rounds=rounds, warm_up=1)
    detail = (
        f"float32, {len(target):,} targets and {len(nontarget):,} non-targets, one thread; scikit-learn's roc_curve "
        f"alone takes {np.median(their_seconds / our_seconds):.1f} times as long"
    )
    return Measurement.of("EER + minDCF, 1e7 scores", our_seconds, "s", detail, most=0.5)
