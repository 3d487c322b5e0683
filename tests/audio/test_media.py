from __future__ import annotations

import sys

import numpy as np
import pytest

from voxangle.audio import load, probe
from voxangle.errors import AudioError, MissingExtraError


@pytest.fixture
def encode(tmp_path, voice):
    av = pytest.importorskip("av", reason="the media extra is not installed")

    def encode_voice(
        name, codec, form, *, rate=16_000, seconds=3.0, layout="mono", options=None, coding=None
    ):
        path = tmp_path / name
        with av.open(str(path), "w", format=form, options=options or {}) as container:
            stream = container.add_stream(codec, rate=rate, options=coding or {})
            stream.layout = layout
            samples = voice(seconds, rate)[None]
            frame = av.AudioFrame.from_ndarray(
                np.repeat(samples, 2 if layout == "stereo" else 1, 0), "fltp", layout
            )
            frame.sample_rate = rate
            convert = av.AudioResampler(
                stream.format.name, layout, rate, stream.codec_context.frame_size or None
            )
            for part in [*convert.resample(frame), *convert.resample(None)]:
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
        return path

    return encode_voice


MEDIA = [
    pytest.param("a.m4a", "aac", "ipod", {}, id="m4a"),
    pytest.param("a.webm", "libopus", "webm", {"rate": 48_000}, id="webm"),
    pytest.param(
        "live.webm", "libopus", "webm", {"rate": 48_000, "options": {"live": "1"}}, id="browser's webm"
    ),
    pytest.param("a.g722", "g722", "g722", {}, id="g722"),
    pytest.param("stereo.m4a", "aac", "ipod", {"rate": 44_100, "layout": "stereo"}, id="stereo"),
]


@pytest.mark.parametrize(("name", "codec", "form", "more"), MEDIA)
def test_media_files_decode_to_the_waveform_that_was_written(name, codec, form, more, encode, voice):
    waveform = load(encode(name, codec, form, **more))
    written = voice(3.0, 16_000)
    assert abs(len(waveform) - len(written)) <= 0.1 * 16_000  # the coders pad
    assert _aligned_correlation(waveform, written) > 0.95


def _aligned_correlation(a, b):
    """The highest correlation over all shifts: what a coder puts before the first sample is not at issue."""
    size = len(a) + len(b)
    products = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)
    return products.max() / (np.linalg.norm(a) * np.linalg.norm(b))


@pytest.mark.parametrize(("name", "codec", "form", "more"), MEDIA)
def test_a_media_segment_is_the_slice_of_the_whole(name, codec, form, more, encode):
    path = encode(name, codec, form, **more)
    whole = load(path)
    for start, seconds in [(0.0, 0.5), (0.777, 1.0), (2.0, None)]:
        expected = whole[round(start * 16_000) :][: None if seconds is None else round(seconds * 16_000)]
        np.testing.assert_allclose(load(path, start=start, seconds=seconds), expected, atol=1e-5)
    assert abs(probe(path).seconds - len(whole) / 16_000) < 0.1
    with pytest.raises(AudioError, match="not within"):
        load(path, start=2.0, seconds=2.0)


def test_an_mp3_of_variable_rate_that_states_no_length_loses_nothing(encode):
    coding = {"global_quality": "236", "flags": "qscale"}
    tagged = encode("a.mp3", "libmp3lame", "mp3", seconds=8.0, coding=coding)
    untagged = encode("b.mp3", "libmp3lame", "mp3", seconds=8.0, coding=coding, options={"write_xing": "0"})
    assert 0 <= len(load(untagged)) - len(load(tagged)) <= 3 * 1152


def test_an_mp3_of_constant_rate_that_states_no_length_needs_no_extra(encode, monkeypatch):
    path = encode("a.mp3", "libmp3lame", "mp3", options={"write_xing": "0"})
    monkeypatch.setitem(sys.modules, "av", None)
    assert abs(len(load(path)) - 48_000) <= 3 * 1152


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}], ids=["index last", "index first"])
def test_a_truncated_m4a_is_refused(options, encode):
    path = encode("a.m4a", "aac", "ipod", options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match="truncated"):
        load(path)


def test_a_truncated_webm_is_refused(encode):
    path = encode("a.webm", "libopus", "webm", rate=48_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        AudioError, match=r"truncated: its header promises 3\.\d\d s, decoding ends after 1\.\d\d s"
    ):
        load(path)


def test_text_called_m4a_is_refused(tmp_path):
    pytest.importorskip("av", reason="the media extra is not installed")
    (tmp_path / "a.m4a").write_text("Not a recording.\n" * 100)
    with pytest.raises(AudioError, match="not audio"):
        load(tmp_path / "a.m4a")


@pytest.mark.parametrize("read", [load, probe])
def test_without_pyav_the_error_names_the_extra_and_the_file(read, tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        MissingExtraError, match=r"\.m4a.*a\.m4a.*'media' extra: pip install 'voxangle\[media\]'"
    ):
        read(tmp_path / "a.m4a")


def test_pyav_is_not_imported_for_what_libsndfile_reads(voice, write, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert len(load(write("a.flac", voice(0.5, 16_000)))) == 8000
