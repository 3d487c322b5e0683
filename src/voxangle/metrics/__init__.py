"""Error rates of verification, their uncertainty, and calibration; numpy only."""

from voxangle.metrics.bootstrap import (
    Bootstrap,
    Interval,
    PairedDifference,
    bootstrap,
    paired_difference,
)
from voxangle.metrics.calibration import AffineCalibration, fit_calibration
from voxangle.metrics.operating_points import OperatingPoint, SortedScores, det_curve, eer, min_dcf

__all__ = [
    "AffineCalibration",
    "Bootstrap",
    "Interval",
    "OperatingPoint",
    "PairedDifference",
    "SortedScores",
    "bootstrap",
    "det_curve",
    "eer",
    "fit_calibration",
    "min_dcf",
    "paired_difference",
]
