"""Seconds and memory of intervals on lists of full size: ``python -m benchmarks.bootstrap [--rounds 3] [--out FILE]``.

The lists have the size of VoxCeleb1-H (550,894 trials, 1,190 speakers) and of CN-Celeb.E (196 models against 17,777
utterances); voices differ, scores are made up.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from benchmarks.memory import peak_of
from benchmarks.ratio import Measurement, in_turns
from voxangle.metrics import bootstrap, llr_bootstrap, paired_difference
from voxangle.scoring.machine import Machine

__all__ = ["LISTS", "intervals", "made_up_list"]

LISTS = ("VoxCeleb1-H", "CN-Celeb.E")
_VOX1H_TRIALS, _VOX1H_SPEAKERS = 550_894, 1_190
_MODELS, _TESTS = 196, 17_777
_SESSIONS = 10
_REPLICATES = 1000
_Told = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]


def made_up_list(name: str) -> _Told:
    """Scores, truth and the speakers of both sides."""
    random = np.random.default_rng(0)
    if name == "CN-Celeb.E":
        speakers = _MODELS
        enrol = np.repeat(np.arange(_MODELS), _TESTS)
        test = np.tile(random.integers(_MODELS, size=_TESTS), _MODELS)
    else:
        speakers = _VOX1H_SPEAKERS
        enrol = random.integers(speakers, size=_VOX1H_TRIALS)
        other = (enrol + random.integers(1, speakers, size=enrol.size)) % speakers
        test = np.where(np.arange(enrol.size) % 2, enrol, other)
    target = enrol == test
    hardness, lambness = random.normal(0, 0.4, (2, speakers))
    scores = random.normal(0, 0.6, target.size)
    scores += np.where(target, 2.5 - hardness[enrol], lambness[enrol] + lambness[test])
    return scores.astype(np.float32), target, enrol, test


def intervals(rounds: int) -> Iterator[Measurement]:
    """Of each function on each list, 1,000 replicates, one thread."""
    for name in LISTS:
        scores, _, enrol, _ = told = made_up_list(name)
        random = np.random.default_rng(1)
        other = scores + random.normal(0, 0.2, scores.size).astype(np.float32)
        sessions = random.integers(_SESSIONS, size=(2, scores.size))
        calls: dict[str, Callable[[], object]] = {
            "EER + 2 minDCF": partial(bootstrap, *told, replicates=_REPLICATES),
            "the same, over speakers and sessions": partial(
                bootstrap, *told, replicates=_REPLICATES, enrol_session=sessions[0], test_session=sessions[1]
            ),
            "Cllr + 2 actDCF": partial(llr_bootstrap, *told, replicates=_REPLICATES),
            "difference of two systems": partial(
                paired_difference, scores, other, *told[1:], replicates=_REPLICATES
            ),
        }
        size = f"{scores.size:,} trials, {np.unique(enrol).size:,} speakers, {_REPLICATES:,} replicates, one thread"
        taken = in_turns(*calls.values(), rounds=rounds, warm_up=0)
        for what, seconds in zip(calls, taken, strict=True):
            most = 60 if name == "VoxCeleb1-H" and what == "EER + 2 minDCF" else None
            yield Measurement.of(f"{name}: {what}", seconds, "s", size, most=most)
        added = peak_of(_RUN, name, before=_IMPORTS).added
        yield Measurement.of(
            f"{name}: EER + 2 minDCF, memory", [added], "MB", "beyond imports, with the list"
        )


_IMPORTS = "from benchmarks.bootstrap import bootstrap, made_up_list"
_RUN = "bootstrap(*made_up_list(sys.argv[1]), replicates=256)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    options = parser.parse_args()
    measurements = []
    for one in intervals(options.rounds):
        measurements.append(asdict(one))
        print(
            f"{one.name}: {one.value:.2f} [{one.low:.2f}, {one.high:.2f}] {one.unit}; {one.detail}",
            flush=True,
        )
    machine = Machine.here()
    print(f"{machine.cpu}, {machine.cores} cores, Python {machine.python}", file=sys.stderr)
    if options.out:
        content = {"machine": machine.model_dump(), "measurements": measurements}
        options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
