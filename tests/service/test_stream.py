"""Verification while somebody speaks, over a real WebSocket."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.conftest import voice
from tests.service.conftest import Running
from tests.service.toys import PATIENCE, SpectrumEmbedder, encoded, eventually, served
from voxangle.service import stream
from voxangle.service.keys import KeyFile, Scope
from voxangle.service.service import Service
from voxangle.service.settings import Settings
from voxangle.voiceprints.opening import open_store


def pcm(waveform: np.ndarray) -> bytes:
    return (32767 * waveform).astype("<i2").tobytes()


@pytest.fixture
def enrolled(running: Running) -> Iterator[str]:
    """The name of somebody enrolled."""
    with running.client() as client:
        files = [("recordings", ("a.wav", encoded(voice(0, number, 3.0)))) for number in range(2)]
        client.post("/enrol", data={"name": "streamed"}, files=files).raise_for_status()
        yield "streamed"
        client.delete("/voiceprint?name=streamed").raise_for_status()


def opened(running: Running, key: str | None = None, **headers: str) -> ClientConnection:
    address = running.address.replace("http", "ws") + "/v1/stream"
    given = {"Authorization": f"Bearer {key}"} if key else {}
    return connect(address, additional_headers=given | headers)


def rest(socket: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """All messages to the end, and the code of closing."""
    messages = []
    try:
        while True:
            messages.append(json.loads(socket.recv(timeout=PATIENCE)))
    except ConnectionClosed:
        assert socket.close_code is not None
        return messages, socket.close_code


def say(socket: ClientConnection, waveform: np.ndarray, chunk: int = 4_000) -> None:
    """Send samples, to their end or until the service hangs up."""
    with suppress(ConnectionClosed):
        for first in range(0, len(waveform), chunk):
            socket.send(pcm(waveform[first : first + chunk]))


def test_the_ratio_comes_while_somebody_speaks(running: Running, enrolled: str) -> None:
    with opened(running, running.texts[Scope.VERIFY]) as socket:
        socket.send(json.dumps({"name": enrolled}))
        say(socket, voice(0, 7, 5.0))
        socket.send(json.dumps({"end": True}))
        messages, code = rest(socket)
    updates = [message["update"] for message in messages]
    assert code == 1000
    assert [one["final"] for one in updates] == [False] * (len(updates) - 1) + [True]
    assert [one["seconds"] for one in updates] == [1.0, 2.0, 3.0, 4.0, 5.0, 5.0]
    assert all(one["verdict"] or one["waiting_for"] for one in updates)
    assert updates[-1]["verdict"]["same_voice"] is True
    assert updates[-1]["verdict"]["name"] == enrolled


def test_the_last_answer_is_that_of_the_whole_recording(running: Running, enrolled: str) -> None:
    waveform = voice(1, 3, 2.5)
    with opened(running) as socket:
        socket.send(json.dumps({"name": enrolled, "key": running.texts[Scope.VERIFY], "c_fa": 10}))
        say(socket, waveform, 1_111)
        socket.send('{"end": true}')
        messages, _ = rest(socket)
    with running.client() as client:
        content = encoded(np.frombuffer(pcm(waveform), "<i2"))
        whole = client.post("/verify?c_fa=10", data={"name": enrolled}, files={"recording": content}).json()
    last = messages[-1]["update"]["verdict"]
    assert last["log_likelihood_ratio"] == pytest.approx(whole["log_likelihood_ratio"], abs=1e-3)
    assert last["threshold"] == whole["threshold"] == pytest.approx(np.log(10))


def test_a_stream_ends_by_itself_where_the_longest_recording_does(running: Running, enrolled: str) -> None:
    with opened(running, running.texts[Scope.VERIFY]) as socket:
        socket.send(json.dumps({"name": enrolled, "sample_rate": 8000}))
        say(socket, np.tile(voice(0, 7, 2.0), 6), 16_000)
        messages, code = rest(socket)
    assert (messages[-1]["update"]["final"], messages[-1]["update"]["seconds"], code) == (True, 20.0, 1000)


def silence_then_end(socket: ClientConnection) -> None:
    socket.send(pcm(np.zeros(20_000, np.float32)))
    socket.send('{"end": true}')


def two_voices(socket: ClientConnection) -> None:
    say(socket, np.concatenate([voice(0, 0, 3.0), voice(5, 0, 3.0)]), 96_000)


@pytest.mark.parametrize(
    ("opening", "act", "code"),
    [
        ("nonsense", None, "bad-parameter"),
        ('{"name": "streamed", "sample_rate": 1}', None, "bad-parameter"),
        ('{"name": "streamed", "colour": "red"}', None, "bad-parameter"),
        ('{"name": "streamed", "threshold": "nix"}', None, "bad-parameter"),
        ('{"name": "nobody at all"}', None, "no-such-voiceprint"),
        ('{"name": "streamed"}', lambda socket: socket.send(b"odd"), "bad-request"),
        ('{"name": "streamed"}', lambda socket: socket.send("what"), "bad-parameter"),
        ('{"name": "streamed"}', lambda socket: socket.send('{"end": true}'), "missing-recording"),
        ('{"name": "streamed"}', silence_then_end, "silent"),
        ('{"name": "streamed"}', two_voices, "two-voices"),
    ],
)
def test_what_cannot_be_ends_with_a_problem(
    running: Running, enrolled: str, opening: str, act: Any, code: str
) -> None:
    with opened(running, running.texts[Scope.VERIFY]) as socket:
        socket.send(opening)
        if act is not None:
            act(socket)
        messages, closed = rest(socket)
    problem = messages[-1]["problem"]
    assert problem["code"] == code
    assert closed == 4000 + problem["status"]


@pytest.mark.parametrize(("scope", "code"), [(None, "no-key"), (Scope.EMBED, "out-of-scope")])
def test_a_stream_needs_a_key_that_may_verify(
    running: Running, enrolled: str, scope: Scope | None, code: str
) -> None:
    with opened(running, running.texts[scope] if scope else None) as socket:
        socket.send(json.dumps({"name": enrolled}))
        messages, _ = rest(socket)
    assert messages[-1]["problem"]["code"] == code


def test_who_leaves_in_the_middle_is_forgotten(running: Running, enrolled: str) -> None:
    for _ in range(3):
        with opened(running, running.texts[Scope.VERIFY]) as socket:
            socket.send(json.dumps({"name": enrolled}))
            socket.send(pcm(voice(0, 0, 1.5)))
    with running.client(Scope.METRICS) as meter:
        eventually(lambda: "voxangle_streams 0.0" in meter.get("/metrics").text)


def trickle(socket: ClientConnection, message: bytes) -> tuple[list[dict[str, Any]], int]:
    """What comes where the same message is sent every tenth of a second until the service hangs up."""
    with suppress(ConnectionClosed):
        while True:
            socket.send(message)
            time.sleep(0.1)
    return rest(socket)


def test_a_key_that_is_revoked_gets_no_further_verdict(running: Running, enrolled: str) -> None:
    key, text = running.keys.create([Scope.VERIFY])
    with opened(running) as socket:
        socket.send(json.dumps({"name": enrolled, "key": text}))
        say(socket, voice(0, 7, 2.0))
        updates = [json.loads(socket.recv(timeout=PATIENCE))["update"] for _ in range(2)]
        running.keys.revoke(key.id)
        say(socket, voice(0, 7, 2.0))
        messages, code = rest(socket)
    assert updates[-1]["verdict"]["same_voice"] is True
    assert [message["problem"]["code"] for message in messages] == ["unknown-key"]
    assert code == 4401


def test_empty_messages_do_not_hold_a_stream(
    running: Running, enrolled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_IDLE_SECONDS", 0.8)
    with opened(running, running.texts[Scope.VERIFY]) as socket:
        socket.send(json.dumps({"name": enrolled}))
        messages, code = trickle(socket, b"")
    assert "Nothing came for 0.8 s" in messages[-1]["problem"]["detail"]
    assert code == 4408


def test_a_stream_has_a_longest_life_whatever_arrives(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.create([Scope.ADMIN])[1]
    limits = Settings(seconds=2, timeout=PATIENCE, decoders=1, check_voices=False)
    with open_store(tmp_path / "prints.sqlite") as store:
        service = Service(SpectrumEmbedder(), store, keys, limits, hears="level")
        with served(service) as address:
            running = Running(address, keys, {Scope.ADMIN: key}, service)
            with running.client() as client:
                files = [("recordings", ("a.wav", encoded(voice(0, 0, 2.0))))]
                client.post("/enrol", data={"name": "ann"}, files=files).raise_for_status()
            service.settings = limits.model_copy(update={"timeout": 1.0})
            with opened(running, key) as socket:
                socket.send('{"name": "ann"}')
                messages, code = trickle(socket, b"\0\0")
    assert "The stream was open for 3 s" in messages[-1]["problem"]["detail"]
    assert code == 4408
