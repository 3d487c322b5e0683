"""The command line: parse, call, print. Every heavy import waits for the command that needs it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxangle import __version__
from voxangle.errors import VoxangleError

if TYPE_CHECKING:
    from rich.console import Console

    from voxangle.data import Manifest, Trials
    from voxangle.encoders import Embedder
    from voxangle.scoring import Result

# Two spinning OpenMP threads collapse beside another busy process; libgomp reads these when torch loads it.
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

app = typer.Typer(
    help="Train, evaluate and use speaker encoders: is this the same voice?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
corpora_app = typer.Typer(help="List, get and prepare corpora.", no_args_is_help=True)
app.add_typer(corpora_app, name="corpora")

Model = Annotated[
    Path | None,
    typer.Option("--model", "-m", envvar="VOXANGLE_MODEL", help="A run's folder, or the model folder in it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def main() -> None:
    """Run a command; a mistake of the user's ends with a message and exit code 2, never with a traceback."""
    try:
        app()
    except VoxangleError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except OSError as error:
        # The disk, a permission, a name that cannot be: the surroundings, not the program.
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except MemoryError as error:
        print(f"error: not enough memory ({error}); make the batch or the model smaller", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except SystemExit as left:
        if left.code == 130 and isinstance(left.__context__, KeyboardInterrupt):
            print("stopped; the same command goes on", file=sys.stderr)  # noqa: T201
        raise


def _console() -> Console:
    from rich.console import Console

    # Without a terminal rich assumes 80 columns and breaks lines that a log should keep whole.
    return Console(width=None if sys.stdout.isatty() else 120)


def _print_json(content: object) -> None:
    import json

    typer.echo(json.dumps(content, indent=2))


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Train, evaluate and use speaker encoders: is this the same voice?"""
    if show:
        typer.echo(f"voxangle {__version__}")
        raise typer.Exit


@corpora_app.command("list")
def corpora_list() -> None:
    """The corpora that voxangle reads."""
    from rich.table import Table

    from voxangle.corpora import CORPORA, corpus_folder

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("corpus", "what", "licence", "here"):
        table.add_column(heading, no_wrap=heading == "corpus")
    for name, reader in CORPORA.items():
        here = "given by --root" if reader.get is None else "yes" if corpus_folder(name).exists() else "get"
        table.add_row(name, reader.summary, reader.licence, here)
    _console().print(table)


@corpora_app.command("get")
def corpora_get(
    name: Annotated[str, typer.Argument(help="A corpus of `voxangle corpora list`.")],
    root: Annotated[Path | None, typer.Option(help="Where to put it; the cache by default.")] = None,
) -> None:
    """Download a corpus; a broken download goes on where it stopped."""
    from voxangle.console import downloading
    from voxangle.corpora import corpus_folder, corpus_reader
    from voxangle.errors import CorpusError

    reader, target = corpus_reader(name), root or corpus_folder(name)
    if reader.get is None:
        if reader.how_to_get:
            raise CorpusError(f"voxangle does not fetch '{name}'; this is how to. {reader.how_to_get}")
        raise CorpusError(f"'{name}' reads what you have: nothing is to be got; give its place with --root")
    with downloading(_console()) as on_progress:
        reader.get(target, on_progress)
    typer.echo(f"{name} is in {target}")


@corpora_app.command("check")
def corpora_check(
    name: Annotated[str, typer.Argument(help="A corpus of `voxangle corpora list`.")],
    root: Annotated[Path | None, typer.Option(help="Where it lies; the cache by default.")] = None,
    headers: Annotated[
        bool, typer.Option("--headers", help="Read every file's header too: hours, files that are not audio.")
    ] = False,
    audio: Annotated[
        bool,
        typer.Option("--audio", help="Read all audio: duplicates, clipping, silence, fake rates, levels."),
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="With --audio: a run whose model looks for wrong labels."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="With --audio: one split only.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="With --audio: where pages and tables go; quality/NAME."),
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="With --audio: CSV tables instead of Parquet.")
    ] = False,
) -> None:
    """Is a corpus all there, and fit to learn from? Counts against the published ones; with --audio its quality."""
    from voxangle.corpora import corpus_folder, corpus_reader
    from voxangle.corpora.completeness import Tally, inspect
    from voxangle.errors import CorpusError

    if not audio and (model or split or out or as_csv):
        raise CorpusError("--model, --split, --out and --csv ask about the audio: give --audio too")
    reader, place = corpus_reader(name), root or corpus_folder(name)
    if reader.check is not None:
        completeness = reader.check(place, headers=headers)
    else:
        corpus = reader.read(place)
        completeness = inspect(corpus.name, place, corpus.splits, {}, Tally(), headers=headers)
    typer.echo(str(completeness))
    if audio:
        _check_audio(
            name, place, split, model, out or Path("quality") / name, ".csv" if as_csv else ".parquet"
        )
    if not completeness.whole:
        raise typer.Exit(1)


def _check_audio(name: str, root: Path, only: str | None, model: Path | None, out: Path, suffix: str) -> None:
    """Measure each split; a table in the terminal, a row an utterance in a file, and a page."""
    from rich.table import Table

    from voxangle.console import counting
    from voxangle.corpora import corpus_reader
    from voxangle.corpora.prepared import prepare_split
    from voxangle.errors import CheckpointError
    from voxangle.quality import check_quality
    from voxangle.reporting.quality_page import quality_rows, write_quality_page
    from voxangle.storage import writable_folder

    console, corpus = _console(), corpus_reader(name).read(root)
    embedder = None
    if model is not None:
        from voxangle.encoders import Embedder

        embedder = Embedder.load(model)
    folder = writable_folder(out)
    for part in [only] if only else list(corpus.splits):
        with counting(console, f"preparing {part}") as on_progress:
            prepared = prepare_split(corpus, part, on_progress=on_progress)
        notes = [corpus.notes] if corpus.notes else []
        facts = {"corpus": name, "split": part, "place": str(root)}
        embeddings = posterior = None
        if embedder is not None and model is not None:
            from voxangle.quality.model import class_posterior, embed_usable

            facts |= {"model": f"{embedder.card.name} ({model})"}
            with counting(console, f"embedding {part}") as on_progress:
                embeddings = embed_usable(embedder, prepared, on_progress)
            try:
                posterior = class_posterior(model, embeddings, prepared.manifest.column("speaker"))
            except CheckpointError as error:
                notes.append(f"Without the posterior of the own class: {error}")
        with counting(console, f"measuring {part}") as on_progress:
            quality = check_quality(
                prepared, embeddings=embeddings, posterior=posterior, on_progress=on_progress
            )
        table = Table(box=None, pad_edge=False, header_style="bold", title=part, title_justify="left")
        for heading in ("finding", "utterances", "share"):
            table.add_column(heading, justify="left" if heading == "finding" else "right")
        for row in quality_rows(quality):
            table.add_row(*row)
        console.print(table)
        for note in notes:
            console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
        safe = part.replace("/", "-")
        quality.write(folder / f"{safe}{suffix}")
        page = folder / f"{safe}.html"
        write_quality_page(page, f"{corpus.name}, {part}", quality, facts=facts, notes=notes)
        if prepared.left_out:
            typer.echo(f"cannot be read: {prepared.folder / 'left_out.csv'}")
        typer.echo(f"a row an utterance: {folder / f'{safe}{suffix}'}; to listen: {page}")


@corpora_app.command("prepare")
def corpora_prepare(
    name: Annotated[str, typer.Argument(help="A corpus of `voxangle corpora list`.")],
    root: Annotated[Path | None, typer.Option(help="Where it lies; the cache by default.")] = None,
    split: Annotated[str | None, typer.Option(help="One split only.")] = None,
) -> None:
    """Decode a corpus once into the cache that training reads; say what was left out and why."""
    from voxangle.console import counting
    from voxangle.corpora import corpus_folder, corpus_reader
    from voxangle.corpora.prepared import prepare_split

    console = _console()
    corpus = corpus_reader(name).read(root or corpus_folder(name))
    for part in [split] if split else list(corpus.splits):
        with counting(console, f"preparing {part}") as on_progress:
            prepared = prepare_split(corpus, part, on_progress=on_progress)
        hours = prepared.manifest.column("seconds").sum() / 3600
        speakers = len(prepared.manifest.speakers())
        console.print(
            f"{part}: {len(prepared.manifest)} utterances, {speakers} speakers, {hours:.2f} h in {prepared.folder}",
            highlight=False,
            soft_wrap=True,
        )
        if prepared.left_out:
            console.print(f"  left out: {len(prepared.left_out)}, see {prepared.folder / 'left_out.csv'}")
            for left in prepared.left_out[:5]:
                console.print(f"    {left.path}: {left.cause}", highlight=False, soft_wrap=True)
    if corpus.notes:
        console.print(f"note: {corpus.notes}", highlight=False, markup=False, soft_wrap=True)


@corpora_app.command("shard")
def corpora_shard(
    name: Annotated[str, typer.Argument(help="A corpus of `voxangle corpora list`.")],
    out: Annotated[str, typer.Option("--out", "-o", help="A folder, or a URL such as s3://bucket/corpus.")],
    root: Annotated[Path | None, typer.Option(help="Where it lies; the cache by default.")] = None,
    split: Annotated[str | None, typer.Option(help="One split only.")] = None,
    flac: Annotated[
        bool,
        typer.Option("--flac", help="Code everything as FLAC, 16 kHz mono; else files stay as they are."),
    ] = False,
    together: Annotated[
        int, typer.Option(min=1, help="Recordings of a speaker side by side: a multiple of a batch's K.")
    ] = 8,
    megabytes: Annotated[int, typer.Option(min=1, help="Size of a shard.")] = 256,
) -> None:
    """Write a corpus as tar shards that are read in order, from a disk or an object store."""
    from voxangle.console import counting
    from voxangle.corpora import corpus_folder, corpus_reader
    from voxangle.corpora.prepared import split_of
    from voxangle.data.shard_writer import write_shards

    console = _console()
    corpus = corpus_reader(name).read(root or corpus_folder(name))
    for part in [split] if split else list(corpus.splits):
        with counting(console, f"writing {part}") as on_progress:
            shards = write_shards(
                split_of(corpus, part),
                f"{out.rstrip('/')}/{part}",
                coding="flac" if flac else "keep",
                together=together,
                shard_bytes=megabytes * 10**6,
                on_progress=on_progress,
            )
        hours = shards.manifest.column("seconds").sum() / 3600
        size = sum(shard.bytes for shard in shards.shards) / 1e6
        console.print(
            f"{part}: {len(shards)} utterances, {len(shards.manifest.speakers())} speakers, {hours:.2f} h in "
            f"{len(shards.shards)} shards, {size:.1f} MB, at {shards.place.address}",
            highlight=False,
            soft_wrap=True,
        )
        if shards.left_out:
            console.print(f"  left out: {len(shards.left_out)}, see {shards.place.address}/left_out.csv")
            for left in shards.left_out[:5]:
                console.print(f"    {left.path}: {left.cause}", highlight=False, soft_wrap=True)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The run's folder; runs/NAME.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override an entry: optimizer.lr=0.1 (repeatable).")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew where the folder holds a run.")] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Look at the data, time a few steps, print the plan; train and write nothing."
        ),
    ] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, help="For --check: how many processes will share the batch.")
    ] = None,
) -> None:
    """Train by a recipe; run the same command again to go on with a run that stopped."""
    from voxangle.training.allocator import keep_freed_memory

    keep_freed_memory()  # before torch allocates
    from voxangle.recipe import Recipe
    from voxangle.training.loop import TrainingInterrupted
    from voxangle.training.loop import train as run

    checked = Recipe.read(recipe, settings or [])
    if check:
        from voxangle.training.plan import make_plan, plan_table

        plan = make_plan(checked, processes=processes or int(os.environ.get("WORLD_SIZE", "1")))
        console = _console()
        console.print(plan_table(plan))
        for note in plan.notes:
            console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
        return
    if processes:
        raise VoxangleError("--processes belongs to --check; torchrun says how many train")
    folder = out or Path("runs") / checked.name
    try:
        model = run(checked, folder, fresh=fresh, console=_console())
    except TrainingInterrupted as stopped:
        command = shlex.join(["voxangle", *(word for word in sys.argv[1:] if word != "--fresh")])
        if int(os.environ.get("RANK", "0")) == 0:
            launcher = "the same torchrun command, or alone: " if "WORLD_SIZE" in os.environ else ""
            typer.echo(f"{stopped}\nto go on: {launcher}{command}", err=True)
        raise typer.Exit(130) from None
    if int(os.environ.get("RANK", "0")) == 0:
        typer.echo(f"the model is in {model}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Gloo's threads outlive DistributedDataParallel and can abort a process whose interpreter ends (torch 2.15):
        # everything is written, so it does not end.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


@app.command()
def evaluate(
    model: Model = None,
    trials: Annotated[
        list[Path] | None,
        typer.Option("--trials", "-t", help="A trial list, `1|0 KEY KEY` a line (repeatable)."),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(help="For --trials: what enrolment names stand for, `MODEL KEY KEY ...` a line."),
    ] = None,
    corpus: Annotated[str | None, typer.Option(help="A corpus whose own trial lists to use.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--list", help="Of the corpus's lists this one (repeatable); else all."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="What the list's paths are relative to, or where the corpus lies.")
    ] = None,
    by_condition: Annotated[
        bool,
        typer.Option(
            "--conditions", help="For --corpus: figures by gender, language, session, channel, duration too."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="For JSON and plots; `evaluation` in the model's folder."),
    ] = None,
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates of the intervals.")] = 1000,
) -> None:
    """Error rates of a model on trial lists, with 95 % intervals over speakers."""
    from voxangle.errors import TrialError
    from voxangle.reporting import conditions_table, plot_det, plot_scores, results_table
    from voxangle.scoring.system import evaluate_lists, model_of

    if bool(trials) == bool(corpus):
        raise TrialError(
            "give trial lists (--trials LIST --root DIR) or a corpus that has some (--corpus NAME)"
        )
    if corpus and models:
        raise TrialError("--models belongs to --trials; the lists of a corpus bring their own models")
    if trials and (by_condition or only):
        raise TrialError(
            "--conditions and --list belong to --corpus: a bare list says nothing of its utterances"
        )
    console = _console()
    embedder, folder = _load(model)
    if corpus:
        embeddings, lists, manifest, notes = _of_corpus(embedder, corpus, root, only or [], console)
    else:
        embeddings, lists = _of_lists(embedder, trials or [], models, root or Path(), console)
        manifest, notes = None, []
    results = evaluate_lists(
        embeddings,
        lists,
        model=model_of(embedder),
        speakers=None if manifest is None else manifest.speaker_of(),
        manifest=manifest if by_condition else None,
        notes=notes,
        replicates=replicates,
    )
    target = out or folder / "evaluation"
    for result in results:
        result.write_json(target / f"{result.name}.json")
        plot_scores(result, target / f"{result.name}-scores.png")
    plot_det(results, target / "det.png")
    console.print(results_table(results))
    for result in results:
        if result.conditions:
            console.print(conditions_table(result))
    _say_notes(results, console)
    typer.echo(f"results and plots are in {target}")


@app.command()
def embed(
    paths: Annotated[list[Path] | None, typer.Argument(help="Recordings, or folders of them.")] = None,
    model: Model = None,
    list_file: Annotated[
        Path | None, typer.Option("--list", help="A file with a path a line; its text becomes the key.")
    ] = None,
    root: Annotated[Path, typer.Option(help="What the list's paths are relative to.")] = Path(),
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npz to write.")] = Path("embeddings.npz"),
) -> None:
    """One embedding a recording, in an .npz by key: the list's line, or the path as given."""
    from voxangle.console import counting
    from voxangle.encoders.archive import write_embeddings
    from voxangle.errors import AudioError, CorpusError

    if bool(paths) == bool(list_file):
        raise VoxangleError("give recordings or folders, or a --list of them")
    files = _listed(list_file, root) if list_file else _found(paths or [])
    embedder, _ = _load(model)
    left_out: list[AudioError] = []
    with counting(_console(), "embedding") as on_progress:
        embedded = embedder.embed_files(
            list(files.values()), on_progress=on_progress, on_error=left_out.append
        )
    for error in left_out:
        typer.echo(f"left out: {error}", err=True)
    if not len(embedded.kept):
        raise CorpusError(f"none of the {len(files)} recordings can be used; nothing was written")
    keys = list(files)
    write_embeddings(out, [keys[row] for row in embedded.kept], embedded.embeddings)
    typer.echo(
        f"{len(embedded.kept)} embeddings of {embedder.dimension} dimensions are in {out}"
        + (f"; {len(left_out)} recordings were left out" if left_out else "")
    )


@app.command()
def verify(
    first: Annotated[Path, typer.Argument(help="A recording.")],
    second: Annotated[Path, typer.Argument(help="Another recording.")],
    model: Model = None,
    threshold: Annotated[float | None, typer.Option(help="Decide here instead of at the model's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Is it the same voice? The score, the decision, and where the threshold comes from."""
    import math

    import numpy as np

    embedder, _ = _load(model)
    a, b = embedder.embed_files([first, second]).embeddings
    score = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    known = embedder.card.threshold
    if threshold is not None and not math.isfinite(threshold):
        raise VoxangleError(f"--threshold {threshold}: expected a number")
    if threshold is not None:
        limit, source = threshold, "given on the command line"
    elif known is not None:
        limit, source = known.value, known.source
        if known.false_acceptance is not None and known.false_rejection is not None:
            source += (
                f": {100 * known.false_acceptance:.1f} % false acceptances, "
                f"{100 * known.false_rejection:.1f} % false rejections there"
            )
    else:
        limit, source = None, "the model has none; give one with --threshold"
    same = None if limit is None else score >= limit
    if as_json:
        _print_json(
            {
                "score": score,
                "same_voice": same,
                "threshold": limit,
                "threshold_source": source,
                "model": embedder.card.name,
            }
        )
        return
    decision = {None: "no decision", True: "the same voice", False: "different voices"}[same]
    console = _console()
    console.print(f"[bold]{decision}[/bold]", highlight=False)
    console.print(f"score      {score:.4f} (cosine)", highlight=False)
    console.print(
        f"threshold  {'none' if limit is None else f'{limit:.4f}'} ({source})",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"model      {embedder.card.name}", highlight=False)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="For runs, results and the page.")] = Path(
        "runs/demo"
    ),
    corpus: Annotated[
        str,
        typer.Option(help="debian-voices or mini-librispeech; `auto` takes the first that can be reached."),
    ] = "auto",
    settings: Annotated[list[str] | None, typer.Option("--set", help="Override the demo's recipe.")] = None,
) -> None:
    """From real voices to error rates: the full objective against AAM-softmax alone, on held-out voices."""
    from voxangle.training.allocator import keep_freed_memory

    keep_freed_memory()
    from voxangle.demo import run_demo

    page = run_demo(out, corpus, settings or [], _console())
    typer.echo(f"the report is {page}")


def _say_notes(results: list[Result], console: Console) -> None:
    """What must be said beside the figures, once each, with the lists it is about."""
    about: dict[str, list[str]] = {}
    for result in results:
        for note in result.notes:
            about.setdefault(note, []).append(result.name)
    for note, names in about.items():
        lists = "" if len(names) == len(results) else f"{', '.join(names)}: "
        console.print(f"note: {lists}{note}", highlight=False, markup=False, soft_wrap=True)


def _load(model: Path | None) -> tuple[Embedder, Path]:
    """The model asked for, and its folder."""
    from voxangle.encoders import Embedder
    from voxangle.errors import CheckpointError

    if model is None:
        runs = sorted(Path("runs").glob("**/model/model.json"))
        known = ", ".join(str(run.parent.parent) for run in runs)
        raise CheckpointError(
            "no model is given: name a run with --model or $VOXANGLE_MODEL "
            + (f"(here are: {known})" if known else "(`voxangle demo` or `voxangle train RECIPE` makes one)")
        )
    return Embedder.load(model), model


def _listed(list_file: Path, root: Path) -> dict[str, Path]:
    from voxangle.errors import CorpusError

    try:
        lines = [line.removesuffix("\r") for line in list_file.read_text(encoding="utf-8").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{list_file}: cannot be read as a list of recordings ({error})") from error
    if any("\0" in line for line in lines):
        raise CorpusError(f"{list_file}: holds a NUL byte, so it is no list of recordings")
    files = {line: root / line for line in lines if line.strip()}
    if not files:
        raise CorpusError(f"{list_file}: the list is empty")
    return files


def _found(paths: list[Path]) -> dict[str, Path]:
    from voxangle.audio import AUDIO_SUFFIXES
    from voxangle.errors import CorpusError

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
    return files


def _of_lists(
    embedder: Embedder, paths: list[Path], models: Path | None, root: Path, console: Console
) -> tuple[dict[str, Any], list[Trials]]:
    """Trial lists from files, and the embeddings of what they name."""
    from voxangle.console import counting
    from voxangle.data import Trials
    from voxangle.errors import TrialError
    from voxangle.scoring.system import embed_trials

    lists = [Trials.read(path, models=models) for path in paths]
    names = [one.name for one in lists]
    if twice := [name for name in names if names.count(name) > 1]:
        raise TrialError(f"two lists are called '{twice[0]}', and results go by that name; rename one")
    with counting(console, "embedding") as on_progress:
        return embed_trials(embedder, lists, root, on_progress), lists


def _of_corpus(
    embedder: Embedder, name: str, root: Path | None, only: list[str], console: Console
) -> tuple[dict[str, Any], list[Trials], Manifest, list[str]]:
    """A corpus's trial lists, the embeddings and the manifest of what they name, and notes."""
    import numpy as np

    from voxangle.console import counting
    from voxangle.corpora import corpus_folder, corpus_reader
    from voxangle.corpora.prepared import prepare_split
    from voxangle.data import Manifest
    from voxangle.errors import TrialError, nearest
    from voxangle.scoring.system import embed_prepared

    corpus = corpus_reader(name).read(root or corpus_folder(name))
    if not corpus.trials:
        raise TrialError(
            f"corpus '{name}' has no trial lists of its own; give some with --trials and --root"
            + (f"\n{corpus.notes}" if corpus.notes else "")
        )
    for one in only:
        if one not in corpus.trials:
            raise TrialError(f"corpus '{name}' has no trial list '{one}'{nearest(one, corpus.trials)}")
    lists = [trials for one, trials in corpus.trials.items() if not only or one in only]
    named = {key for trials in lists for key in trials.utterances}
    embeddings: dict[str, Any] = {}
    manifests = []
    for split, manifest in corpus.splits.items():
        if named.isdisjoint(manifest.table["utterance"].to_pylist()):
            continue
        with counting(console, f"preparing {split}") as on_progress:
            prepared = prepare_split(corpus, split, on_progress=on_progress)
        keys = prepared.manifest.table["utterance"].to_pylist()
        prepared = prepared.where(np.fromiter((key in named for key in keys), bool, len(keys)))
        with counting(console, f"embedding {split}") as on_progress:
            embeddings |= embed_prepared(embedder, prepared, on_progress)
        manifests.append(prepared.manifest)
    return embeddings, lists, Manifest.joined(manifests), [corpus.notes] if corpus.notes else []
