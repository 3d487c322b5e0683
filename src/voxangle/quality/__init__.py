"""Is a corpus fit to learn from? Duplicates, clipping, silence, sample-rate fakes, levels, doubtful labels."""

from voxangle.quality.duplicates import Duplicate, find_duplicates, take_print
from voxangle.quality.labels import Doubts, doubt_labels
from voxangle.quality.measures import Measures, measure
from voxangle.quality.report import KINDS, Kind, Limits, Quality, check_quality
from voxangle.quality.survey import Survey, survey

__all__ = [
    "KINDS",
    "Doubts",
    "Duplicate",
    "Kind",
    "Limits",
    "Measures",
    "Quality",
    "Survey",
    "check_quality",
    "doubt_labels",
    "find_duplicates",
    "measure",
    "survey",
    "take_print",
]
