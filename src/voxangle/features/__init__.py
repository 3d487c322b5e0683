"""From waveforms to the log-mel energies that an encoder reads."""

from voxangle.features.filterbank import Filterbank, FilterbankConfig
from voxangle.features.padding import padding_mask

__all__ = ["Filterbank", "FilterbankConfig", "padding_mask"]
