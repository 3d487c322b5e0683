"""Trial lists of full size: read, scored by every rule, measured, divided by condition, and generated."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.memory import peak_of
from benchmarks.ratio import Measurement, in_turns
from benchmarks.simulated import SPEAKERS, simulated_voxceleb2
from voxangle.data import Manifest, Trials
from voxangle.data.conditions import conditions
from voxangle.data.manifest import SCHEMA
from voxangle.data.trial_lists import TrialRules, generate_trials
from voxangle.metrics import SortedScores
from voxangle.scoring import PLDA, Cohort, LearntFrom, ScoreNormaliser, cosine_scores
from voxangle.scoring.cosine import Cosine
from voxangle.scoring.directions import Embedded
from voxangle.scoring.embedding_set import EmbeddingSet
from voxangle.scoring.products import trial_scores

__all__ = ["trial_lists"]

_DIMENSIONS = 192
_CNCELEB_MODELS, _CNCELEB_TESTS, _ENROLMENTS = 196, 17_777, 3
_VOX1H_TRIALS, _VOX1H_UTTERANCES = 550_894, 137_924
_IMPOSTORS, _TOP = 6_000, 300
_PLDA_UTTERANCES, _PLDA_SPEAKERS = 120_000, 6_000


def trial_lists(rounds: int) -> Iterator[Measurement]:
    """Seconds and memory of each step at the size of CN-Celeb.E and of Vox1-H, and of a list drawn from VoxCeleb2."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cnceleb = _cnceleb(folder, _CNCELEB_MODELS)
        yield from _of_list("CN-Celeb.E", *cnceleb, rounds)
        yield from _growth("CN-Celeb.E", cnceleb, _cnceleb(folder, _CNCELEB_MODELS // 2), rounds)
        yield from _of_list("Vox1-H", _vox1h(folder), None, rounds)
    learnt_from = _embedding_set(_PLDA_UTTERANCES, _PLDA_SPEAKERS)
    (seconds,) = in_turns(lambda: PLDA.fit(learnt_from, lda=150), rounds=rounds, warm_up=0)
    yield Measurement.of(
        "PLDA: LDA, length normalisation, expectation-maximisation",
        seconds,
        "s",
        f"{_PLDA_UTTERANCES:,} embeddings of {_DIMENSIONS} dimensions, {_PLDA_SPEAKERS:,} speakers",
        most=60,
    )
    manifest = simulated_voxceleb2()
    rules = TrialRules(targets=100_000, nontargets=100_000, same=("gender",), different=("session",))
    (seconds,) = in_turns(lambda: generate_trials(manifest, "drawn", rules), rounds=rounds, warm_up=1)
    yield Measurement.of(
        "generate 2 x 100,000 trials of VoxCeleb2's size",
        seconds,
        "s",
        f"{len(manifest):,} utterances of {SPEAKERS:,} speakers, same gender, different session",
        most=30,
    )


def _of_list(name: str, path: Path, models: Path | None, rounds: int) -> Iterator[Measurement]:
    trials = Trials.read(path, models=models)
    random = np.random.default_rng(0)
    embeddings = random.standard_normal((len(trials.utterances), _DIMENSIONS), dtype=np.float32)
    normaliser = ScoreNormaliser(Cohort.of(_embedding_set(_IMPOSTORS, _IMPOSTORS), by="utterance"), _TOP)
    plda = PLDA.fit(_embedding_set(10_000, 1_000))
    manifest = _manifest(list(trials.utterances), 1000)
    bounds = {
        "read": 5,
        "cosine": 3,
        "PLDA": 20,
        f"cosine + AS-norm, top {_TOP} of {_IMPOSTORS:,}": 60,
        f"PLDA + AS-norm, top {_TOP} of {_IMPOSTORS:,}": 60,
        "cosine + EER + minDCF": 5,
        "read + cosine + EER + minDCF": 5,
        "checksum": 5,
        "conditions": 10,
    }
    taken = in_turns(
        lambda: Trials.read(path, models=models),
        lambda: _scores(trials, embeddings),
        lambda: _scores(trials, embeddings, plda),
        lambda: _scores(trials, embeddings, normaliser=normaliser),
        lambda: _scores(trials, embeddings, plda, normaliser),
        lambda: _figures(trials, embeddings),
        lambda: _figures(Trials.read(path, models=models), embeddings),
        trials.sha256,
        lambda: conditions(trials, manifest),
        rounds=rounds,
        warm_up=1,
    )
    size = f"{len(trials):,} trials, {len(trials.utterances):,} utterances, {_DIMENSIONS} dimensions"
    for (what, most), seconds in zip(bounds.items(), taken, strict=True):
        yield Measurement.of(f"{name}: {what}", seconds, "s", size, most=most)
    arguments = [str(path), *([str(models)] if models else [])]
    peaks = [peak_of(_READ, *arguments, before=_IMPORTS).added for _ in range(rounds)]
    yield Measurement.of(f"{name}: read, memory", peaks, "MB", f"{size}, beyond imports", most=500)


def _scores(
    trials: Trials,
    embeddings: np.ndarray,
    plda: PLDA | None = None,
    normaliser: ScoreNormaliser | None = None,
) -> None:
    rule = plda or Cosine()
    sides = rule.sides(Embedded(embeddings, trials.keys, trials.name, trials.models.values()))
    scores = trial_scores(sides, trials)
    if normaliser is not None:
        normaliser.normalised(scores, sides, trials, rule)


def _embedding_set(utterances: int, speakers: int) -> EmbeddingSet:
    """Made-up embeddings, a speaker's around one point."""
    random = np.random.default_rng(1)
    labels = np.arange(utterances) % speakers
    vectors = random.standard_normal((speakers, _DIMENSIONS), dtype=np.float32)[labels]
    vectors += random.standard_normal(vectors.shape, dtype=np.float32)
    record = LearntFrom(utterances=utterances, available=utterances, utterances_sha256="")
    keys = tuple(f"other/{i}" for i in range(utterances))
    return EmbeddingSet(vectors, keys, tuple(f"other {s}" for s in labels.tolist()), record)


def _figures(trials: Trials, embeddings: np.ndarray) -> None:
    scores = cosine_scores(embeddings, trials)
    ordered = SortedScores.of(scores[trials.target], scores[~trials.target])
    ordered.eer()
    for prior in (0.01, 0.05):
        ordered.min_dcf(p_target=prior)


def _growth(
    name: str, whole: tuple[Path, Path], half: tuple[Path, Path], rounds: int
) -> Iterator[Measurement]:
    """Memory of a process that reads, scores and measures, and how it grows with the trials."""
    peaks = np.array(
        [
            [
                peak_of(_READ + _SCORE, str(path), str(models), before=_IMPORTS).added
                for path, models in (whole, half)
            ]
            for _ in range(rounds)
        ]
    )
    what = "read + cosine + EER + minDCF"
    yield Measurement.of(f"{name}: {what}, memory", peaks[:, 0], "MB", "beyond imports", most=500)
    yield Measurement.of(
        f"{name}: {what}, memory over that of half the trials",
        peaks[:, 0] / peaks[:, 1],
        "",
        f"half: {np.median(peaks[:, 1]):.0f} MB",
        most=2,
    )


_IMPORTS = """
from benchmarks.trials import _DIMENSIONS, _figures
import numpy as np
from voxangle.data import Trials
"""
_READ = "trials = Trials.read(sys.argv[1], models=(sys.argv[2:] or [None])[0])"
_SCORE = """
random = np.random.default_rng(0)
_figures(trials, random.standard_normal((len(trials.utterances), _DIMENSIONS), dtype=np.float32))
"""


def _cnceleb(folder: Path, count: int) -> tuple[Path, Path]:
    random = np.random.default_rng(0)
    genres = random.choice(
        ["interview", "singing", "live_broadcast", "entertainment", "vlog"], _CNCELEB_TESTS
    )
    speaker = random.integers(_CNCELEB_MODELS, size=_CNCELEB_TESTS)
    tests = [
        f"test/id{s + 800:05d}-{genre}-{i % 20:02d}-{i:05d}.wav"
        for i, (s, genre) in enumerate(zip(speaker, genres, strict=True))
    ]
    lists = folder / f"trials-{count}.lst", folder / f"enroll-{count}.map"
    with lists[0].open("w") as trials, lists[1].open("w") as models:
        for m in range(count):
            name = f"id{m + 800:05d}-enroll"
            trials.writelines(
                f"{name} {test} {int(s == m)}\n" for test, s in zip(tests, speaker, strict=True)
            )
            models.write(" ".join([name, *(f"enroll/{name}-{i}.wav" for i in range(_ENROLMENTS))]) + "\n")
    return lists


def _vox1h(folder: Path) -> Path:
    random = np.random.default_rng(0)
    keys = [f"id{10001 + i % 1190}/video{i // 9:011d}/{i % 90:05d}.wav" for i in range(_VOX1H_UTTERANCES)]
    # As unordered pairs, each once.
    drawn = np.sort(random.integers(len(keys), size=(_VOX1H_TRIALS + 1000, 2)), axis=1)
    pairs = random.permutation(np.unique(drawn, axis=0))[:_VOX1H_TRIALS]
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
