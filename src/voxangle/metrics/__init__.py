"""Error rates of verification, their uncertainty, and calibration; numpy only."""

from voxangle.metrics.bootstrap import (
    Bootstrap,
    Interval,
    LlrBootstrap,
    PairedDifference,
    bootstrap,
    llr_bootstrap,
    paired_difference,
    resample,
)
from voxangle.metrics.calibration import (
    FEWEST_TRIALS,
    AffineCalibration,
    LinearCalibration,
    fit_calibration,
    fit_linear,
)
from voxangle.metrics.llr import act_dcf, cllr, min_cllr
from voxangle.metrics.operating_points import OperatingPoint, SortedScores, det_curve, eer, min_dcf

__all__ = [
    "FEWEST_TRIALS",
    "AffineCalibration",
    "Bootstrap",
    "Interval",
    "LinearCalibration",
    "LlrBootstrap",
    "OperatingPoint",
    "PairedDifference",
    "SortedScores",
    "act_dcf",
    "bootstrap",
    "cllr",
    "det_curve",
    "eer",
    "fit_calibration",
    "fit_linear",
    "llr_bootstrap",
    "min_cllr",
    "min_dcf",
    "paired_difference",
    "resample",
]
