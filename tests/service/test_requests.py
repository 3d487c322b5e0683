"""Requests to a real server: what is answered, and how everything else is refused."""

from __future__ import annotations

import io
import json
import re
import socket
import sqlite3
import struct
import threading
import wave
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import voice
from tests.service.conftest import Running
from tests.service.toys import PATIENCE, SpectrumEmbedder, encoded, eventually, problem, served
from tests.voiceprints.servers import programs, server
from voxangle.errors import StorageError
from voxangle.runtime.measures import RecordingMeasures
from voxangle.runtime.onnx_embedder import OnnxEmbedder
from voxangle.runtime.onnx_metadata import ExportedCard
from voxangle.service import gate
from voxangle.service.keys import KeyFile, Scope
from voxangle.service.service import Service
from voxangle.service.settings import Settings
from voxangle.service.stated import measured
from voxangle.voiceprints.opening import open_store
from voxangle.voiceprints.store import Recording

Wavs = list[list[bytes]]


def post(client: httpx.Client, content: bytes, kind: str = "audio/wav") -> httpx.Response:
    return client.post("/embed", content=content, headers={"Content-Type": kind})


def forms(name: str, *contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [(name, ("../../etc/passwd\0.wav", content)) for content in contents]


def test_health_readiness_and_the_model(running: Running, client: httpx.Client) -> None:
    with httpx.Client(base_url=f"{running.address}/v1") as nobody:
        assert nobody.get("/health").json() == {"status": "ok"}
        assert nobody.get("/ready").json() == {"status": "ready"}
        assert problem(nobody.get("/model")) == "no-key"
    model = client.get("/model").json()
    assert model["name"] == "spectra"
    assert model["dimension"] == 24
    assert model["limits"]["seconds"] == 20
    assert [(one["name"], one["log_likelihood_ratio"]) for one in model["thresholds"]] == [("eer", -4.0)]
    lists = {one["trials"]: one for one in model["measured"]}
    assert [(name, one["eer"]) for name, one in lists.items()] == [
        *(("studio", 0.011), ("street", 0.31), ("car", 0.08), ("shop", 0.12))
    ]
    assert lists["street"]["notes"] == ["Only 12 speakers."]
    assert lists["street"]["condition"] is None


def test_what_the_shipped_model_is_bad_at_is_said_in_words() -> None:
    found = {one.trials: one for one in measured(OnnxEmbedder.load().card)}
    assert len(found) == 9
    assert found["wuw"].condition == "English over the telephone"
    assert found["wuw"].eer > 0.2
    assert found["cross-language"].eer > 0.4
    assert all(one.condition for one in found.values())


def test_a_card_of_a_newer_voxangle_is_no_failure() -> None:
    assert measured(ExportedCard(name="new", metrics=[{"name": "EER", "mood": "good"}])) == ()  # type: ignore[call-arg]


def test_an_embedding_is_what_the_model_says(client: httpx.Client, wavs: Wavs) -> None:
    expected = SpectrumEmbedder().embed([voice(0, 1, 3.0)])[0]
    raw = post(client, wavs[0][1]).json()
    form = client.post("/embed", files=forms("recording", wavs[0][1])).json()
    # 16 bit of the file against the samples as they were made.
    np.testing.assert_allclose(raw["embedding"], expected, atol=1e-2)
    assert form == raw
    assert raw["recordings"][0]["seconds"] == 3.0
    assert raw["recordings"][0]["format"] == "WAV PCM_16"


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "FLOAT"), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)],
)
def test_formats_of_libsndfile(client: httpx.Client, container: str, subtype: str | None) -> None:
    content = encoded(voice(0, 0, 2.0), 16_000, container, subtype)
    answer = post(client, content, "application/octet-stream")
    assert answer.status_code == 200, answer.text
    assert answer.json()["recordings"][0]["seconds"] == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(("container", "codec"), [("webm", "libopus"), ("mp4", "aac")])
def test_formats_that_browsers_record(client: httpx.Client, container: str, codec: str) -> None:
    av = pytest.importorskip("av", reason="the extra 'media' is not installed")
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=48_000, layout="mono")
        waveform = np.repeat(voice(0, 0, 2.0), 3)
        frame = av.AudioFrame.from_ndarray(waveform[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        fifo = av.AudioFifo()
        fifo.write(frame)
        while (part := fifo.read(960 if codec == "libopus" else 1024, partial=True)) is not None:
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    answer = post(client, file.getvalue(), f"audio/{container};codecs=opus")
    assert answer.status_code == 200, answer.text
    heard = answer.json()["recordings"][0]
    assert heard["sample_rate"] == 48_000
    assert heard["seconds"] == pytest.approx(2.0, abs=0.1)


def test_score_tells_one_voice_from_two(client: httpx.Client, wavs: Wavs) -> None:
    def score(a: bytes, b: bytes, **asked: object) -> dict[str, object]:
        answer = client.post("/score", files={"first": a, "second": b}, data=asked)
        assert answer.status_code == 200, answer.text
        found: dict[str, object] = answer.json()
        return found

    same = score(wavs[0][0], wavs[0][1])
    assert same["same_voice"] is True
    assert same["log_likelihood_ratio"] == pytest.approx(20 * same["score"] - 14)  # type: ignore[operator]
    other = score(wavs[0][0], wavs[2][1])
    assert other["same_voice"] is False
    # Costs move the threshold: the same recordings, another answer.
    strict = score(wavs[0][0], wavs[0][1], prior="0.001", c_fa="1000")
    assert strict["same_voice"] is False
    assert strict["threshold"] == pytest.approx(np.log(999) + np.log(1000))
    by_score = score(wavs[0][0], wavs[0][1], threshold="eer")
    assert (by_score["decided_by"], by_score["threshold"]) == ("score", 0.5)


def test_enrol_verify_identify_list_and_forget(client: httpx.Client, wavs: Wavs) -> None:
    enrolled = client.post("/enrol", data={"name": "ann"}, files=forms("recordings", *wavs[0][:2]))
    assert enrolled.status_code == 201, enrolled.text
    assert enrolled.json()["voiceprint"]["recordings"] == 2
    bob = client.post("/enrol?name=bob", content=wavs[2][0], headers={"Content-Type": "audio/wav"})
    assert bob.status_code == 201, bob.text

    def verify(name: str, content: bytes) -> httpx.Response:
        return client.post("/verify", data={"name": name}, files={"recording": content})

    assert verify("ann", wavs[0][2]).json()["same_voice"] is True
    assert verify("ann", wavs[2][2]).json()["same_voice"] is False
    assert problem(verify("nobody", wavs[0][2])) == "no-such-voiceprint"
    found = client.post("/identify", files={"recording": wavs[2][1]}).json()
    assert (found["name"], found["enrolled"]) == ("bob", 2)
    assert [one["name"] for one in found["candidates"]] == ["bob", "ann"]
    stranger = client.post("/identify?top=1", files={"recording": wavs[1][1]}).json()
    assert (stranger["name"], stranger["decided"], len(stranger["candidates"])) == (None, True, 1)

    names = [one["name"] for one in client.get("/voiceprints").json()["voiceprints"]]
    assert names == ["ann", "bob"]
    page = client.get("/voiceprints?limit=1").json()
    assert page["after"] == "ann"
    assert [one["name"] for one in client.get("/voiceprints?limit=1&after=ann").json()["voiceprints"]] == [
        "bob"
    ]
    grown = client.post("/enrol", data={"name": "ann", "add": "true"}, files=forms("recordings", wavs[0][2]))
    assert grown.json()["voiceprint"]["recordings"] == 3
    (shown,) = client.get("/voiceprint?name=ann").json()["voiceprints"]
    assert (shown["recordings"], shown["usable"]) == (3, True)
    for name in ("ann", "bob"):
        assert len(client.delete("/voiceprint", params={"name": name}).json()["deleted"]) == 1
    assert problem(client.get("/voiceprint?name=ann")) == "no-such-voiceprint"
    assert problem(verify("ann", wavs[0][2])) == "no-such-voiceprint"


def test_an_enrolment_of_two_people_or_of_a_taken_name_is_refused(client: httpx.Client, wavs: Wavs) -> None:
    mixed = client.post("/enrol", data={"name": "mixed"}, files=forms("recordings", wavs[0][0], wavs[2][0]))
    assert problem(mixed) == "enrolment-refused"
    assert "does not sound like" in mixed.json()["detail"]
    assert (
        client.post("/enrol", data={"name": "kim"}, files=forms("recordings", wavs[0][0])).status_code == 201
    )
    again = client.post("/enrol", data={"name": "kim"}, files=forms("recordings", wavs[0][1]))
    assert problem(again) == "name-taken"
    client.delete("/voiceprint?name=kim")


def test_who_is_there_is_looked_up_before_anything_is_heard(
    running: Running, client: httpx.Client, wavs: Wavs, silence: bytes
) -> None:
    assert client.post("/enrol?name=lea", files=forms("recordings", wavs[0][0])).status_code == 201
    batches = len(running.service.embedder.batches)
    for path, field, code in (
        ("/verify?name=lee", "recording", "no-such-voiceprint"),
        ("/enrol?name=lee&add=true", "recordings", "no-such-voiceprint"),
        ("/enrol?name=lea", "recordings", "name-taken"),
        ("/enrol?name=%20lea%20", "recordings", "name-taken"),
        ("/enrol?name=le%E2%80%8Ba", "recordings", "bad-parameter"),  # a space of no width
        ("/verify?name=%20", "recording", "bad-parameter"),
    ):
        for content in (wavs[0][1], silence):  # what is sent does not matter yet
            assert problem(client.post(path, files={field: content})) == code, path
    assert len(running.service.embedder.batches) == batches
    unknown = client.delete("/voiceprint?name=lee")
    assert problem(unknown) == "no-such-voiceprint"
    assert "`GET /v1/voiceprints`" in unknown.json()["cure"]
    client.delete("/voiceprint?name=lea").raise_for_status()


def test_what_changes_while_a_recording_is_heard_is_seen(
    running: Running, client: httpx.Client, wavs: Wavs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ear, hear = running.service.ear, running.service.ear.hear
    change: list[Callable[[], object]] = []

    async def meanwhile(contents: Sequence[bytes]) -> object:
        heard = await hear(contents)
        while change:
            change.pop()()
        return heard

    def enrolled(content: bytes) -> httpx.Response:
        return client.post("/enrol?name=pat", files=forms("recordings", content))

    def stored() -> None:
        (vector,) = SpectrumEmbedder().embed([voice(0, 0, 2.0)])
        recording = Recording(vector, RecordingMeasures(2.0, 0.0, 0.0, 1.0))
        running.service.store.enrol("pat", running.service.model, [recording], actor="another")

    def gone() -> None:
        running.service.store.delete(["pat"], actor="another")

    monkeypatch.setattr(ear, "hear", meanwhile)
    change.append(stored)
    assert problem(enrolled(wavs[0][0])) == "name-taken"
    change.append(gone)
    late = client.post("/verify?name=pat", files={"recording": wavs[0][1]})
    assert problem(late) == "no-such-voiceprint"
    assert enrolled(wavs[0][0]).status_code == 201
    client.delete("/voiceprint?name=pat").raise_for_status()


def test_a_name_is_utf_8_or_no_name(client: httpx.Client, wavs: Wavs) -> None:
    def enrol(name: bytes, more: str = "") -> httpx.Response:
        parts = [
            b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n' + name,
            b'--x\r\nContent-Disposition: form-data; name="recordings"; filename="\xff"\r\n\r\n' + wavs[0][0],
            b"--x--\r\n",
        ]
        kind = f"multipart/form-data; boundary=x{more}"
        return client.post("/enrol", content=b"\r\n".join(parts), headers={"Content-Type": kind})

    for content in (b"\xff", b"an\xc3", b"\xed\xa0\x80"):
        refused = enrol(content)
        assert problem(refused) == "bad-parameter"
        assert refused.json()["detail"] == "The form holds a text that is not UTF-8."
    assert problem(enrol("ÿ".encode(), "; charset=ascii")) == "bad-parameter"
    assert enrol("ÿ".encode()).status_code == 201
    assert problem(enrol(b"\xff", "; charset=latin-1")) == "name-taken"
    # In the address too, where libraries would put U+FFFD in its place.
    for address in ("/voiceprint?name=%FF", "/voiceprint?name=%C3", "/voiceprint?name=a%ED%A0%80"):
        refused = client.delete(address)
        assert problem(refused) == "bad-parameter"
        assert refused.json()["detail"] == "The address holds a text that is not UTF-8."
    assert len(client.delete("/voiceprint?name=%C3%BF").json()["deleted"]) == 1


def test_what_stands_in_the_address_does_not_stand_in_the_form_too(client: httpx.Client, wavs: Wavs) -> None:
    for address, field in (("/verify?name=one", "name"), ("/verify?name=one&prior=0.5", "prior")):
        refused = client.post(address, data={field: "0.5"}, files={"recording": wavs[0][0]})
        assert problem(refused) == "bad-parameter"
        assert refused.json()["detail"] == f"`{field}` stands in the address and in the form."


def noise(seconds: float) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(round(seconds * 16_000))).astype(np.float32)


def wav_header(promised: int, rate: int = 16_000, channels: int = 1, bits: int = 16) -> bytes:
    block = channels * bits // 8 % 2**16
    form = struct.pack(
        "<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, min(rate * block, 2**32 - 1), block, bits
    )
    return b"RIFF" + struct.pack("<I", 36 + promised) + b"WAVE" + form + b"data" + struct.pack("<I", promised)


HOUR = encoded(np.zeros(8_000 * 3600, np.int16), 8_000, "FLAC")
NAN = voice(0, 0)
NAN = np.concatenate([NAN, np.full(100, np.nan, np.float32)])
REFUSED = {
    "an hour in a few kilobytes": (HOUR, "too-long"),
    "21 s where 20 are allowed": (encoded(noise(21.0)), "too-long"),
    "silence": (encoded(np.zeros(32_000, np.float32)), "silent"),
    "half a second": (encoded(voice(0, 0, 0.5)), "too-short"),
    "NaN": (encoded(NAN, subtype="FLOAT"), "not-audio"),
    "truncated": (encoded(voice(0, 0))[:-1000], "not-audio"),
    "a header that promises more": (wav_header(10**6) + voice(0, 0).tobytes(), "not-audio"),
    "a rate of 4 GHz": (wav_header(32_000, rate=2**32 - 1) + voice(0, 0).tobytes()[:32_000], "not-audio"),
    "two thousand channels": (wav_header(400_000, channels=2000) + bytes(range(250)) * 1600, "not-audio"),
    "no samples": (wav_header(0), "not-audio"),
    "text": (b"hello, this is no audio", "not-audio"),
    "one byte": (b"\xff", "not-audio"),
    "a playlist that names a file": (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "not-audio"),
    "an SDP that names a host": (
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
        "not-audio",
    ),
    "nothing": (b"", "missing-recording"),
    "two voices": (encoded(np.concatenate([voice(0, 0, 3.0), voice(5, 0, 3.0)])), "two-voices"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_with_its_reason(client: httpx.Client, name: str) -> None:
    content, code = REFUSED[name]
    answer = post(client, content)
    assert problem(answer) == code, answer.text
    assert answer.status_code == 422
    assert "/proc" not in answer.text


def test_which_of_several_recordings_is_at_fault_is_said(
    client: httpx.Client, wavs: Wavs, silence: bytes
) -> None:
    for content, code in ((silence, "silent"), (b"", "missing-recording")):
        answer = client.post("/score", files={"first": wavs[0][0], "second": content})
        assert (problem(answer), answer.json()["recording"]) == (code, 2)
    assert "0 bytes" in answer.json()["detail"]


CUT_OFF = "Send all of the file"


@pytest.mark.parametrize(
    ("content", "cure"),
    [
        (REFUSED["NaN"][0], "16-bit wav or flac"),
        (REFUSED["truncated"][0], CUT_OFF),
        (encoded(noise(3.0), container="FLAC")[:-20_000], CUT_OFF),
        (encoded(noise(3.0), container="OGG", subtype="OPUS")[:-5_000], CUT_OFF),
        (encoded(noise(9.0), container="MP3")[:-20_000], CUT_OFF),
        (REFUSED["text"][0], "Send wav, flac, ogg, opus, mp3, webm or m4a"),
    ],
    ids=["NaN", "wav", "flac", "opus", "mp3", "text"],
)
def test_what_helps_a_file_is_told_by_what_is_wrong_with_it(
    client: httpx.Client, content: bytes, cure: str
) -> None:
    answer = post(client, content)
    assert problem(answer) == "not-audio"
    assert answer.json()["cure"].startswith(cure) or cure in answer.json()["cure"]
    assert not re.search(r"\.\.", answer.json()["detail"])


@pytest.mark.parametrize(
    ("path", "field"),
    [("/embed", "recording"), ("/score", "first"), ("/enrol?name=x", "recordings"), ("/verify", "recording")],
)
def test_text_where_a_file_was_meant_is_said_to_want_an_at_sign(
    client: httpx.Client, path: str, field: str
) -> None:
    # As `curl -F recording=a.wav` sends it, which is a form also where there is no file.
    answer = client.post(path, files={field: (None, "a.wav")})
    assert problem(answer) == "missing-recording"
    assert "holds text, and a file was expected" in answer.json()["detail"]
    assert f"-F {field}=@FILE" in answer.json()["cure"]


def test_a_file_where_text_was_meant_is_said_to_want_none(client: httpx.Client, wavs: Wavs) -> None:
    answer = client.post("/verify", files={"recording": wavs[0][0], "name": ("name.txt", b"ann")})
    assert problem(answer) == "bad-parameter"
    assert "without @" in answer.json()["cure"]


PARAMETERS = {
    "/verify?name=": "`name` is empty.",
    "/verify?name=a%0Ab": "`name` has a line break, a tab or another character that nobody sees.",
    f"/verify?name={'x' * 201}": "`name` has more than 200 characters.",
    "/verify": "`name` is missing.",
    "/verify?prior=x": "`prior` is no number.",
    "/verify?prior=1": "`prior` is not below 1.",
    "/verify?prior=0": "`prior` is not above 0.",
    "/verify?c_fa=inf": "`c_fa` is not finite.",
    "/verify?c_fa=1e10": "`c_fa` is above 1e+09.",
    "/verify?colour=red": "`colour` is not known here.",
    "/identify?top=0": "`top` is below 1.",
    "/identify?top=1.5": "`top` is no whole number.",
    "/enrol?add=perhaps": "`add` is neither true nor false.",
}


@pytest.mark.parametrize("path", PARAMETERS)
def test_a_parameter_is_refused_in_the_service_s_words(client: httpx.Client, wavs: Wavs, path: str) -> None:
    """The same in the address and in a form."""
    route, _, query = path.partition("?")
    field = "recordings" if route == "/enrol" else "recording"
    fields = dict([query.split("=")]) if query else {}
    sent = {name: unquote(value) for name, value in fields.items()}
    answers = [
        client.post(path, files={field: wavs[0][0]}),
        client.post(route, data=sent, files={field: wavs[0][0]}),
    ]
    if "colour" not in path:  # of a form's fields all are told that there are
        assert answers[0].json()["detail"] == answers[1].json()["detail"]
    for answer in answers:
        assert problem(answer) == "bad-parameter"
        assert not re.search("Input|String|[Ff]ield required|pydantic", answer.text)
    assert answers[0].json()["detail"] == PARAMETERS[path]


def test_a_list_is_asked_for_in_the_service_s_words_too(client: httpx.Client) -> None:
    told = {
        path: (problem(answer), answer.json()["detail"], answer.json()["cure"])
        for path in ("/voiceprint", "/voiceprints?limit=0", "/voiceprints?limit=1001")
        if (answer := client.get(path))
    }
    assert [detail for _, detail, _ in told.values()] == [
        "`name` is missing.",
        "`limit` is below 1.",
        "`limit` is above 1000.",
    ]
    assert told["/voiceprints?limit=1001"][2] == "Give 1000 or less."


def test_bodies_that_cannot_be(running: Running, client: httpx.Client, wavs: Wavs) -> None:
    def chunks(size: int) -> Iterator[bytes]:
        yield from (bytes(65_536) for _ in range(size // 65_536))

    assert problem(post(client, bytes(2**20 + 1))) == "too-large"
    assert (
        problem(client.post("/embed", content=chunks(2**21), headers={"Content-Type": "audio/wav"}))
        == "too-large"
    )
    assert problem(post(client, b"{}", "application/json")) == "unsupported-media-type"
    assert problem(post(client, b"x", "")) == "unsupported-media-type"
    assert problem(post(client, b"x", "multipart/form-data")) == "bad-request"
    assert problem(post(client, b"x", "multipart/form-data; boundary=b")) in {
        "bad-request",
        "missing-recording",
    }
    assert problem(client.post("/embed", files={"file": wavs[0][0]})) == "bad-parameter"
    assert problem(client.post("/embed", files={"recording": b""})) == "missing-recording"
    assert problem(client.post("/score", files={"first": wavs[0][0]})) == "missing-recording"
    assert problem(client.post("/enrol", files=forms("recordings", wavs[0][0]))) == "bad-parameter"
    five = forms("recordings", *[wavs[0][0]] * 5)
    assert problem(client.post("/enrol", data={"name": "x"}, files=five)) == "too-many-recordings"
    for name in ("", "a\nb", "x" * 201):
        refused = client.post("/enrol", data={"name": name}, files=forms("recordings", wavs[0][0]))
        assert problem(refused) in {"bad-parameter"}
    for query in ("prior=1", "prior=nan", "c_fa=0", "nix=1", "threshold=nix", "top=3"):
        assert (
            problem(client.post(f"/score?{query}", files={"first": b"a", "second": b"b"})) == "bad-parameter"
        )


def test_routes_and_methods_that_are_not(client: httpx.Client) -> None:
    assert problem(client.get("/nothing")) == "no-such-route"
    wrong = client.put("/embed")
    assert (problem(wrong), wrong.headers["allow"]) == ("wrong-method", "POST")
    for name in ("/docs", "/redoc"):
        assert client.get(f"..{name}").status_code == 404  # their pages would call foreign hosts


@settings(max_examples=30)
@given(
    content=st.one_of(
        st.binary(max_size=400),
        st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=40)).map(
            lambda cut: encoded(voice(0, 0, 0.3))[: cut[0]] + cut[1]
        ),
        st.builds(lambda *a: wav_header(*a) + bytes(range(256)) * 8, *[st.integers(0, 2**16 - 1)] * 4),
        st.binary(max_size=200).map(lambda tail: b"\x1aE\xdf\xa3" + tail),
        st.binary(max_size=200).map(lambda tail: b"\0\0\0\x20ftypM4A " + tail),
    )
)
def test_no_upload_makes_the_service_fail(running: Running, content: bytes) -> None:
    with running.client() as client:
        answer = post(client, content)
    assert answer.status_code in {200, 422}, answer.text


@pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.ADMIN])
def test_a_key_does_what_its_scope_says_and_nothing_else(running: Running, scope: Scope) -> None:
    routes = {
        Scope.EMBED: ("POST", "/embed"),
        Scope.SCORE: ("POST", "/score"),
        Scope.ENROL: ("POST", "/enrol"),
        Scope.VERIFY: ("POST", "/verify"),
        Scope.IDENTIFY: ("POST", "/identify"),
        Scope.DELETE: ("DELETE", "/voiceprint?name=nobody"),
        Scope.METRICS: ("GET", "/metrics"),
        Scope.ADMIN: ("GET", "/voiceprints"),
    }
    with running.client(scope) as client:
        refused = {
            needed
            for needed, (method, path) in routes.items()
            if client.request(method, path).status_code == 403
        }
        assert refused == set(Scope) - {scope}
        assert client.get("/model").status_code == 200


def test_wrong_missing_and_revoked_keys(running: Running, wavs: Wavs) -> None:
    key, text = running.keys.create([Scope.EMBED])
    with httpx.Client(base_url=f"{running.address}/v1") as client:

        def ask(authorization: str | bytes | None) -> httpx.Response:
            headers = {"Content-Type": "audio/wav"}
            given = {} if authorization is None else {"Authorization": authorization}
            return client.post("/embed", content=wavs[0][0], headers={**headers, **given})  # type: ignore[dict-item]

        assert ask(f"Bearer {text}").status_code == 200
        for wrong in (f"Bearer {text}x", f"Bearer {text[:-1]}", "Bearer x", b"Bearer \xff\xfe"):
            answer = ask(wrong)
            assert (problem(answer), answer.headers["www-authenticate"]) == ("unknown-key", "Bearer")
        for none in (None, "", f"Basic {text}", "Bearer"):
            assert problem(ask(none)) == "no-key"
        running.keys.revoke(key.id)
        assert problem(ask(f"Bearer {text}")) == "unknown-key"


def test_many_clients_at_once_get_what_each_gets_alone(running: Running, wavs: Wavs) -> None:
    contents = [encoded(voice(number % 5, number, 1.2 + 0.1 * number)) for number in range(12)]
    with running.client() as client:
        alone = [post(client, content).json()["embedding"] for content in contents]
    with ThreadPoolExecutor(12) as pool:

        def ask(content: bytes) -> list[float]:
            with running.client() as client:
                found: list[float] = post(client, content).json()["embedding"]
                return found

        together = list(pool.map(ask, contents))
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-4)


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[tuple[Running, SpectrumEmbedder]]:
    """A service with room for two requests and eight of a key."""
    keys = KeyFile(tmp_path / "keys.json")
    texts = {scope: keys.create([scope])[1] for scope in Scope}
    embedder = SpectrumEmbedder()
    limits = Settings(
        requests_per_minute=0.01, burst=8, waiting=2, timeout=PATIENCE, decoders=1, check_voices=False
    )
    with open_store(tmp_path / "prints.sqlite") as store:
        service = Service(embedder, store, keys, limits, hears="level")
        with served(service) as address:
            yield Running(address, keys, texts, service), embedder


def hurry(service: Service) -> None:
    """Let what is asked from now on time out soon."""
    service.settings = service.settings.model_copy(update={"timeout": 1.0})


def test_a_full_service_says_when_to_come_again(narrow: tuple[Running, SpectrumEmbedder], wavs: Wavs) -> None:
    running, embedder = narrow
    embedder.free.clear()

    def ask(_: int) -> httpx.Response:
        with running.client(Scope.EMBED) as client:
            return post(client, wavs[0][0])

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask, number) for number in range(2)]
        eventually(lambda: running.service._under_way == 2)
        third = ask(2)
        embedder.free.set()
        assert {one.result().status_code for one in asked} == {200}
    assert (problem(third), third.status_code, third.headers["retry-after"]) == ("busy", 503, "1")


def test_a_slow_service_gives_up(narrow: tuple[Running, SpectrumEmbedder], wavs: Wavs) -> None:
    running, embedder = narrow
    hurry(running.service)
    embedder.free.clear()
    try:
        with running.client(Scope.EMBED) as client:
            late = post(client, wavs[0][0])
    finally:
        embedder.free.set()
    assert (problem(late), late.status_code) == ("timed-out", 503)


def test_a_key_that_asks_too_often_is_told_to_wait(narrow: tuple[Running, SpectrumEmbedder]) -> None:
    running, _ = narrow
    with running.client(Scope.EMBED) as client:
        asked = [client.get("/model") for _ in range(10)]
    assert [answer.status_code for answer in asked] == [200] * 8 + [429] * 2
    assert {problem(answer) for answer in asked[8:]} == {"too-many-requests"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in asked[8:])
    with running.client(Scope.ADMIN) as client:
        assert client.get("/model").status_code == 200  # another key has its own rate


def test_a_body_that_does_not_arrive_ends_with_a_problem(
    narrow: tuple[Running, SpectrumEmbedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, _ = narrow
    hurry(running.service)
    monkeypatch.setattr(gate, "_DRAIN_SECONDS", 0.1)
    host, port = running.address.removeprefix("http://").split(":")
    head = (
        f"POST /v1/embed HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {running.texts[Scope.EMBED]}\r\n"
        "Content-Type: audio/wav\r\nContent-Length: 1000\r\n\r\nRIFF"
    )
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as caller:
        caller.sendall(head.encode())
        answer = b"".join(iter(lambda: caller.recv(4096), b""))  # to the end: the service hangs up
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "too-slow"


@pytest.mark.parametrize(("method", "blocked"), [("DELETE", "delete"), ("GET", "named")])
def test_a_request_that_waits_for_the_store_is_not_called_a_slow_body(
    narrow: tuple[Running, SpectrumEmbedder],
    wavs: Wavs,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    blocked: str,
) -> None:
    running, _ = narrow
    store = running.service.store
    begun, free, done = threading.Event(), threading.Event(), threading.Event()
    act = getattr(store, blocked)

    def later(*asked: object, **named: object) -> object:
        begun.set()
        free.wait()
        try:
            return act(*asked, **named)
        finally:
            done.set()

    with running.client() as client:
        enrolled = client.post("/enrol?name=ann", content=wavs[0][0], headers={"Content-Type": "audio/wav"})
        assert enrolled.status_code == 201, enrolled.text
        hurry(running.service)
        with monkeypatch.context() as patch:
            patch.setattr(store, blocked, later)
            late = client.request(method, "/voiceprint?name=ann")
            while not begun.is_set():  # on a busy machine it may not even have come to the store
                late = client.request(method, "/voiceprint?name=ann")
            free.set()
            assert done.wait(PATIENCE)
        assert (problem(late), late.status_code) == ("timed-out", 503)
        assert "may have been done" in late.json()["detail"]
        left = client.get("/voiceprint?name=ann")
        assert left.status_code == (404 if method == "DELETE" else 200)


def test_an_open_service_answers_its_own_machine_and_page_alone(tmp_path: Path, wavs: Wavs) -> None:
    with open_store(tmp_path / "prints.sqlite") as store:
        service = Service(SpectrumEmbedder(), store, None, Settings(decoders=1), hears="level")
        with served(service) as address, httpx.Client(base_url=f"{address}/v1") as client:
            assert post(client, wavs[0][0]).status_code == 200
            assert client.get("/model", headers={"Origin": address}).status_code == 200
            for headers in (
                {"Origin": "https://evil.example"},
                {"Origin": "null"},
                {"Host": "evil.example"},
                {"Host": "["},
                {"Origin": "http://127.0.0.1:1"},
            ):
                assert problem(client.get("/model", headers=headers)) == "foreign-origin"


def test_counters_count_and_name_nobody(running: Running, client: httpx.Client, wavs: Wavs) -> None:
    client.post("/enrol", data={"name": "metered"}, files=forms("recordings", wavs[0][0]))
    post(client, b"nothing")
    client.delete("/voiceprint?name=metered")
    client.get("/secret-path")
    with running.client(Scope.METRICS) as meter:
        answer = meter.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'voxangle_requests_total{method="POST",route="/v1/enrol",status="201"}' in answer.text
    assert 'voxangle_problems_total{code="not-audio"}' in answer.text
    assert "metered" not in answer.text
    assert "secret-path" not in answer.text


def test_ids_of_requests_are_kept_where_they_can_be(client: httpx.Client) -> None:
    assert client.get("/health", headers={"X-Request-ID": "trace-7.a"}).headers["x-request-id"] == "trace-7.a"
    for bad in ("a b", "x" * 65, '"}'):
        assert client.get("/health", headers={"X-Request-ID": bad}).headers["x-request-id"] != bad


def test_a_decoder_that_dies_is_replaced(running: Running, client: httpx.Client, wavs: Wavs) -> None:
    decoders = running.service._decoders
    for process in tuple(decoders._all):
        process.kill()
    answers = [post(client, wavs[0][0]) for _ in range(3)]
    assert answers[-1].status_code == 200
    assert {answer.status_code for answer in answers} <= {200, 422}
    assert len([process for process in decoders._all if process.returncode is None]) == 1


def test_the_log_tells_what_happened_and_nothing_that_was_sent(
    running: Running, wavs: Wavs, caplog: pytest.LogCaptureFixture
) -> None:
    from voxangle.service.logs import _Json

    caplog.set_level("INFO", "voxangle.service")
    with running.client() as client:
        enrolled = client.post("/enrol", data={"name": "zacharias"}, files=forms("recordings", wavs[0][0]))
        verified = client.post("/verify?name=zacharias", files={"recording": wavs[2][0]})
        deleted = client.delete("/voiceprint?name=zacharias")
    asked = [answer.headers["x-request-id"] for answer in (enrolled, verified, deleted)]

    def written() -> list[dict[str, Any]]:
        lines = [json.loads(_Json().format(record)) for record in tuple(caplog.records)]
        return [
            line for line in lines if line.get("request") in asked
        ]  # that of an earlier test may come late

    eventually(lambda: len(written()) == 3)  # a line is written once its answer is sent
    requests = written()
    assert [line["route"] for line in requests] == ["/v1/enrol", "/v1/verify", "/v1/voiceprint"]
    assert requests[0]["request"] == enrolled.headers["x-request-id"]
    assert requests[0]["key"] == running.texts[Scope.ADMIN][4:12]
    assert requests[0]["audio_seconds"] == 2.0
    text = json.dumps([_Json().format(record) for record in caplog.records])
    assert "zacharias" not in text
    assert "passwd" not in text
    assert running.texts[Scope.ADMIN][13:] not in text


@pytest.mark.parametrize(
    ("cause", "told"), [(sqlite3.OperationalError, True), (OSError, True), (sqlite3.IntegrityError, False)]
)
def test_why_the_store_does_not_work_is_told_in_the_log_alone(
    running: Running,
    client: httpx.Client,
    wavs: Wavs,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    cause: type[Exception],
    told: bool,
) -> None:
    def broken(*_: object) -> None:
        raise StorageError("postgresql://db/voices: cannot be reached; see that it runs") from cause("so")

    monkeypatch.setattr(running.service.store, "get", broken)
    batches = len(running.service.embedder.batches)
    answer = client.post("/verify?name=ann", files={"recording": wavs[0][0]})
    assert (problem(answer), answer.status_code, answer.headers["retry-after"]) == ("storage", 503, "10")
    assert len(running.service.embedder.batches) == batches
    assert "postgresql" not in answer.text
    assert "not at fault" in answer.json()["cure"]
    (failure,) = (
        record.entries
        for record in caplog.records
        if record.getMessage() == "failure" and record.entries["request"] == answer.json()["request"]
    )
    assert ("reason" in failure) is told  # what is said of values might quote them
    assert failure.get("reason", "see that it runs").endswith("see that it runs")


def test_a_database_that_is_gone_is_no_fault_of_the_request(wavs: Wavs) -> None:
    pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
    installed = programs()
    if not installed:
        pytest.skip("no PostgreSQL here")
    with ExitStack() as stack:
        database = stack.enter_context(ExitStack())
        store = stack.enter_context(
            open_store(database.enter_context(server(next(iter(installed.values())))))
        )
        service = Service(SpectrumEmbedder(), store, None, Settings(decoders=1), hears="level")
        address = stack.enter_context(served(service))
        client = stack.enter_context(httpx.Client(base_url=f"{address}/v1", timeout=PATIENCE))
        form = {"files": {"recording": wavs[0][0]}}
        assert client.post("/enrol?name=ann", files=forms("recordings", wavs[0][0])).status_code == 201
        assert client.post("/verify?name=ann", **form).status_code == 200
        database.close()
        for answer in (
            client.post("/verify?name=ann", **form),
            client.post("/identify", **form),
            client.get("/ready"),
        ):
            assert (problem(answer), answer.status_code) == ("storage", 503)


def test_the_room_names_neither_torch_nor_silero() -> None:
    import voxangle.service

    for path in Path(voxangle.service.__file__).parent.rglob("*.py"):
        content = path.read_text()
        assert "import torch" not in content
        assert "import silero" not in content


def test_a_wave_writer_of_the_standard_library_is_read(client: httpx.Client) -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((2, 2, 44_100, 0, "NONE", ""))
        stereo = np.repeat(
            (32767 * np.interp(np.arange(88_200) / 44_100, np.arange(32_000) / 16_000, voice(0, 0))), 2
        )
        out.writeframes(stereo.astype("<i2").tobytes())
    assert post(client, file.getvalue()).json()["recordings"][0]["sample_rate"] == 44_100
