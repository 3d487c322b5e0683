from __future__ import annotations

import os
import struct

import numpy as np
import pytest
import soundfile

from voxangle.audio import SILENCE_FLOOR, load, probe
from voxangle.errors import AudioError


def wav(
    samples: bytes, promised: int, riff: int | None = None, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A 16 kHz mono 16-bit WAV whose headers say what they are told."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    body = b"WAVE" + form + before + b"data" + struct.pack("<I", promised) + samples + after
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf60.16.100\0"
SAMPLES = (3000 * np.sin(np.arange(16_000) / 5)).astype("<i2")


@pytest.fixture
def save(tmp_path):
    def save_bytes(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return save_bytes


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3"])
@pytest.mark.parametrize("fraction", [0.03, 0.5, 0.9])
def test_a_truncated_recording_is_refused(suffix, fraction, voice, write):
    path = write(f"a{suffix}", voice(4.0, 16_000))
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(AudioError, match=r"truncated|broken header"):
        load(path)


def test_a_wav_one_byte_short_is_truncated(save):
    path = save("a.wav", wav(SAMPLES.tobytes()[:-1], 32_000))
    with pytest.raises(
        AudioError, match=r"truncated: its header promises 32000 bytes of samples, the file has 31999"
    ):
        probe(path)


def test_an_ogg_stream_without_its_last_page_is_truncated_even_at_the_edge_of_a_page(voice, write):
    path = write("a.opus", voice(4.0, 16_000))
    content = path.read_bytes()
    path.write_bytes(content[: content.rfind(b"OggS")])
    with pytest.raises(AudioError, match="truncated"):
        load(path)


@pytest.mark.parametrize(
    ("promised", "riff"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x7FFFF000, 0x7FFFF024),
        (0x80000000, 0x80000024),
        (0, 0),
        (0, 36),
        (0, 0xFFFFFFFF),
    ],
    ids=["ffmpeg", "sox", "arecord", "zeros", "gstreamer", "zero-data"],
)
def test_a_wav_streamed_through_a_pipe_is_whole(promised, riff, save):
    path = save("a.wav", wav(SAMPLES.tobytes(), promised, riff, before=LIST))
    np.testing.assert_array_equal(load(path), SAMPLES / np.float32(32_768))
    np.testing.assert_array_equal(
        load(path, start=0.5, seconds=0.25), SAMPLES[8000:12_000] / np.float32(32_768)
    )


@pytest.mark.parametrize("after", [b"", LIST], ids=["bare", "tagged"])
def test_a_recording_without_samples_is_refused(after, save):
    with pytest.raises(AudioError, match=r"holds no samples \(zero length\)"):
        load(save("a.wav", wav(b"", 0, after=after)))


def test_chunks_after_the_samples_are_not_heard(save):
    assert len(load(save("a.wav", wav(SAMPLES.tobytes(), 32_000, after=LIST)))) == len(SAMPLES)


@pytest.mark.parametrize("level", [0.0, 0.25, -1.0])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_constant_is_silence(level, rate, write):
    with pytest.raises(AudioError, match="is silent"):
        load(write("a.wav", np.full(rate, level, np.float32), rate))


def test_the_floor_of_silence_is_where_it_is_stated(write):
    tone = np.sin(np.arange(16_000) / 5).astype(np.float32)
    with pytest.raises(AudioError, match="is silent"):
        load(write("a.wav", np.float32(0.9 * SILENCE_FLOOR) * tone, subtype="FLOAT"))
    assert len(load(write("b.wav", np.float32(1.1 * SILENCE_FLOOR) * tone, subtype="FLOAT"))) == 16_000


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_silent_segment_of_a_loud_recording_is_silent(rate, voice, write):
    samples = voice(3.0, rate)
    samples[rate : 2 * rate] = 0
    path = write("a.wav", samples, rate)
    with pytest.raises(AudioError, match="is silent"):
        load(path, start=1.0, seconds=1.0)
    load(path, start=0.5, seconds=1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_that_are_not_numbers_are_refused(value, channels, voice, write):
    samples = np.stack([voice(0.5, 16_000)] * channels, axis=1)
    samples[4000] = value, *[-value] * (channels - 1)
    with pytest.raises(AudioError, match="not finite"):
        load(write("a.wav", samples, subtype="FLOAT"))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.raw", "a.txt"])
@pytest.mark.parametrize(
    "content",
    [
        b"Not a recording.\n" * 200,
        np.random.default_rng(0).bytes(20_000),
        b"\0" * 5000,
        b"RIFF",
        b"OggS",
        b"\xff",
    ],
    ids=["text", "noise", "zeros", "riff", "ogg", "one byte"],
)
def test_what_is_not_audio_is_refused(name, content, save):
    path = save(name, content)
    with pytest.raises(AudioError, match=r"not audio|truncated") as caught:
        load(path)
    assert caught.value.path == path
    assert str(caught.value) == f"{path}: {caught.value.cause}"


def test_a_missing_file_a_folder_and_an_empty_file_are_told_apart(save, tmp_path):
    for path, cause in [
        (tmp_path / "no.wav", "no such file"),
        (tmp_path, "is a folder, not a recording"),
        (save("a.wav", b""), "the file is empty (0 bytes)"),
        (tmp_path / "a.wav" / "b.wav", "cannot be read (Not a directory)"),
    ]:
        for read in (load, probe):
            with pytest.raises(AudioError) as caught:
                read(path)
            assert caught.value.cause == cause


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="not a regular file"):
        load(tmp_path / "pipe.wav")


@pytest.mark.parametrize("rate", [1, 300, 2_000_000])
def test_a_header_with_an_absurd_rate_is_refused_before_it_fills_the_memory(tmp_path, rate):
    path = tmp_path / "liar.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 64_000), rate)
    with pytest.raises(AudioError, match=f"{rate} Hz"):
        load(path)


def test_a_name_that_is_not_in_utf_8_is_said_so(tmp_path):
    samples = 0.1 * np.sin(np.arange(16_000) / 9)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    named = tmp_path / os.fsdecode(b"bad\xff.wav")
    (tmp_path / "a.wav").rename(named)
    with pytest.raises(AudioError, match="has a name that is not in UTF-8; rename it"):
        load(named)
