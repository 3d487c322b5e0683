"""``voxangle corpora``: list, get, check, prepare and shard; draw trial lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxangle.cli.app import app, open_console

if TYPE_CHECKING:
    from rich.console import Console

    from voxangle.data.prepare import LeftOut
    from voxangle.quality import Limits

corpora_app = typer.Typer(
    help="List, get, check, prepare and shard corpora; draw trial lists.", no_args_is_help=True
)
app.add_typer(corpora_app, name="corpora")


@corpora_app.command("list")
def corpora_list() -> None:
    """The corpora that voxangle reads."""
    from rich.table import Table

    from voxangle.corpora import CORPORA, corpus_folder

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("corpus", "what", "licence", "here"):
        table.add_column(heading, no_wrap=heading == "corpus")
    for name, reader in CORPORA.items():
        # A download that was cut off leaves archives, or hidden folders.
        there = any(path.is_dir() and not path.name.startswith(".") for path in corpus_folder(name).glob("*"))
        here = "given by --root" if reader.get is None else "yes" if there else "get"
        table.add_row(name, reader.summary, reader.licence, here)
    open_console().print(table)


@corpora_app.command("get")
def corpora_get(
    name: Annotated[str, typer.Argument(help="A corpus of `voxangle corpora list`.")],
    root: Annotated[Path | None, typer.Option(help="Where to put it; the cache by default.")] = None,
    subset: Annotated[
        list[str] | None,
        typer.Option(help="Only this part of a corpus in several archives; may be given several times."),
    ] = None,
    mirror: Annotated[
        list[str] | None,
        typer.Option(
            help="Ask this server first, such as https://www.openslr.org/resources; may be given several times."
        ),
    ] = None,
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
    console = open_console()

    def tell(sentence: str) -> None:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    tell(f"{name}: {reader.summary}. Licence: {reader.licence}")
    with downloading(console) as on_progress:
        reader.get(target, on_progress, subsets=subset or (), mirrors=mirror or (), tell=tell)
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
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="With --audio: what is tolerated, such as silence=0.9; again for more."
        ),
    ] = None,
) -> None:
    """Is a corpus all there, and fit to learn from? Counts against the published ones; with --audio its quality."""
    from voxangle.corpora import corpus_folder, corpus_reader
    from voxangle.corpora.completeness import ListFound, Tally, inspect
    from voxangle.errors import CorpusError

    if not audio and (model or split or out or as_csv or limit):
        raise CorpusError("--model, --split, --out, --csv and --limit ask about the audio: give --audio too")
    limits = None
    if audio:
        from voxangle.quality import Limits

        limits = Limits.read(limit or [])
    reader, place = corpus_reader(name), root or corpus_folder(name)
    if reader.check is not None:
        completeness = reader.check(place, headers=headers)
        notes: tuple[str, ...] = ()
    else:
        corpus = reader.read(place)
        completeness = inspect(corpus.name, place, corpus.splits, {}, Tally(), headers=headers)
        lists = [ListFound(one, f"{len(trials):,} trials") for one, trials in corpus.trials.items()]
        lists += [ListFound(one, f"left out: {why}", sound=False) for one, why in corpus.left_out.items()]
        completeness = replace(completeness, lists=tuple(lists))
        notes = (*corpus.notes, *corpus.list_notes.values())
    typer.echo(str(completeness))
    for note in notes:
        typer.echo(f"note: {note}")
    if limits is not None:
        suffix = ".csv" if as_csv else ".parquet"
        _check_audio(name, place, split, model, limits, out or Path("quality") / name, suffix)
    if not completeness.whole:
        raise typer.Exit(1)


def _check_audio(
    name: str, root: Path, only: str | None, model: Path | None, limits: Limits, out: Path, suffix: str
) -> None:
    """Measure each split; a table in the terminal, a row an utterance in a file, and a page."""
    from rich.table import Table
    from rich.text import Text

    from voxangle.console import counting
    from voxangle.corpora import corpus_reader
    from voxangle.corpora.prepared import prepare_split
    from voxangle.errors import CheckpointError
    from voxangle.quality import check_quality
    from voxangle.reporting.quality_page import (
        quality_rows,
        spread_table,
        statistics_tables,
        write_quality_page,
    )
    from voxangle.storage import writable_folder

    console, corpus = open_console(), corpus_reader(name).read(root)
    embedder = None
    if model is not None:
        from voxangle.encoders import Embedder

        embedder = Embedder.load(model)
    folder = writable_folder(out)
    for part in [only] if only else list(corpus.splits):
        with counting(console, f"preparing {part}") as on_progress:
            prepared = prepare_split(corpus, part, on_progress=on_progress)
        notes = list(corpus.notes)
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
                prepared, limits=limits, embeddings=embeddings, posterior=posterior, on_progress=on_progress
            )
        console.print(f"{part}:", style="bold", highlight=False, markup=False)
        found: tuple[Sequence[str], Sequence[Sequence[str]]] = (
            ["finding", "utterances", "share"],
            quality_rows(quality),
        )
        statistics = [*statistics_tables(quality, 6), spread_table(quality)]
        for header, rows in [found, *((one.header, one.rows) for one in statistics)]:
            table = Table(box=None, pad_edge=False, header_style="bold")
            for place, heading in enumerate(header):
                table.add_column(Text(heading.replace("\n", " ")), justify="right" if place else "left")
            for row in rows:
                table.add_row(*map(Text, row))
            console.print(table, "")
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

    console = open_console()
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
        _say_left_out(prepared.left_out, f"{prepared.folder / 'left_out.csv'}", console)
        for note in prepared.notes:
            console.print(f"  note: {note}", highlight=False, markup=False, soft_wrap=True)
    for note in corpus.remarks:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)


@corpora_app.command("shard")
def corpora_shard(
    name: Annotated[str, typer.Argument(help="A corpus of `voxangle corpora list`.")],
    out: Annotated[str, typer.Option("--out", "-o", help="A folder, or a URL such as s3://bucket/corpus.")],
    root: Annotated[Path | None, typer.Option(help="Where it lies; the cache by default.")] = None,
    split: Annotated[str | None, typer.Option(help="One split only.")] = None,
    flac: Annotated[
        bool,
        typer.Option(
            "--flac",
            help="Code everything as FLAC, 16 kHz mono; else whole wav, flac, mp3, ogg and opus files stay as they are "
            "(m4a and segments become FLAC all the same).",
        ),
    ] = False,
    together: Annotated[
        int, typer.Option(min=1, help="Recordings of a speaker side by side: a multiple of a batch's K.")
    ] = 8,
    megabytes: Annotated[int, typer.Option(min=1, help="Size of a shard.")] = 256,
    verify: Annotated[
        bool, typer.Option("--verify", help="Then read every shard again and compare its checksum.")
    ] = False,
) -> None:
    """Write a corpus as tar shards that are read in order, from a disk or an object store."""
    from voxangle.console import counting
    from voxangle.corpora import corpus_folder, corpus_reader
    from voxangle.corpora.prepared import split_of
    from voxangle.data.rates import resampling_note
    from voxangle.data.shard_writer import rates_of, write_shards

    console = open_console()
    corpus = corpus_reader(name).read(root or corpus_folder(name))
    for part in [split] if split else list(corpus.splits):
        with counting(console, f"writing {part}") as on_progress:
            shards = write_shards(
                split_of(corpus, part),
                f"{out.rstrip('/')}/{part}",
                source=f"{name}/{part}",
                coding="flac" if flac else "keep",
                together=together,
                shard_bytes=megabytes * 10**6,
                on_progress=on_progress,
            )
        if verify:
            shards.verify()
        hours = shards.manifest.column("seconds").sum() / 3600
        size = sum(shard.bytes for shard in shards.shards) / 1e6
        console.print(
            f"{part}: {len(shards)} utterances, {len(shards.manifest.speakers())} speakers, {hours:.2f} h in "
            f"{len(shards.shards)} shards, {size:.1f} MB, at {shards.place.address}",
            highlight=False,
            soft_wrap=True,
        )
        _say_left_out(shards.left_out, f"{shards.place.address}/left_out.csv", console)
        if note := resampling_note(rates_of(shards)):
            console.print(f"  note: {note}", highlight=False, markup=False, soft_wrap=True)


def _say_left_out(left_out: Sequence[LeftOut], listed: str, console: Console) -> None:
    """How many recordings were left out, where they are listed, and the first of them."""
    if left_out:
        console.print(f"  left out: {len(left_out)}, see {listed}")
    for left in left_out[:5]:
        console.print(f"    {left.path}: {left.cause}", highlight=False, soft_wrap=True)


@corpora_app.command("trials")
def corpora_trials(
    name: Annotated[str, typer.Argument(help="A corpus of `voxangle corpora list`.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The list to write; its rules go beside it, .json.")
    ],
    root: Annotated[Path | None, typer.Option(help="Where it lies; the cache by default.")] = None,
    split: Annotated[str | None, typer.Option(help="Whose utterances; `eval`, or the only split.")] = None,
    targets: Annotated[int | None, typer.Option(min=1, help="Target trials; all by default.")] = None,
    nontargets: Annotated[int | None, typer.Option(min=1, help="Non-target trials; all by default.")] = None,
    same: Annotated[
        list[str] | None,
        typer.Option(
            help="What both sides have in common: gender, language, session or channel (repeatable)."
        ),
    ] = None,
    different: Annotated[
        list[str] | None, typer.Option(help="What both sides differ in, such as session (repeatable).")
    ] = None,
    per_speaker: Annotated[
        int | None, typer.Option(min=1, help="At most so many trials of each class with one speaker.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
) -> None:
    """Draw a trial list by stated rules; `voxangle evaluate --corpus NAME --trials LIST` takes it."""
    from voxangle.console import counting
    from voxangle.corpora import corpus_folder, corpus_reader
    from voxangle.corpora.prepared import prepare_split
    from voxangle.data.trial_lists import TrialRules, generate_trials
    from voxangle.errors import CorpusError

    rules = TrialRules.check(
        targets=targets,
        nontargets=nontargets,
        same=same or (),
        different=different or (),
        per_speaker=per_speaker,
        seed=seed,
    )
    if out.suffix == ".json":
        raise CorpusError(f"--out {out}: the list's rules go to a .json of its name; call the list .txt")
    corpus = corpus_reader(name).read(root or corpus_folder(name))
    if split is None:
        split = "eval" if "eval" in corpus.splits else next(iter(corpus.splits))
        if split != "eval" and len(corpus.splits) > 1:
            raise CorpusError(f"corpus '{name}' has several splits: say --split {', '.join(corpus.splits)}")
    with counting(open_console(), f"preparing {split}") as on_progress:
        # Evaluating does so anyway, and what cannot be read is in no trial.
        prepared = prepare_split(corpus, split, on_progress=on_progress)
    made = generate_trials(prepared.manifest, out.stem, rules)
    made.write(out)
    record = made.record
    typer.echo(
        f"{record.targets:,} target trials of {record.admitted_targets:,}, {record.nontargets:,} non-target trials of "
        f"{record.admitted_nontargets:,}, {record.speakers:,} speakers, {record.utterances:,} utterances: {out}"
    )
    if record.left_out:
        typer.echo(f"  {record.left_out:,} utterances lack what the rules ask for, and are in no trial")
    if prepared.left_out:
        typer.echo(f"  {len(prepared.left_out):,} cannot be read: {prepared.folder / 'left_out.csv'}")
