"""Is a corpus fit to learn from? Duplicates, clipping, silence, sample-rate fakes, levels, doubtful labels.

``docs/quality.md`` defines each finding and says what it finds and misses on real speech with seeded defects
(``python -m benchmarks.quality``). Not found: copies at another speed, with noise added, or cut from a longer
recording; upsampling by linear interpolation, whose images lie above 4 kHz; clipping that went through a lossy coding
afterwards, which rounds the flat tops. A defective recording is often doubted as mislabelled too; and a model that was
trained on the labels it is asked about finds fewer wrong ones.
"""

from voxangle.audio.measures import Measures, measure
from voxangle.quality.duplicates import Duplicate, find_duplicates, take_print
from voxangle.quality.labels import Doubts, doubt_labels
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
