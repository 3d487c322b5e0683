"""What a waveform is: any recording decoded to 16 kHz mono float32, and nothing unusable let through."""

from voxangle.audio.decode import AUDIO_SUFFIXES, load, probe
from voxangle.audio.levels import SILENCE_FLOOR
from voxangle.audio.resampling import SAMPLE_RATE, Waveform, resample
from voxangle.audio.source import AudioInfo

__all__ = [
    "AUDIO_SUFFIXES",
    "SAMPLE_RATE",
    "SILENCE_FLOOR",
    "AudioInfo",
    "Waveform",
    "load",
    "probe",
    "resample",
]
