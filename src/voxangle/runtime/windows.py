"""A long recording as windows, and how their embeddings become one."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, floor
from typing import NamedTuple

from pydantic import Field, model_validator

from voxangle.audio import SAMPLE_RATE
from voxangle.config import Config

__all__ = ["Window", "Windows"]

# The filterbank's frames: 25 ms every 10 ms.
_FRAME, _SHIFT = 400, 160


class Window(NamedTuple):
    """A stretch of a recording.

    Attributes:
        first: its first sample, at 16 kHz.
        samples: how many.
    """

    first: int
    samples: int


class Windows(Config):
    r"""How a recording that is too long to be embedded whole is cut.

    A recording of up to ``seconds`` is one window. A longer one has the fewest windows that are no longer than that,
    all of equal length (to a frame), so that none is a stub: 61 s make two of 30.5 s. They begin on frames of the
    filterbank and reach just far enough that without overlap every frame of the whole belongs to one window: no
    sample is lost at a seam. The recording's embedding is the mean of its windows' embeddings :math:`e_i`, as the
    encoder gives them (before any are brought to unit length), weighted by their lengths :math:`n_i` in samples:

    .. math:: e = \frac{\sum_i n_i e_i}{\sum_i n_i}

    Windows in which nothing sounds have no weight.

    Attributes:
        seconds: the longest window. Longer is nearer to the embedding of the whole and takes more memory (an
            ECAPA-TDNN of 512 channels 0.2 GB a minute). Of 12 real voices of 3.5 min each (``benchmarks.windows``)
            the cosine with the whole is 0.9997 with 60 s, 0.9993 with 30 s and 0.9969 with 10 s.
        overlap: seconds that neighbours share; those count twice. None by default: it brings nothing nearer to the
            whole (0.9995 with 6 s) and costs its share of the time.
    """

    seconds: float = Field(default=60.0, ge=1.0)
    overlap: float = Field(default=0.0, ge=0.0)

    @model_validator(mode="after")
    def _moves_on(self) -> Windows:
        if self.overlap > self.seconds / 2:
            raise ValueError(
                f"overlap ({self.overlap:g} s) must be at most half a window ({self.seconds:g} s); "
                "more embeds every second three times and over"
            )
        return self

    def cut(self, samples: int) -> list[Window]:
        """The windows of a recording, in order, from its first sample to its last.

        Args:
            samples: of the recording, at 16 kHz.
        """
        longest, shared = (round(s * SAMPLE_RATE) // _SHIFT for s in (self.seconds, self.overlap))
        frames = 1 + (samples - _FRAME) // _SHIFT
        if samples <= self.seconds * SAMPLE_RATE or frames <= longest:
            return [Window(0, samples)]
        count = ceil((frames - shared) / (longest - shared))
        begins = [floor(i * (frames - shared) / count) for i in range(count + 1)]
        windows = [
            Window(begin * _SHIFT, (end + shared - begin - 1) * _SHIFT + _FRAME)
            for begin, end in pairwise(begins)
        ]
        last = windows[-1].first
        return [*windows[:-1], Window(last, samples - last)]
