r"""What ``voxangle corpora check --audio`` finds, and misses: known defects seeded into real speech.

    python -m benchmarks.quality recordings [--root ../shared/corpora] [--work FOLDER] [--out FILE.json]
    python -m benchmarks.quality labels     [--root ../shared/corpora] [--work FOLDER] [--out FILE.json]
    python -m benchmarks.quality speed      [--root ../shared/corpora] [--work FOLDER] [--out FILE.json]

``recordings`` writes a corpus with seeded copies, clipping, silence, offset, narrow band and low level, checks it and
counts; ``labels`` gives recordings to a wrong speaker of the same corpus, trains three small encoders (some ten minutes
each on two CPU cores; those that FOLDER holds already are taken) and counts; ``speed`` measures hours a second and
memory. Only the ``train`` split is read. docs/quality.md quotes what is printed. The intervals of shares are those of
Clopper and Pearson (1934), 95 %; those of areas under the curve come from a bootstrap over speakers.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import beta  # type: ignore[import-untyped]

from voxangle.audio import SAMPLE_RATE
from voxangle.audio.measures import frame_energies, sounding
from voxangle.corpora import corpus_reader
from voxangle.corpora.prepared import prepare_split
from voxangle.data import Manifest
from voxangle.data.prepare import Prepared
from voxangle.quality import Limits, check_quality, doubt_labels, find_duplicates, survey
from voxangle.quality.duplicates import PRINT_SIZE, Prints

SPLIT = "train"
SEED = 5
TELEPHONE = "wuw/"  # this corpus is of 8 kHz as it comes
FEWEST = 4  # recordings of a speaker that gives or gets a wrong label
RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "shared.yaml"
SMALLER = (
    "data.validation_speakers=0",
    "encoder.channels=96",
    "encoder.aggregation=384",
    "batch.seconds=1.6",
    "schedule.steps=600",
    "training.validate_every=0",
)

Waveform = NDArray[np.float32]
Change = Callable[[Waveform, np.random.Generator], Waveform]
Rows = list[list[str]]


def share(count: int, of: int) -> str:
    """A share in per cent with its interval."""
    low = float(beta.ppf(0.025, count, of - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, of - count)) if count < of else 1.0
    return f"{100 * count / max(1, of):.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


# Defects of recordings


@dataclass(frozen=True)
class Defect:
    """One way of spoiling a recording, or of copying it.

    Attributes:
        kind: the finding that is asked for.
        how: in words.
        change: of the samples.
        seeded: recordings.
        container: of the file.
    """

    kind: str
    how: str
    change: Change
    seeded: int = 40
    container: str = "flac"


def same(wave: Waveform, _: np.random.Generator) -> Waveform:
    """As it is."""
    return wave


def gain(factor: float) -> Change:
    """Louder or softer."""
    return lambda wave, _: wave * np.float32(factor)


def clip(beyond: float, then: float = 1.0) -> Change:
    """Cut off at the level that this share of the samples exceeds, which becomes 0.9 of full scale times ``then``."""

    def cut(wave: Waveform, _: np.random.Generator) -> Waveform:
        level = float(np.quantile(np.abs(wave), 1 - beyond))
        return np.clip(wave, -level, level) * np.float32(0.9 * then / level)

    return cut


def pad(wave: Waveform, random: np.random.Generator) -> Waveform:
    """Zeros of 0.1 to 0.6 s before and after."""
    before, after = (np.zeros(int(n), np.float32) for n in random.integers(1_600, 9_600, 2))
    return np.concatenate([before, wave, after])


def drown(silent: float, noise: float = 0.0) -> Change:
    """Brought to this share of frames that do not sound; the added ones hold noise at a share of the speech's RMS."""

    def add(wave: Waveform, random: np.random.Generator) -> Waveform:
        heard = sounding(frame_energies(wave - wave.mean()))
        frames = int(heard.sum() / (1 - silent)) - len(heard)
        added = noise * rms(wave) * random.standard_normal(max(0, frames) * SAMPLE_RATE // 50)
        return np.concatenate([added.astype(np.float32), wave])

    return add


def rms(wave: Waveform) -> float:
    """Of the whole recording."""
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))


def offset(distance: float) -> Change:
    """A constant added."""
    return lambda wave, _: np.clip(wave - wave.mean() + np.float32(distance), -1, 1)


def narrow(wave: Waveform, _: np.random.Generator) -> Waveform:
    """To 8 kHz and back, with good filters."""
    down = soxr.resample(wave, SAMPLE_RATE, 8_000)
    return np.asarray(soxr.resample(down, 8_000, SAMPLE_RATE), dtype=np.float32)


def linear(wave: Waveform, _: np.random.Generator) -> Waveform:
    """To 8 kHz, and back by linear interpolation."""
    down = soxr.resample(wave, SAMPLE_RATE, 8_000)
    return np.asarray(np.interp(np.arange(len(wave)) / 2, np.arange(len(down)), down), dtype=np.float32)


def telephone(wave: Waveform, _: np.random.Generator) -> Waveform:
    """Through 300 to 3400 Hz and mu-law of 8 kHz."""
    spectrum = np.fft.rfft(soxr.resample(wave, SAMPLE_RATE, 8_000))
    hertz = np.fft.rfftfreq(2 * len(spectrum) - 1, 1 / 8_000)[: len(spectrum)]
    spectrum[(hertz < 300) | (hertz > 3_400)] = 0
    file = io.BytesIO()
    soundfile.write(file, np.fft.irfft(spectrum), 8_000, format="WAV", subtype="ULAW")
    file.seek(0)
    coded = soundfile.read(file, dtype="float32")[0]
    return np.asarray(soxr.resample(coded, 8_000, SAMPLE_RATE), dtype=np.float32)


def level(decibels: float) -> Change:
    """Brought to this RMS over the sounding frames, against full scale."""

    def bring(wave: Waveform, _: np.random.Generator) -> Waveform:
        energies = frame_energies(wave - wave.mean())
        now = float(energies[sounding(energies)].mean())
        return wave * np.float32(10 ** (decibels / 20) / np.sqrt(now))

    return bring


def noisy(wave: Waveform, random: np.random.Generator) -> Waveform:
    """White noise, 20 dB below."""
    return wave + (0.1 * rms(wave) * random.standard_normal(len(wave))).astype(np.float32)


def faster(wave: Waveform, _: np.random.Generator) -> Waveform:
    """5 % faster, and higher."""
    return np.asarray(soxr.resample(wave, SAMPLE_RATE, SAMPLE_RATE / 1.05), dtype=np.float32)


COPIES = (
    Defect("duplicate", "to the sample", same),
    Defect("duplicate", "8 dB softer", gain(0.4)),
    Defect("duplicate", "through MP3", same, container="mp3"),
    Defect("duplicate", "through Opus", same, container="ogg"),
    Defect("duplicate", "0.1 to 0.6 s of zeros before and after", pad),
    Defect(
        "duplicate",
        "the same, 8 dB softer, through Opus",
        lambda w, r: pad(gain(0.4)(w, r), r),
        container="ogg",
    ),
    Defect("duplicate", "to 8 kHz and back", narrow),
    Defect("duplicate", "through the telephone", telephone),
    Defect("duplicate", "the first 10 % cut away", lambda w, _: w[len(w) // 10 :]),
    Defect("duplicate", "the second half alone", lambda w, _: w[len(w) // 2 :]),
    Defect("duplicate", "white noise at 20 dB", noisy),
    Defect("duplicate", "5 % faster", faster),
)
DEFECTS = (
    Defect("clipped", "0.3 % of the samples", clip(0.003)),
    Defect("clipped", "1 %", clip(0.01)),
    Defect("clipped", "3 %", clip(0.03)),
    Defect("clipped", "10 %", clip(0.1)),
    Defect("clipped", "1 %, then 10 dB softer", clip(0.01, 0.3)),
    Defect("clipped", "1 %, then through MP3", clip(0.01, 0.7), container="mp3"),
    Defect("clipped", "3 %, then through MP3", clip(0.03, 0.7), container="mp3"),
    Defect("mostly_silence", "80 % zeros and pauses (tolerated)", drown(0.8)),
    Defect("mostly_silence", "90 %", drown(0.9)),
    Defect("mostly_silence", "95 %", drown(0.95)),
    Defect("mostly_silence", "90 %, noise 40 dB below the speech", drown(0.9, 0.01)),
    Defect("mostly_silence", "90 %, noise 25 dB below the speech", drown(0.9, 0.056)),
    Defect("offset_far", "0.003 of full scale (tolerated)", offset(0.003)),
    Defect("offset_far", "0.01", offset(0.01)),
    Defect("offset_far", "0.05", offset(0.05)),
    Defect("narrow_band", "8 kHz, good filters", narrow),
    Defect("narrow_band", "8 kHz, good filters, then MP3", narrow, container="mp3"),
    Defect("narrow_band", "8 kHz, good filters, then Opus", narrow, container="ogg"),
    Defect("narrow_band", "8 kHz, linear interpolation", linear),
    Defect("narrow_band", "telephone band, mu-law", telephone),
    Defect("too_quiet", "-50 dB of full scale", level(-50)),
    Defect("too_quiet", "-40 dB (tolerated)", level(-40)),
)
_CODING = {"flac": {}, "mp3": {"format": "MP3"}, "ogg": {"format": "OGG", "subtype": "OPUS"}}


def seed_recordings(prepared: Prepared, folder: Path) -> dict[str, tuple[Defect, str]]:
    """Write the corpus; what became of which utterance: the defect, and of a copy the utterance it copies."""
    random = np.random.default_rng(SEED)
    speakers = prepared.manifest.column("speaker").astype(str)
    keys = prepared.manifest.column("utterance").astype(str)
    names = np.unique(speakers)
    wide = iter(random.permutation(np.flatnonzero(~np.char.startswith(speakers, TELEPHONE))))
    spoilt = {int(next(wide)): defect for defect in DEFECTS for _ in range(defect.seeded)}
    copied = [(int(next(wide)), defect) for defect in COPIES for _ in range(defect.seeded)]
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    truth: dict[str, tuple[Defect, str]] = {}
    table: Rows = []

    def put(place: str, key: str, speaker: str, wave: Waveform, container: str) -> None:
        path = f"audio/{place}.{container}"
        soundfile.write(folder / path, np.clip(wave, -1, 1), SAMPLE_RATE, **_CODING[container])
        table.append([path, key, speaker])

    for row, (key, speaker) in enumerate(zip(keys, speakers, strict=True)):
        wave, container = prepared.read(row), "flac"
        if row in spoilt:
            truth[key] = (spoilt[row], "")
            wave, container = spoilt[row].change(wave, random), spoilt[row].container
        put(str(row), key, speaker, wave, container)
    for place, (row, defect) in enumerate(copied):
        key, wave = f"copy-{place}", defect.change(prepared.read(row), random)
        truth[key] = (defect, keys[row])
        speaker = speakers[row] if place % 2 else random.choice(names[names != speakers[row]])
        put(key, key, speaker, wave, defect.container)
    with (folder / "utterances.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["path", "utterance", "speaker"], *table])
    return truth


def recordings(root: Path, work: Path) -> tuple[list[str], Rows]:
    """Seed, check, count."""
    truth = seed_recordings(prepare_split(corpus_reader("table").read(root), SPLIT), work / "seeded")
    quality = check_quality(prepare_split(corpus_reader("table").read(work / "seeded"), "all"))
    keys = [str(key) for key in quality.table["utterance"].to_pylist()]
    pairs = {frozenset((keys[pair.first], keys[pair.other])) for pair in quality.duplicates}
    found = {
        kind.name: {keys[row] for row in quality.worst(kind)}
        for kind in quality.kinds()
        if kind.name != "duplicate"
    }
    rows = []
    for defect in (*COPIES, *DEFECTS):
        mine = [key for key, (other, _) in truth.items() if other is defect]
        if defect.kind == "duplicate":
            hits = sum(frozenset((key, truth[key][1])) in pairs for key in mine)
        else:
            hits = len(found[defect.kind].intersection(mine))
        rows.append(
            [
                defect.kind,
                defect.how,
                str(len(mine)),
                str(hits),
                str(len(mine) - hits),
                share(hits, len(mine)),
            ]
        )
    whole = set(keys) - set(truth) - {source for _, source in truth.values()}
    telephones = {key for key in whole if key.startswith(TELEPHONE)}
    for kind in quality.kinds():
        for group, members in (("wide band", whole - telephones), ("telephone", telephones)):
            flagged = (
                sum(pair <= members for pair in pairs)
                if kind.name == "duplicate"
                else len(found[kind.name] & members)
            )
            what = f"flagged among the unseeded, {group}" + (", pairs" if kind.name == "duplicate" else "")
            rows.append([kind.name, what, str(len(members)), str(flagged), "", share(flagged, len(members))])
    return ["finding", "how", "seeded or all", "found", "missed", "share, 95 % interval"], rows


# Wrong labels


def wrong_labels(
    speakers: NDArray[np.str_], part: float, random: np.random.Generator
) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
    """Speakers, shape (N,), of which a share is another one of the same corpus, and which those are.

    Only speakers of at least four recordings give and get one: of the others nothing can be told.
    """
    names, counts = np.unique(speakers, return_counts=True)
    enough = names[counts >= FEWEST]
    rows = np.flatnonzero(np.isin(speakers, enough))
    changed, wrong = speakers.copy(), np.zeros(len(speakers), bool)
    for row in random.permutation(rows)[: round(part * len(rows))]:
        corpus = speakers[row].split("/")[0] + "/"
        others = [name for name in enough if name.startswith(corpus) and name != speakers[row]]
        changed[row], wrong[row] = random.choice(others), True
    return changed, wrong


def write_table(manifest: Manifest, speakers: Iterable[str], splits: Iterable[str], folder: Path) -> None:
    """A corpus ``table`` of a manifest's files, under other speakers and splits."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "utterances.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "utterance", "speaker", "split", "language", "gender", "channel"])
        for one, path, speaker, split in zip(manifest, manifest.files(), speakers, splits, strict=True):
            rows.writerow([path, one.utterance, speaker, split, one.language, one.gender, one.channel])


def halves(speakers: NDArray[np.str_]) -> NDArray[np.str_]:
    """``learnt`` for every other speaker of each corpus in the order of a hash, ``asked`` for the rest, shape (N,)."""
    half: dict[str, str] = {}
    for corpus in sorted({speaker.split("/")[0] for speaker in speakers}):
        mine = sorted(
            {speaker for speaker in speakers if speaker.startswith(f"{corpus}/")},
            key=lambda speaker: hashlib.sha256(speaker.encode()).digest(),
        )
        half |= {speaker: ("learnt", "asked")[place % 2] for place, speaker in enumerate(mine)}
    return np.array([half[speaker] for speaker in speakers])


def write_label_tables(root: Path, work: Path) -> dict[str, Path]:
    """What the encoders are trained on: half the speakers, labels as they are; all, 5 or 10 % of the labels wrong."""
    manifest = corpus_reader("table").read(root).splits[SPLIT]
    speakers = manifest.column("speaker").astype(str)
    folders = {"half": work / "half"}
    write_table(manifest, speakers, halves(speakers), folders["half"])
    for per_cent in (5, 10):
        changed, _ = wrong_labels(speakers, per_cent / 100, np.random.default_rng((SEED, per_cent)))
        folders[f"wrong-{per_cent}"] = work / f"wrong-{per_cent}"
        write_table(manifest, changed, [SPLIT] * len(manifest), folders[f"wrong-{per_cent}"])
    return folders


def train_on(name: str, folder: Path, work: Path) -> Path:
    """The run of one table, trained where it is missing."""
    from voxangle.recipe import Recipe
    from voxangle.training.loop import train

    run = work / "runs" / name
    if not (run / "model").exists():
        split = "learnt" if name == "half" else SPLIT
        overrides = [f"data.root={folder}", f"data.split={split}", *SMALLER]
        train(Recipe.read(RECIPE, overrides), run, console=Console())
    return run


def embedded(run: Path, prepared: Prepared) -> NDArray[np.float32]:
    """Embeddings, kept beside the run."""
    from voxangle.encoders import Embedder
    from voxangle.quality.model import embed_usable

    path = run / f"{prepared.folder.name}.npy"
    if not path.exists():
        np.save(path, embed_usable(Embedder.load(run), prepared))
    return np.asarray(np.load(path))


def area(scores: NDArray[np.float64], wrong: NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
    """Area under the ROC curve: how often a wrong label scores above a right one; ties count half."""
    _, group = np.unique(scores, return_inverse=True)
    right = np.bincount(group, weights * ~wrong)
    below = np.cumsum(right) - right / 2
    hits = weights * wrong
    return float((hits * below[group]).sum() / (hits.sum() * right.sum()))


def area_with_interval(
    scores: NDArray[np.float64], wrong: NDArray[np.bool_], speakers: NDArray[np.str_]
) -> str:
    """Area and its 95 % interval from 1000 draws of speakers (those who speak, whatever the label)."""
    known = np.isfinite(scores)
    if not (known & wrong).any():
        return "-"
    scores, wrong = scores[known], wrong[known]
    names, speaker = np.unique(speakers[known], return_inverse=True)
    random = np.random.default_rng(SEED)
    draws = [
        area(
            scores,
            wrong,
            random.multinomial(len(names), np.full(len(names), 1 / len(names)))[speaker].astype(float),
        )
        for _ in range(1000)
    ]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return f"{area(scores, wrong, np.ones(len(scores))):.3f} [{low:.3f}, {high:.3f}]"


def labels(root: Path, work: Path) -> tuple[list[str], Rows]:
    """Train, ask, count."""
    from voxangle.quality.model import class_posterior

    folders = write_label_tables(root, work)
    true = corpus_reader("table").read(root).splits[SPLIT]
    speaker_of = dict(zip(true.column("utterance"), true.column("speaker").astype(str), strict=True))
    rows = []

    def ask(how: str, run: Path, prepared: Prepared, per_cent: int) -> None:
        speaking = np.array([speaker_of[key] for key in prepared.manifest.column("utterance")])
        said = prepared.manifest.column("speaker").astype(str)
        if (said == speaking).all():
            said, _ = wrong_labels(speaking, per_cent / 100, np.random.default_rng((SEED, per_cent)))
        embeddings = embedded(run, prepared)
        posterior = class_posterior(run, embeddings, said.astype(object))
        doubts = doubt_labels(embeddings, np.unique(said, return_inverse=True)[1])
        judged = np.isfinite(doubts.doubt)
        wrong = (said != speaking) & judged
        flagged = doubts.doubt > Limits().doubt
        scores = [doubts.doubt, -doubts.own, np.full(len(said), np.nan) if posterior is None else -posterior]
        hits = int((flagged & wrong).sum())
        rows.append(
            [
                how,
                f"{per_cent} %",
                str(judged.sum()),
                str(wrong.sum()),
                share(hits, int(wrong.sum())),
                share(int((flagged & ~wrong).sum()), int((judged & ~wrong).sum())),
                share(hits, int(flagged.sum())),
                *(area_with_interval(np.where(judged, score, np.nan), wrong, speaking) for score in scores),
            ]
        )

    for name, folder in folders.items():
        run = train_on(name, folder, work)
        corpus = corpus_reader("table").read(folder)
        if name == "half":
            for split, how in (
                ("asked", "clean labels, other speakers"),
                ("learnt", "clean labels, these speakers"),
            ):
                for per_cent in (5, 10):
                    ask(how, run, prepare_split(corpus, split), per_cent)
        else:
            ask("the wrong labels themselves", run, prepare_split(corpus, SPLIT), int(name.split("-")[1]))
    areas = ["AUC: doubt", "AUC: own centroid", "AUC: own-class posterior"]
    header = [
        "the model has learnt",
        "wrong",
        "judged",
        "wrong, judged",
        "found",
        "false alarms",
        "of flagged, wrong",
    ]
    return [*header, *areas], rows


# Speed


def speed(root: Path, work: Path) -> tuple[list[str], Rows]:
    """Hours a second, what a million recordings cost, and memory."""
    del work
    prepared = prepare_split(corpus_reader("table").read(root), SPLIT)
    hours = float(prepared.samples.sum()) / SAMPLE_RATE / 3600
    rows = []

    def clocked(what: str, call: Callable[[], Any], unit: str, amount: float) -> Any:
        began = time.perf_counter(), time.process_time()
        result = call()
        wall, processor = time.perf_counter() - began[0], time.process_time() - began[1]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rows.append(
            [what, f"{wall:.1f}", f"{processor:.1f}", f"{amount / processor:,.4g} {unit}", f"{peak:.2f}"]
        )
        return result

    for path in prepared.folder.glob("measures-*.parquet"):
        path.unlink()
    found = clocked(
        f"measure {hours:.2f} h of {len(prepared.samples):,} recordings", lambda: survey(prepared), "h", hours
    )
    clocked(
        f"read them again, {len(found.prints):,}", lambda: survey(prepared), "recordings", len(found.prints)
    )
    clocked(
        f"copies among {len(found.prints):,}",
        lambda: find_duplicates(found.prints, prepared.read),
        "recordings",
        len(found.prints),
    )
    random = np.random.default_rng(SEED)
    for size in (50_000, 200_000):
        # VoxCeleb2's lengths, roughly: 4 s and more, 7.8 s in the mean. Prints of noise have no candidates.
        lengths = (SAMPLE_RATE * (4 + random.exponential(3.8, size))).astype(np.int64)
        vectors = random.standard_normal((size, PRINT_SIZE), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        digests = random.bytes(16 * size)
        prints = Prints(
            np.frombuffer(digests, "S16"), np.zeros(size, np.int64), lengths, vectors.astype(np.float16)
        )
        clocked(
            f"compare the prints of {size:,}",
            partial(find_duplicates, prints, prepared.read),
            "recordings",
            size,
        )
    size, speakers = 1_000_000, 6_000
    of = random.integers(0, speakers, size)
    embeddings = random.standard_normal((size, 192), dtype=np.float32)
    clocked(
        f"doubt {size:,} labels of {speakers:,} speakers",
        lambda: doubt_labels(embeddings, of),
        "labels",
        size,
    )
    heads = ["what", "seconds", "processor seconds", "a processor second", "peak memory so far, GiB"]
    return heads, rows


def main() -> None:
    """Run one of them, print, and write JSON where asked."""
    parts = {"recordings": recordings, "labels": labels, "speed": speed}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=parts)
    parser.add_argument("--root", type=Path, default=Path("../shared/corpora"))
    parser.add_argument("--work", type=Path, default=Path("runs/quality"))
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    options = parser.parse_args()
    header, rows = parts[options.part](options.root.resolve(), options.work.resolve())
    table = Table(title=f"{options.part}, seed {SEED}, split {SPLIT}")
    for heading in header:
        table.add_column(heading)
    for row in rows:
        table.add_row(*row)
    Console(width=None if os.isatty(1) else 170).print(table)
    if options.out:
        options.out.write_text(
            json.dumps([dict(zip(header, row, strict=True)) for row in rows], indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
