"""From waveforms to the log-mel energies that an encoder reads."""

from voxangle.features.base import BaseFilterbank, BaseFilterbankConfig
from voxangle.features.filterbank import Filterbank, FilterbankConfig
from voxangle.features.padding import padding_mask
from voxangle.features.redimnet import ReDimNetFilterbank, ReDimNetFilterbankConfig
from voxangle.features.registry import FILTERBANKS, AnyFilterbankConfig, Definition, build_filterbank
from voxangle.features.speechbrain import SpeechBrainFilterbank, SpeechBrainFilterbankConfig

__all__ = [
    "FILTERBANKS",
    "AnyFilterbankConfig",
    "BaseFilterbank",
    "BaseFilterbankConfig",
    "Definition",
    "Filterbank",
    "FilterbankConfig",
    "ReDimNetFilterbank",
    "ReDimNetFilterbankConfig",
    "SpeechBrainFilterbank",
    "SpeechBrainFilterbankConfig",
    "build_filterbank",
    "padding_mask",
]
