"""Impulse responses of rooms, measured or simulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch

from voxangle.audio import SAMPLE_RATE, Waveform, load, probe, resample
from voxangle.augment.mixing import DIRECT_PATH
from voxangle.errors import AudioError, MissingExtraError
from voxangle.storage import atomic_write

__all__ = ["aligned", "measured_room", "simulated_rooms"]

_LONGEST = SAMPLE_RATE
_VERSION = 1
_REFLECTIONS = 40  # of one path: what is left out lies 30 dB or more down, and the cost grows with its cube


def aligned(responses: list[Waveform]) -> torch.Tensor:
    """Responses with their direct paths at ``DIRECT_PATH``, cut to a second, shape (rooms, L), float32.

    The direct path is the first tap at least half as strong as the strongest: far from the source a
    reflection, or several together, can be stronger than it. Every response has a peak of 1.
    """
    shifted = []
    for response in responses:
        size = np.abs(response)
        direct = int(np.argmax(size >= size.max() / 2))
        lead = np.zeros(max(0, DIRECT_PATH - direct), np.float32)
        whole = np.concatenate([lead, response[max(0, direct - DIRECT_PATH) :]])
        shifted.append(torch.from_numpy(whole[:_LONGEST] / size.max()).float())
    return torch.nn.utils.rnn.pad_sequence(shifted, batch_first=True)


def measured_room(path: Path) -> Waveform:
    """An impulse response from a file; of several channels the one with the highest peak.

    Not their mean: the microphones of an array hear the direct path at different times, and their mean
    would comb out the treble.

    Returns:
        Shape (samples,), float32, at 16 kHz.

    Raises:
        AudioError: the file cannot be read, or has several channels and is not wav, flac or ogg.
    """
    response = load(path)
    if probe(path).channels == 1:
        return response
    try:
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(
            path, "several channels, of which one cannot be taken in this format; convert it to wav"
        ) from error
    return resample(np.ascontiguousarray(channels[:, np.abs(channels).max(axis=0).argmax()]), rate)


def simulated_rooms(count: int, *, seed: int, cache: Path) -> torch.Tensor:
    """Impulse responses of shoebox rooms by the image source method (Allen and Berkley, JASA 1979).

    Rooms of 3-9 x 3-8 x 2.4-4 m with a reverberation time of 0.2-0.9 s, source and microphone anywhere at
    least 0.5 m from the walls. Simulated once (about 5 s for 128 rooms) and kept under ``cache``.

    Args:
        count: number of rooms.
        seed: of sizes, reverberation times and places.
        cache: folder to keep them in.

    Returns:
        Shape (count, L), float32, as ``aligned`` gives them.

    Raises:
        MissingExtraError: pyroomacoustics is not installed, and the rooms are not in the cache.
        StorageError: the cache cannot be written.
    """
    path = cache / f"rooms-v{_VERSION}-{count}-{seed}.npy"
    if path.exists():
        return torch.from_numpy(np.load(path))
    rooms = _simulate(count, np.random.default_rng(seed))
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, rooms.numpy())
    return rooms


def _simulate(count: int, random: np.random.Generator) -> torch.Tensor:
    try:
        import pyroomacoustics
    except ImportError as error:
        raise MissingExtraError(
            "augment.kinds.reverb > 0 without augment.rirs (a folder of impulse responses)", "rir"
        ) from error
    responses: list[Waveform] = []
    while len(responses) < count:
        size = random.uniform((3.0, 3.0, 2.4), (9.0, 8.0, 4.0))
        seconds = random.uniform(0.2, 0.9)
        source, microphone = random.uniform(0.5, size - 0.5, (2, 3))
        try:
            absorption, reflections = pyroomacoustics.inverse_sabine(seconds, size)
        except ValueError:  # so large a room cannot be so dry
            continue
        room = pyroomacoustics.ShoeBox(
            size,
            fs=SAMPLE_RATE,
            materials=pyroomacoustics.Material(absorption),
            max_order=min(reflections, _REFLECTIONS),
        )
        room.add_source(source)
        room.add_microphone(microphone)
        room.compute_rir()
        responses.append(np.asarray(room.rir[0][0], np.float32))
    return aligned(responses)
