"""Is a corpus fit to learn from? Duplicates, clipping, silence, sample-rate fakes, levels, doubtful labels.

Measured with ``voxangle corpora check table --root ROOT --audio`` on 9 h of real speech in six corpora (7,843
utterances, 610 speakers; the limits were set on it, so that these figures are optimistic), and on a third of it with
defects put in:

========================  ===================  ==================================================================
defect                    found of put in      false alarms on the 7,843 utterances as they are
========================  ===================  ==================================================================
copies                    77 of 80             none: the 2 pairs found are copies (correlation 1.00)
upsampled from 8 kHz      60 of 60             106 of 6,733 wide-band (1.6 %); 1,077 of 1,110 telephone are found
clipped (1 to 3 %)        60 of 60             24, flat tops all of one corpus
mostly silence            40 of 40             7 of 1,110 telephone, of others none
offset of 0.02            20 of 20             none
========================  ===================  ==================================================================

The upsampled were written as WAV, MP3 and Opus; the copies as WAV, MP3, and as WAV and Opus at another level after
silence. Not found: upsampling by linear interpolation, whose images lie above 4 kHz, and clipping that went through
a lossy coding afterwards, which rounds the flat tops.

Labels: with 2 % of the labels exchanged and an ECAPA-TDNN of 192 channels trained on the labels before the exchange
(optimistic), a doubt above 0.2 finds 48 of 49 at a precision of 0.80 among the recordings without another defect;
a defective recording is often doubted too, and with those the precision is 0.41.
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
