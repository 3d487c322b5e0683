"""Error rates of verification and their uncertainty; numpy only."""

from voxangle.metrics.bootstrap import (
    Bootstrap,
    Interval,
    PairedDifference,
    bootstrap,
    paired_difference,
)
from voxangle.metrics.operating_points import OperatingPoint, SortedScores, det_curve, eer, min_dcf

__all__ = [
    "Bootstrap",
    "Interval",
    "OperatingPoint",
    "PairedDifference",
    "SortedScores",
    "bootstrap",
    "det_curve",
    "eer",
    "min_dcf",
    "paired_difference",
]
