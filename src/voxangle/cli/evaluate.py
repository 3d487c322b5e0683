"""``voxangle evaluate``: error rates on trial lists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxangle.cli.app import Model, app, load_model, open_console

if TYPE_CHECKING:
    from rich.console import Console

    from voxangle.data import Manifest, Trials
    from voxangle.encoders import Embedder
    from voxangle.scoring import Result


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
    console = open_console()
    embedder, folder = load_model(model)
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


def _say_notes(results: list[Result], console: Console) -> None:
    """What must be said beside the figures, once each, with the lists it is about."""
    about: dict[str, list[str]] = {}
    for result in results:
        for note in result.notes:
            about.setdefault(note, []).append(result.name)
    for note, names in about.items():
        lists = "" if len(names) == len(results) else f"{', '.join(names)}: "
        console.print(f"note: {lists}{note}", highlight=False, markup=False, soft_wrap=True)


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
