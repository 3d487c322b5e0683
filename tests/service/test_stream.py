"""Verification while somebody speaks, over a real WebSocket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.conftest import voice
from tests.service.conftest import Running
from tests.service.toys import encoded
from voxangle.service.keys import Scope


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
            messages.append(json.loads(socket.recv(timeout=20)))
    except ConnectionClosed:
        assert socket.close_code is not None
        return messages, socket.close_code


def say(socket: ClientConnection, waveform: np.ndarray, chunk: int = 4_000) -> None:
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
        while "voxangle_streams 0.0" not in meter.get("/metrics").text:
            pass
