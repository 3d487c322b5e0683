"""Is a corpus fit to learn from? Duplicates, clipping, silence, sample-rate fakes, levels, doubtful labels.

What ``voxangle corpora check table --root ROOT --audio`` flags on 9 h of real speech in six corpora, 7,843 utterances
of 610 speakers, as they are (the limits were set on these, so that the figures are optimistic): 2 pairs of copies,
which are copies; 1,077 of 1,110 telephone recordings as narrow-band, and 106 of the 6,733 others (1.6 %); 24 clipped,
all with flat tops; 7 mostly silent, all telephone.

Not found: upsampling by linear interpolation, whose images lie above 4 kHz, and clipping that went through a lossy
coding afterwards, which rounds the flat tops. A defective recording is often doubted as mislabelled too; and a model
that was trained on the labels it is asked about finds fewer wrong ones.
"""

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
