"""``python -m benchmarks.service load|fuzz|voices``: the service under load, under fire, and its ear for two voices.

``load`` and ``fuzz`` start `voxangle serve` in a process of its own and ask it over real connections. All draw from
``--seed``. What is printed is JSON, with the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import json
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile
from numpy.typing import NDArray

from voxangle.audio import SAMPLE_RATE, load
from voxangle.runtime import OnnxEmbedder
from voxangle.runtime.measures import measure_waveform
from voxangle.runtime.speech import SileroDetector, speech_frames
from voxangle.runtime.voices import two_voices, voice_windows
from voxangle.scoring.machine import Machine

__all__ = ["main"]

_SERVE = "import voxangle.cli.serve; from voxangle.cli import main; main()"
_CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"

Samples = NDArray[np.float32]


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["load", "fuzz", "voices"])
    parser.add_argument("--model", type=Path, required=True, help="an .onnx of `voxangle export onnx`")
    parser.add_argument(
        "--corpora", type=Path, default=_CORPORA, help="with utterances.csv and its recordings"
    )
    parser.add_argument("--split", default="eval")
    parser.add_argument("--unseen", type=Path, help="voices: only speakers that this file names, one a line")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32], help="load: how many at once")
    parser.add_argument("--requests", type=int, default=200, help="load: for each number of clients")
    parser.add_argument("--rounds", type=int, default=2, help="load: with and without batching, in turns")
    parser.add_argument("--uploads", type=int, default=10_000, help="fuzz: how many")
    parser.add_argument("--trials", type=int, default=300, help="voices: recordings of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    options = parser.parse_args()
    runs: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "load": _load,
        "fuzz": _fuzz,
        "voices": _voices,
    }
    found = runs[options.what](options)
    content = {"command": sys.argv[1:], "machine": Machine.here().model_dump(), **found}
    text = json.dumps(content, indent=2, default=str)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


@contextmanager
def _served(model: Path, *options: str) -> Iterator[tuple[str, int]]:
    """A service that runs: its address and the number of its process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _SERVE, "serve", "--open", "--port", "0", "--model", str(model)]
        command += ["--store", f"{folder}/prints.sqlite", "--rate", "1e9", "--burst", "1000000000", *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            while '"listening"' not in line:
                if not line:
                    raise SystemExit("the service did not start")
                line = process.stderr.readline()
            # Its log has to be read, or it would wait for room in the pipe.
            reader = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
            yield f"http://{json.loads(line)['addresses'][0]}/v1", process.pid
        finally:
            process.terminate()
            process.wait(60)
            reader.wait(60)


def _rows(options: argparse.Namespace, least: float, most: float) -> list[dict[str, str]]:
    with (options.corpora / "utterances.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == options.split]
    if options.unseen:
        unseen = set(options.unseen.read_text().split())
        rows = [row for row in rows if f"{row['corpus']}/{row['speaker']}" in unseen]
    return [row for row in rows if least <= float(row["seconds"]) <= most]


def _load(options: argparse.Namespace) -> dict[str, Any]:
    """Throughput and latency of `embed`, with batching and without, by the number of clients."""
    rows = _rows(options, 3.0, 6.0)
    drawn = random.Random(options.seed).sample(rows, 100)
    contents = [(options.corpora / row["path"]).read_bytes() for row in drawn]
    seconds = float(np.mean([float(row["seconds"]) for row in drawn]))
    results: dict[tuple[str, int], list[list[float]]] = {}
    common = ["--no-check-voices", "--waiting", "1000"]
    with (
        _served(options.model, *common) as (with_batches, _),
        _served(options.model, "--batch-seconds", "0", *common) as (without, _),
    ):
        for _ in range(options.rounds):
            for clients in options.clients:
                for way, address in (("batching", with_batches), ("no batching", without)):
                    taken = asyncio.run(_ask_all(address, contents, clients, options.requests))
                    results.setdefault((way, clients), []).append(taken)
    table = [
        {
            "way": way,
            "clients": clients,
            "requests_per_second": [round(options.requests / run[-1], 2) for run in runs],
            "p50_ms": round(1000 * float(np.median([run[:-1] for run in runs])), 1),
            "p99_ms": round(1000 * float(np.quantile([run[:-1] for run in runs], 0.99)), 1),
        }
        for (way, clients), runs in results.items()
    ]
    return {"mean_seconds_of_a_recording": round(seconds, 2), "load": table}


async def _ask_all(address: str, contents: Sequence[bytes], clients: int, requests: int) -> list[float]:
    """Seconds that each request took, and at last all of them."""
    left = iter(range(requests))
    taken: list[float] = []

    async def ask() -> None:
        async with httpx.AsyncClient(timeout=120) as client:
            for number in left:
                began = time.perf_counter()
                answer = await client.post(
                    f"{address}/embed",
                    content=contents[number % len(contents)],
                    headers={"Content-Type": "audio/ogg"},
                )
                if answer.status_code not in {200, 422}:
                    raise SystemExit(f"{answer.status_code}: {answer.text}")
                taken.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(clients)))
    return [*taken, time.perf_counter() - began]


def _fuzz(options: argparse.Namespace) -> dict[str, Any]:
    """Uploads that are broken in many ways; what came of them, and what the service holds before and after."""
    rng = random.Random(options.seed)
    seeds = _seeds()
    statuses: Counter[str] = Counter()
    with _served(options.model, "--body-mb", "2", "--seconds", "20") as (address, process):
        _throw(
            address, [_broken(rng, seeds) for _ in range(300)], Counter()
        )  # what is loaded once is loaded now
        before = _held(process)
        kinds: Counter[str] = Counter()
        done = 0
        while done < options.uploads:
            part = [_broken(rng, seeds) for _ in range(min(200, options.uploads - done))]
            kinds.update(kind for kind, _, _ in part)
            _throw(address, part, statuses)
            done += len(part)
            print(f"{done} uploads", file=sys.stderr)
        time.sleep(1)
        after = _held(process)
        good = httpx.post(
            f"{address}/embed", content=seeds["wav"], headers={"Content-Type": "audio/wav"}, timeout=60
        )
        metrics = httpx.get(f"{address}/metrics").text
    restarts = [line for line in metrics.splitlines() if line.startswith("voxangle_decoder_restarts_total")]
    return {
        "uploads": done,
        "kinds": dict(kinds),
        "answers": dict(statuses),
        "server_errors": sum(
            count for name, count in statuses.items() if name.startswith("5") or name == "none"
        ),
        "held_before": before,
        "held_after": after,
        "decoder_restarts": restarts[0].split()[-1] if restarts else None,
        "answers_a_good_recording_afterwards": good.json().get("code", good.status_code),
    }


def _throw(address: str, uploads: list[tuple[str, bytes, bool]], statuses: Counter[str]) -> None:
    async def all_of_them() -> None:
        left = iter(uploads)

        async def some() -> None:
            async with httpx.AsyncClient(timeout=60) as client:
                for _, content, form in left:
                    try:
                        if form:
                            name = "../" * 8 + "etc/passwd\0\r\n.wav"
                            answer = await client.post(
                                f"{address}/embed", files={"recording": (name, content)}
                            )
                        else:
                            headers = {"Content-Type": "audio/wav"}
                            answer = await client.post(f"{address}/embed", content=content, headers=headers)
                    except httpx.HTTPError as error:
                        statuses[f"none ({type(error).__name__})"] += 1
                        continue
                    code = "" if answer.status_code == 200 else f" {answer.json()['code']}"
                    statuses[f"{answer.status_code}{code}"] += 1

        await asyncio.gather(*(some() for _ in range(8)))

    asyncio.run(all_of_them())


def _seeds() -> dict[str, bytes]:
    """Whole files in every form: noise with the rhythm of speech."""
    noise = np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE)
    sound = (0.2 * noise * (np.sin(np.arange(len(noise)) / 1500) > 0)).astype(np.float32)

    def as_file(container: str, subtype: str | None = None) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, sound, SAMPLE_RATE, format=container, subtype=subtype)
        return file.getvalue()

    seeds = {
        "wav": as_file("WAV"),
        "float": as_file("WAV", "FLOAT"),
        "flac": as_file("FLAC"),
        "vorbis": as_file("OGG", "VORBIS"),
        "opus": as_file("OGG", "OPUS"),
        "mp3": as_file("MP3"),
        "aiff": as_file("AIFF"),
    }
    import av

    for container, codec, size in (("webm", "libopus", 320), ("mp4", "aac", 1024)):
        file = io.BytesIO()
        with av.open(file, "w", format=container) as out:
            stream: Any = out.add_stream(codec, rate=SAMPLE_RATE, layout="mono")
            for first in range(0, len(sound), size):
                frame = av.AudioFrame.from_ndarray(
                    sound[None, first : first + size], format="fltp", layout="mono"
                )
                frame.sample_rate = SAMPLE_RATE
                frame.pts = first
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        seeds[container] = file.getvalue()
    return seeds


def _broken(rng: random.Random, seeds: dict[str, bytes]) -> tuple[str, bytes, bool]:
    """An upload: how it is broken, its bytes, and whether it comes in a form."""
    name = rng.choice(sorted(seeds))
    whole = bytearray(seeds[name])
    kind = rng.choice(
        [
            "random",
            "truncated",
            "flipped",
            "spliced",
            "lying wav",
            "bomb",
            "NaN",
            "hour",
            "head",
            "repeated",
            "empty",
        ]
    )
    content: bytes | bytearray = whole
    if kind == "random":
        content = rng.randbytes(rng.randrange(1, 20_000))
    elif kind == "truncated":
        content = whole[: rng.randrange(len(whole))]
    elif kind == "flipped":
        # Mostly in the header, where it hurts.
        for _ in range(rng.randrange(1, 30)):
            place = rng.randrange(min(len(whole), rng.choice([64, 400, len(whole)])))
            whole[place] = rng.randrange(256)
    elif kind == "spliced":
        other = seeds[rng.choice(sorted(seeds))]
        content = whole[: rng.randrange(len(whole))] + other[rng.randrange(len(other)) :]
    elif kind == "lying wav":
        numbers = [rng.choice([0, 1, 2, 8, 65_535, rng.randrange(65_536)]) for _ in range(4)]
        sizes = [rng.choice([0, 16, 2**31 - 1, 2**32 - 1, rng.randrange(2**32)]) for _ in range(4)]
        head = struct.pack("<4sI4s4sI", b"RIFF", sizes[0], b"WAVE", b"fmt ", 16)
        head += struct.pack("<HHIIHH", numbers[0], numbers[1], sizes[1], sizes[2], numbers[2], numbers[3])
        content = head + b"data" + struct.pack("<I", sizes[3]) + bytes(whole[44:])
    elif kind in {"bomb", "hour"}:
        content = _bomb(8_000, 1, 3600) if kind == "hour" else _bomb(192_000, 8, 15)
    elif kind == "NaN":
        samples = np.frombuffer(seeds["float"][-16_000:], np.float32).copy()
        samples[rng.randrange(len(samples))] = rng.choice([np.nan, np.inf, -np.inf, 3e38])
        content = seeds["float"][:-16_000] + samples.tobytes()
    elif kind == "head":
        magic = rng.choice(
            [b"\x1aE\xdf\xa3", b"\0\0\0\x20ftypM4A ", b"OggS\0", b"fLaC", b"ID3\4", b"\xff\xfb", b"RIFF"]
        )
        content = magic + rng.randbytes(rng.randrange(1, 3_000))
    elif kind == "repeated":
        content = bytes(whole) * rng.randrange(2, 5)
    elif kind == "empty":
        content = b""
    return kind, bytes(content[: 3 * 2**20]), rng.random() < 0.5


@cache
def _bomb(rate: int, channels: int, seconds: int) -> bytes:
    """Much silence in a small file."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros((rate * seconds, channels), np.int16), rate, format="FLAC")
    return file.getvalue()


def _held(process: int) -> dict[str, Any]:
    """Memory and open files of the service, and of its decoders together."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()

    def memory(one: int | str) -> float:
        status = Path(f"/proc/{one}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def files(one: int | str) -> int:
        return sum(1 for _ in Path(f"/proc/{one}/fd").iterdir())

    return {
        "service_mb": round(memory(process), 1),
        "service_files": files(process),
        "decoders": len(children),
        "decoders_mb": round(sum(map(memory, children)), 1),
        "decoders_files": sum(map(files, children)),
    }


def _voices(options: argparse.Namespace) -> dict[str, Any]:
    """How often two voices are found in recordings of one voice and of two."""
    rng = random.Random(options.seed)
    embedder = OnnxEmbedder.load(options.model, threads=1)
    fit = embedder.card.calibration
    if fit is None:
        raise SystemExit(f"{options.model}: has no calibration")
    detector = SileroDetector()
    by_speaker: dict[tuple[str, str], list[str]] = {}
    for row in _rows(options, 2.5, 15.0):
        by_speaker.setdefault((row["corpus"], row["speaker"]), []).append(row["path"])
    speakers = sorted(by_speaker)
    several = [one for one in speakers if len(by_speaker[one]) > 1]
    found: dict[str, list[bool]] = {}

    def sound(path: str) -> Samples:
        waveform = load(options.corpora / path)
        louder = 0.05 / float(np.sqrt(np.mean(np.square(waveform))))
        return waveform * np.float32(louder)

    def judge(kind: str, waveform: Samples) -> None:
        windows = voice_windows(waveform, speech_frames(detector.probabilities(waveform)))
        if len(windows) < 2:
            return
        vectors = embedder.embed(windows)
        measures = measure_waveform(waveform, vectors.mean(axis=0))
        found.setdefault(kind, []).append(two_voices(vectors, measures, fit))

    for _ in range(options.trials):
        speaker = rng.choice(several)
        a, b = (sound(path) for path in rng.sample(by_speaker[speaker], 2))
        others = [one for one in speakers if one[0] == speaker[0] and one != speaker]
        if not others:
            continue
        c = sound(rng.choice(by_speaker[rng.choice(others)]))
        half, shorter = len(a) // 2, min(len(a), len(c))
        judge("one voice, one recording", a)
        judge("one voice, two recordings joined", np.concatenate([a, b]))
        judge("two voices, one after the other", np.concatenate([a, c]))
        judge("two voices, one within the other", np.concatenate([a[:half], c, a[half:]]))
        judge("two voices at once, equally loud", a[:shorter] + c[:shorter])
        judge("two voices at once, one 6 dB below", a[:shorter] + np.float32(0.5) * c[:shorter])
    return {
        "speakers": len(speakers),
        "split": options.split,
        "taken_for_two_voices": {
            kind: {"share": round(float(np.mean(each)), 3), "recordings": len(each)}
            for kind, each in found.items()
        },
    }


if __name__ == "__main__":
    main()
