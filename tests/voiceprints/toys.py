"""Made-up models, recordings and prints."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from voxangle.runtime.card import Calibration
from voxangle.runtime.measures import RecordingMeasures
from voxangle.voiceprints import Entry, Model, Recording, Reference, Voiceprint

DIMENSION = 16
MODEL = Model("a" * 64, "first", DIMENSION)
OTHER = Model("b" * 64, "second", DIMENSION)
FIT = Calibration(scale=20.0, offset=-10.0, source="forty trials")


def measures(speech: float = 5.0, clipping: float = 0.0) -> RecordingMeasures:
    return RecordingMeasures(speech, clipping, -20.0, 3.0)


def vector(person: int, recording: int = 0, dimension: int = DIMENSION) -> np.ndarray:
    """Near to the person's other recordings: their cosine is about 0.96, that of two people around 0."""
    own = np.random.default_rng((1, person)).standard_normal(dimension)
    apart = np.random.default_rng((2, person, recording)).standard_normal(dimension)
    return (3 * (own + 0.2 * apart)).astype(np.float32)


def recording(person: int, number: int = 0, speech: float = 5.0) -> Recording:
    reference = Reference(f"voice-{person}-{number}.wav", f"{person:032d}{number:032d}")
    return Recording(vector(person, number), measures(speech), reference)


def voiceprints(people: int, model: Model = MODEL) -> list[Voiceprint]:
    """Prints of one recording each, to be put into a store at once."""
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return [
        Voiceprint(
            Entry(f"{person:032x}", f"p{person}", model, None, 1, measures(), now, now),
            vector(person),
            (recording(person),),
        )
        for person in range(people)
    ]
