"""``voxangle embed`` and ``voxangle verify``: a model on recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from voxangle.cli.app import AsJson, Model, RuntimeOption, app, load_model, open_console, print_json
from voxangle.cli.voiceprints import Anyway, ExitCode, Store, actor, as_content, counted, opened
from voxangle.errors import AudioError, VoxangleError

if TYPE_CHECKING:
    from voxangle.cli.app import Runtime
    from voxangle.runtime import BaseEmbedder, Card
    from voxangle.runtime.corpus import Engine
    from voxangle.runtime.decision import BayesRule, Decision
    from voxangle.runtime.measures import RecordingMeasures
    from voxangle.runtime.recording_list import RecordingList
    from voxangle.runtime.windows import Windows
    from voxangle.voiceprints import Entry, Recording, VoiceprintStore

Window = Annotated[
    float | None, typer.Option(help="Seconds of a window of a long recording; 0 embeds it whole. [60]")
]
Overlap = Annotated[float, typer.Option(help="Seconds that neighbouring windows share.")]


@app.command()
def embed(
    paths: Annotated[list[Path] | None, typer.Argument(help="Recordings, or folders of them.")] = None,
    model: Model = None,
    list_file: Annotated[
        Path | None, typer.Option("--list", help="A file with a path a line; its text becomes the key.")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="A corpus of `voxangle corpora list`; its utterances are the keys.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="With --corpus: the split.")] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="What the list's paths are relative to, or where the corpus lies."),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="An .npz, or a folder of Parquet parts that a killed run goes on with."
        ),
    ] = Path("embeddings.npz"),
    runtime: RuntimeOption = None,
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode, of each copy of the model.")] = 2,
    window: Window = None,
    overlap: Overlap = 0.0,
    ray: Annotated[
        bool,
        typer.Option("--ray", help="Compute on the Ray cluster of $RAY_ADDRESS, or on one started here."),
    ] = False,
    models: Annotated[
        int | None, typer.Option(min=1, help="With --ray: copies of the model; one a GPU or machine.")
    ] = None,
) -> None:
    """One embedding a recording, by key: the list's line, the corpus's utterance, or the path as given."""
    from voxangle.console import counting
    from voxangle.errors import CorpusError
    from voxangle.runtime.corpus import embed_corpus, here

    if sum(map(bool, (paths, list_file, corpus))) != 1:
        raise VoxangleError("give recordings or folders, a --list of them, or a --corpus")
    if (split and not corpus) or (models and not ray):
        raise VoxangleError("--split goes with --corpus, and --models with --ray")
    if corpus:
        recordings = _of_corpus(corpus, split, root)
    else:
        recordings = _listed(list_file, root or Path()) if list_file else _found(paths or [])
    embedder = _loaded(model, runtime, window, overlap)
    if ray:
        from voxangle.runtime.ray_cluster import on_ray

        engine = on_ray(embedder, models=models, workers=workers)
    else:
        engine = here(embedder, workers)

    def tell(error: AudioError) -> None:
        typer.echo(f"left out: {error}", err=True)

    with counting(open_console(), "embedding") as on_progress:
        if out.suffix == ".npz":
            kept, before = _embed_into_archive(engine, recordings, out, tell, on_progress), 0
        else:
            written = embed_corpus(embedder, recordings, out, engine, on_progress=on_progress, on_error=tell)
            kept, before = _kept(out), written.before
    if not kept:
        written_or_not = "nothing was written" if out.suffix == ".npz" else f"{out} says why"
        raise CorpusError(f"of {counted(len(recordings), 'recording')} none can be used; {written_or_not}")
    left_out = len(recordings) - kept
    typer.echo(
        f"{counted(kept, 'embedding')} of {embedder.dimension} dimensions {'is' if kept == 1 else 'are'} in {out}"
        + (
            f"; {counted(left_out, 'recording')} {'was' if left_out == 1 else 'were'} left out"
            if left_out
            else ""
        )
        + (f"; {counted(before, 'recording')} had been done before" if before else "")
    )


@app.command()
def verify(
    first: Annotated[Path, typer.Argument(help="A recording.")],
    second: Annotated[Path | None, typer.Argument(help="Another recording; none with --as.")] = None,
    name: Annotated[
        str | None, typer.Option("--as", help="Compare with the voiceprint of this person, who is enrolled.")
    ] = None,
    model: Model = None,
    prior: Annotated[
        float | None,
        typer.Option(help="How probable one voice is before anything is heard, in (0, 1). [0.5]"),
    ] = None,
    c_miss: Annotated[float | None, typer.Option(help="What it costs to call one voice two. [1]")] = None,
    c_fa: Annotated[float | None, typer.Option(help="What it costs to call two voices one. [1]")] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            help="Decide by the score instead: from this one on, or from one of the model's by name (eer, far-1%, "
            "...); its first where it has no calibration."
        ),
    ] = None,
    anyway: Anyway = False,
    store: Store = None,
    runtime: RuntimeOption = None,
    window: Window = None,
    overlap: Overlap = 0.0,
    exit_code: ExitCode = False,
    as_json: AsJson = False,
) -> None:
    """Is it the same voice? Score, log-likelihood ratio, probability, the decision and why."""
    if (second is None) == (name is None):
        raise VoxangleError("give two recordings, or one and the person whom it claims to be with --as")
    from voxangle.voiceprints import take_heard

    with nullcontext() if name is None else opened(store, records="a verification") as prints:
        embedder = _loaded(model, runtime, window, overlap)
        rule = rule_for(embedder.card, threshold, prior=prior, c_miss=c_miss, c_fa=c_fa)
        files = [first] if second is None else [first, second]
        recordings, notes = take_heard(embedder, files, anyway=anyway)
        if prints is None:
            compared = _with_each_other(embedder, recordings, rule, threshold)
        else:
            assert name is not None  # noqa: S101 - for the type checker
            compared = _with_print(embedder, recordings[0], prints, name, rule, threshold)
    fit = embedder.card.calibration
    score, ratio, decision = compared.score, compared.ratio, compared.decision
    probability = None if ratio is None else rule.probability(ratio)
    if as_json:
        print_json(
            {
                "score": score,
                "log_likelihood_ratio": ratio,
                "probability": probability,
                **rule.model_dump(),
                "same_voice": decision.same_voice,
                "decided_by": decision.by,
                "threshold": decision.threshold,
                "threshold_name": decision.name,
                "threshold_source": decision.why,
                "calibration": None if fit is None else fit.source,
                "model": embedder.card.name,
                "measures": [asdict(one) for one in compared.sides] if fit and fit.asks_measures else [],
                "notes": notes,
                **({} if compared.entry is None else {"voiceprint": as_content(compared.entry)}),
            }
        )
    else:
        _tell(embedder.card, compared, notes, rule, assumed=prior is None)
    if exit_code and not decision.same_voice:
        raise typer.Exit(1)


class _Compared(NamedTuple):
    """What was found of a recording and another, or a voiceprint."""

    score: float
    ratio: float | None
    decision: Decision
    sides: tuple[RecordingMeasures, RecordingMeasures]
    entry: Entry | None = None


def _with_each_other(
    embedder: BaseEmbedder, pair: Sequence[Recording], rule: BayesRule, threshold: str | None
) -> _Compared:
    import numpy as np

    from voxangle.runtime.decision import decide

    fit = embedder.card.calibration
    a, b = (one.vector for one in pair)
    score = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    sides = (pair[0].measures, pair[1].measures)
    ratio = None if fit is None else fit.log_likelihood_ratio(score, *sides)
    return _Compared(score, ratio, decide(embedder.card, score, ratio, rule, threshold), sides)


def _with_print(
    embedder: BaseEmbedder,
    recording: Recording,
    prints: VoiceprintStore,
    name: str,
    rule: BayesRule,
    threshold: str | None,
) -> _Compared:
    from voxangle.voiceprints import verify as verify_claim

    found = verify_claim(prints, embedder, name, recording, actor=actor(), rule=rule, threshold=threshold)
    sides = (found.entry.measures, recording.measures)
    return _Compared(found.score, found.log_likelihood_ratio, found.decision, sides, found.entry)


def rule_for(card: Card, threshold: str | None, **given: float | None) -> BayesRule:
    """What a decision is to be best for, as asked for, if the model can decide so.

    Raises:
        VoxangleError: a prior or a cost is out of range, or does not go with a threshold or with the model.
    """
    from voxangle.runtime.decision import BayesRule

    rule = BayesRule.check(**given)
    if rule.model_fields_set and threshold is not None:
        raise VoxangleError(
            "--threshold decides by the score, --prior, --c-miss and --c-fa by the log-likelihood ratio: give one or "
            "the others"
        )
    if rule.model_fields_set and card.calibration is None:
        raise VoxangleError(
            f"the model '{card.name}' has no calibration, and --prior, --c-miss and --c-fa decide by one; "
            "`voxangle calibrate` fits it, or decide by the score with --threshold"
        )
    return rule


def _tell(card: Card, compared: _Compared, notes: Iterable[str], rule: BayesRule, *, assumed: bool) -> None:
    """Say in the terminal what was found."""
    fit, ratio, decision, entry = card.calibration, compared.ratio, compared.decision, compared.entry
    console = open_console()
    whose = ("the same voice", "different voices")
    if entry is not None:
        whose = (f"the voice of {entry.name}", f"not the voice of {entry.name}")
    answer = {None: "no decision", True: whose[0], False: whose[1]}[decision.same_voice]
    console.print(answer, style="bold", highlight=False, markup=False)

    def say(what: str, text: str) -> None:
        console.print(f"{what:<11} {text}", highlight=False, markup=False, soft_wrap=True)

    say("score", f"{compared.score:.4f} (cosine)")
    if fit is not None and ratio is not None:
        say("LLR", f"{ratio:+.2f} (natural logarithm; {fit.source})")
        stated = ", which is assumed; say yours with --prior" if assumed else ""
        say("probability", f"{share(rule.probability(ratio))} of one voice, at prior {rule.prior:g}{stated}")
    if decision.by == "log_likelihood_ratio":
        say("threshold", f"LLR {decision.threshold:+.2f} ({decision.why})")
    elif decision.threshold is not None:
        say("threshold", f"{decision.threshold:.4f} {decision.name} ({decision.why})")
    else:
        say("threshold", f"none ({decision.why})")
    say("model", card.name)
    for note in notes:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)


def share(probability: float) -> str:
    """A probability as a person may take it: no calibration knows the last thousandth."""
    if not 0.001 <= probability <= 0.999:
        return "less than 0.1 %" if probability < 0.5 else "more than 99.9 %"
    return f"{100 * probability:.1f} %"


def _embed_into_archive(
    engine: Engine,
    recordings: RecordingList,
    out: Path,
    on_error: Callable[[AudioError], None],
    on_progress: Callable[[int, int], None],
) -> int:
    """Embed all of a short list, and write the ``.npz`` if any recording could be used; how many could."""
    from contextlib import closing

    import numpy as np

    from voxangle.runtime.archive import write_embeddings
    from voxangle.runtime.embedding import PartSize

    by_key = {}
    with closing(engine(recordings, 0, PartSize())) as stream:
        for done, (key, one) in enumerate(zip(recordings.keys(), stream, strict=True), start=1):
            if one.vector is not None:
                by_key[key] = one.vector
            if one.error is not None:
                on_error(one.error)
            on_progress(done, len(recordings))
    if by_key:
        write_embeddings(out, by_key, np.stack(list(by_key.values())))
    return len(by_key)


def _kept(folder: Path) -> int:
    from voxangle.runtime.parts import PartFolder

    parts = PartFolder.open(folder)
    return sum(int(table["error"].null_count) for table in parts.tables(["error"]))


def _loaded(
    model: Path | None, runtime: Runtime | None, window: float | None, overlap: float
) -> BaseEmbedder:
    """The model asked for, which cuts long recordings as asked for."""
    embedder, _ = load_model(model, runtime)
    if window is not None or overlap:
        embedder.windows = _windows(window, overlap)
    return embedder


def _windows(seconds: float | None, overlap: float) -> Windows | None:
    from pydantic import ValidationError

    from voxangle.runtime.windows import Windows

    if seconds == 0:
        return None
    try:
        return Windows(overlap=overlap) if seconds is None else Windows(seconds=seconds, overlap=overlap)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if "seconds" in first["loc"]:
            message = f"--window {seconds:g}: give 1 s or more, or 0 to embed recordings whole"
        elif "overlap" in first["loc"]:
            message = f"--overlap {overlap:g}: give 0 s or more, up to half a window"
        else:
            message = f"--overlap {overlap:g}: {first['msg'].removeprefix('Value error, ')}"
        raise VoxangleError(message) from error


def _of_corpus(name: str, split: str | None, root: Path | None) -> RecordingList:
    from voxangle.corpora import corpus_folder, corpus_reader
    from voxangle.corpora.prepared import split_of
    from voxangle.errors import CorpusError
    from voxangle.runtime.recording_list import RecordingList

    corpus = corpus_reader(name).read(root or corpus_folder(name))
    if split is None:
        if len(corpus.splits) > 1:
            raise CorpusError(
                f"corpus '{name}' has several splits; give one with --split: {', '.join(corpus.splits)}"
            )
        split = next(iter(corpus.splits))
    manifest = split_of(corpus, split)
    return RecordingList.of_manifest(manifest.table, manifest.root)


def _listed(list_file: Path, root: Path) -> RecordingList:
    from voxangle.errors import CorpusError
    from voxangle.runtime.recording_list import RecordingList

    try:
        lines = [line.removesuffix("\r") for line in list_file.read_text(encoding="utf-8").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{list_file}: cannot be read as a list of recordings ({error})") from error
    if any("\0" in line for line in lines):
        raise CorpusError(f"{list_file}: holds a NUL byte, so it is no list of recordings")
    files = {line: line for line in lines if line.strip()}
    if not files:
        raise CorpusError(f"{list_file}: the list is empty")
    return RecordingList.of_files(files, root)


def _found(paths: list[Path]) -> RecordingList:
    from voxangle.audio import AUDIO_SUFFIXES
    from voxangle.errors import CorpusError
    from voxangle.runtime.recording_list import RecordingList

    files: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in AUDIO_SUFFIXES]
            if not inside:
                raise CorpusError(
                    f"{path}: no recordings in this folder ({', '.join(sorted(AUDIO_SUFFIXES))})"
                )
            files.update((str(file), file) for file in inside)
        else:
            files[str(path)] = path
    return RecordingList.of_files(files)
