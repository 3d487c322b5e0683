"""Trial lists of full size: read, scored, measured, divided by condition, and generated."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.ratio import Measurement, in_turns
from voxangle.data import Manifest, Trials
from voxangle.data.conditions import conditions
from voxangle.data.manifest import SCHEMA
from voxangle.data.trial_lists import TrialRules, generate_trials
from voxangle.metrics import SortedScores
from voxangle.scoring import cosine_scores

__all__ = ["trial_lists"]

_DIMENSIONS = 192
_CNCELEB_MODELS, _CNCELEB_TESTS, _ENROLMENTS = 196, 17_777, 3
_VOX1H_TRIALS, _VOX1H_UTTERANCES = 550_894, 137_924
_VOX2_UTTERANCES, _VOX2_SPEAKERS = 1_092_009, 5_994


def trial_lists(rounds: int) -> Iterator[Measurement]:
    """Seconds of each step at the size of CN-Celeb.E and of Vox1-H, and of a list drawn from VoxCeleb2."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from _of_list("CN-Celeb.E", *_cnceleb(folder), rounds)
        yield from _of_list("Vox1-H", _vox1h(folder), None, rounds)
    manifest = _manifest([f"u{i:07d}" for i in range(_VOX2_UTTERANCES)], _VOX2_SPEAKERS)
    rules = TrialRules(targets=100_000, nontargets=100_000, same=("gender",), different=("session",))
    yield _seconds(
        "generate 2 x 100,000 trials of VoxCeleb2's size",
        lambda: generate_trials(manifest, "drawn", rules),
        rounds,
        30.0,
        f"{_VOX2_UTTERANCES:,} utterances of {_VOX2_SPEAKERS:,} speakers, same gender, different session",
    )


def _of_list(name: str, path: Path, models: Path | None, rounds: int) -> Iterator[Measurement]:
    trials = Trials.read(path, models=models)
    size = f"{len(trials):,} trials, {len(trials.utterances):,} utterances"
    yield _seconds(f"{name}: read", lambda: Trials.read(path, models=models), rounds, 5.0, size)
    yield _memory(f"{name}: read, memory", path, models, size)
    yield _seconds(f"{name}: checksum", trials.sha256, rounds, 5.0, size)
    random = np.random.default_rng(0)
    embeddings = random.standard_normal((len(trials.utterances), _DIMENSIONS), dtype=np.float32)

    def figures() -> None:
        scores = cosine_scores(embeddings, trials)
        ordered = SortedScores.of(scores[trials.target], scores[~trials.target])
        ordered.eer()
        for prior in (0.01, 0.05):
            ordered.min_dcf(p_target=prior)

    yield _seconds(
        f"{name}: cosine + EER + minDCF", figures, rounds, 5.0, f"{size}, {_DIMENSIONS} dimensions"
    )
    manifest = _manifest(list(trials.utterances), 1000)
    yield _seconds(
        f"{name}: conditions", lambda: conditions(trials, manifest), rounds, 10.0, f"{size}, 12 masks"
    )


def _seconds(name: str, call: Callable[[], object], rounds: int, goal: float, detail: str) -> Measurement:
    (seconds,) = in_turns(call, rounds=rounds, warm_up=1)
    low, value, high = np.quantile(seconds, [0.25, 0.5, 0.75]).tolist()
    return Measurement(name, value, low, high, "s", f"<= {goal:g} s", value <= goal, detail)


def _memory(name: str, path: Path, models: Path | None, detail: str) -> Measurement:
    """Most memory of a fresh process that reads the list, beyond that of its imports."""
    # Not ru_maxrss: a child begins with its parent's.
    source = (
        "import re, sys; from voxangle.data import Trials; "
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]); "
        "at_first = peak(); "
        "Trials.read(sys.argv[1], models=sys.argv[2] if len(sys.argv) > 2 else None); "
        "print(at_first, peak())"
    )
    command = [sys.executable, "-c", source, str(path), *([str(models)] if models else [])]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    at_first, at_most = (int(number) * 1024 / 1e6 for number in output.split())
    megabytes = at_most - at_first
    return Measurement(
        name,
        megabytes,
        megabytes,
        megabytes,
        "MB",
        "<= 500 MB",
        megabytes <= 500,
        detail + ", beyond imports",
    )


def _cnceleb(folder: Path) -> tuple[Path, Path]:
    random = np.random.default_rng(0)
    genres = random.choice(
        ["interview", "singing", "live_broadcast", "entertainment", "vlog"], _CNCELEB_TESTS
    )
    speaker = random.integers(_CNCELEB_MODELS, size=_CNCELEB_TESTS)
    tests = [
        f"test/id{s + 800:05d}-{genre}-{i % 20:02d}-{i:05d}.wav"
        for i, (s, genre) in enumerate(zip(speaker, genres, strict=True))
    ]
    with (folder / "trials.lst").open("w") as trials, (folder / "enroll.map").open("w") as models:
        for m in range(_CNCELEB_MODELS):
            name = f"id{m + 800:05d}-enroll"
            trials.writelines(
                f"{name} {test} {int(s == m)}\n" for test, s in zip(tests, speaker, strict=True)
            )
            models.write(" ".join([name, *(f"enroll/{name}-{i}.wav" for i in range(_ENROLMENTS))]) + "\n")
    return folder / "trials.lst", folder / "enroll.map"


def _vox1h(folder: Path) -> Path:
    random = np.random.default_rng(0)
    keys = [f"id{10001 + i % 1190}/video{i // 9:011d}/{i % 90:05d}.wav" for i in range(_VOX1H_UTTERANCES)]
    pairs = random.integers(len(keys), size=(_VOX1H_TRIALS, 2))
    with (folder / "list_test_hard2.txt").open("w") as file:
        file.writelines(f"{i % 2} {keys[a]} {keys[b]}\n" for i, (a, b) in enumerate(pairs))
    return folder / "list_test_hard2.txt"


def _manifest(keys: list[str], speakers: int) -> Manifest:
    random = np.random.default_rng(0)
    speaker = random.integers(speakers, size=len(keys))

    def words(name: str, numbers: np.ndarray) -> pa.Array:
        values = pa.array([f"{name}{i}" for i in range(int(numbers.max()) + 1)])
        return values.take(pa.array(numbers))

    columns = {
        "utterance": keys,
        "speaker": words("s", speaker),
        "session": words("v", speaker * 25 + random.integers(25, size=len(keys))),
        "language": words("l", random.integers(5, size=len(keys))),
        "gender": pa.array(["f", "m"]).take(pa.array(speaker % 2)),
        "channel": words("c", random.integers(11, size=len(keys))),
        "path": keys,
        "start": np.zeros(len(keys)),
        "seconds": random.uniform(1, 30, len(keys)),
    }
    return Manifest(pa.table(columns, schema=SCHEMA), Path())
