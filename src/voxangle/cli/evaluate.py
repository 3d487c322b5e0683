"""``voxangle evaluate``: error rates on trial lists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxangle.cli.app import Model, app, load_model, open_console
from voxangle.cli.tested import Tested, embed_tested, lists_of_corpus, lists_of_files

if TYPE_CHECKING:
    from rich.console import Console

    from voxangle.data import Manifest
    from voxangle.runtime import BaseEmbedder
    from voxangle.scoring import MeanEmbedding, Result


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
    corpus: Annotated[
        str | None,
        typer.Option(help="A corpus: its own trial lists, or those of --trials on its utterances."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--list", help="Of the corpus's lists this one (repeatable); else all."),
    ] = None,
    repeated_trials: Annotated[
        bool, typer.Option("--repeated-trials", help="For --trials: allow trials that stand there twice.")
    ] = False,
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            help="Measure scores of another program, `KEY KEY SCORE` a line, on the one list given; no model is used.",
        ),
    ] = None,
    system: Annotated[
        str | None, typer.Option(help="For --scores: what to call the system; the file's name.")
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
    subtract_mean: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT|RECIPE.yaml|FILE.npz|FOLDER",
            help="Subtract from all embeddings the mean of those of: a split of --corpus; what a recipe trains on "
            "(a run's is RUN/recipe.yaml); what `voxangle embed` wrote.",
        ),
    ] = None,
    mean_utterances: Annotated[
        int | None,
        typer.Option(
            min=1, help="For --subtract-mean: average a sample of so many, always the same; else all."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for results; `evaluation` in the model's."),
    ] = None,
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates of the intervals.")] = 1000,
) -> None:
    """Error rates of a model on trial lists, with 95 % intervals over speakers."""
    from voxangle.scoring.system import evaluate_lists, model_of

    _check_options(trials, models, corpus, only, by_condition, subtract_mean, mean_utterances, scores, system)
    console = open_console()
    # Before lists are read, which may be long: is there a model?
    loaded = load_model(model) if scores is None else None
    if corpus:
        tested = lists_of_corpus(corpus, root, only or [], trials or [], models, repeated_trials)
    else:
        tested = lists_of_files(trials or [], models, root or Path(), repeated_trials)
    if scores is not None:
        _refuse_with_scores(tested, {"--subtract-mean": subtract_mean})
        results = [_measured(scores, system, tested, by_condition, replicates)]
        target = scores.with_name(f"{scores.stem}-evaluation")
    if loaded is not None:
        embedder, folder = loaded
        # First, because it may be refused.
        mean = subtract_mean and _mean(subtract_mean, mean_utterances, embedder, tested, console)
        embedded = embed_tested(embedder, tested, console)
        tested = tested.without(embedded.unusable)
        results = evaluate_lists(
            embedded.embeddings,
            tested.lists,
            model=model_of(embedder),
            mean=mean or None,
            manifest=embedded.manifest,
            by_condition=by_condition,
            notes=tested.notes,
            replicates=replicates,
        )
        # Results of two protocols lie in two folders, for each has one result a list.
        target = folder / ("evaluation-mean-subtracted" if mean else "evaluation")
    _show([tested.with_own_notes(result) for result in results], out or target, tested, console)


def _measured(path: Path, system: str | None, tested: Tested, by_condition: bool, replicates: int) -> Result:
    """The figures of scores that another program made."""
    from voxangle.data.score_files import read_scores
    from voxangle.scoring import Model, Protocol, measure
    from voxangle.scoring.system import known_of

    (trials,) = tested.lists
    return measure(
        read_scores(path, trials),
        trials,
        protocol=Protocol.of_given_scores(trials.enrolment),
        model=Model(name=system or path.stem),
        notes=tested.notes,
        replicates=replicates,
        **known_of(trials, tested.manifest(), by_condition=by_condition),
    )


def _show(
    results: list[Result],
    target: Path,
    tested: Tested,
    console: Console,
) -> None:
    """Write what was measured, and say it."""
    from voxangle.reporting import conditions_table, plot_det, plot_scores, results_table

    for result in results:
        result.write(target / f"{result.name}.json")
        plot_scores(result, target / f"{result.name}-scores.png")
    plot_det(results, target / "det.png")
    console.print(results_table(results))
    for result in results:
        if result.conditions:
            console.print(conditions_table(result))
    _say_notes(results, tested.left_out, console)
    typer.echo(f"results and plots are in {target}")


def _refuse_with_scores(tested: Tested, given: dict[str, object]) -> None:
    from voxangle.errors import TrialError

    if len(tested.lists) != 1:
        names = ", ".join(trials.name for trials in tested.lists)
        raise TrialError(f"--scores is of one list; here are {len(tested.lists)}: {names}")
    for option, value in given.items():
        if value is not None:
            raise TrialError(f"{option} and --scores: scores are measured as they are; give one of them")


def _check_options(
    trials: list[Path] | None,
    models: Path | None,
    corpus: str | None,
    only: list[str] | None,
    by_condition: bool,
    subtract_mean: str | None,
    mean_utterances: int | None,
    scores: Path | None,
    system: str | None,
) -> None:
    from voxangle.errors import TrialError

    if not trials and not corpus:
        raise TrialError(
            "give trial lists (--trials LIST --root DIR), a corpus that has some (--corpus NAME), or lists and the "
            "corpus whose utterances they name"
        )
    if models and not trials:
        raise TrialError("--models belongs to --trials; the lists of a corpus bring their own models")
    if only and trials:
        raise TrialError("--list picks from a corpus's own lists, --trials brings others: give one of them")
    if not corpus and (by_condition or only):
        raise TrialError(
            "--conditions and --list belong to --corpus: a bare list says nothing of its utterances"
        )
    if system and not scores:
        raise TrialError("--system belongs to --scores; a model has the name of its card")
    if mean_utterances and not subtract_mean:
        raise TrialError("--mean-utterances belongs to --subtract-mean")


def _say_notes(results: list[Result], left_out: tuple[str, ...], console: Console) -> None:
    """What must be said beside the figures, once each, with the lists it is about; and which lists have none."""
    about: dict[str, list[str]] = {}
    for result in results:
        for note in result.notes:
            about.setdefault(note, []).append(result.name)
    for note, names in about.items():
        lists = "" if len(names) == len(results) else f"{', '.join(names)}: "
        console.print(f"note: {lists}{note}", highlight=False, markup=False, soft_wrap=True)
    for line in left_out:
        console.print(f"note: {line}", highlight=False, markup=False, soft_wrap=True)


def _mean(
    source: str, utterances: int | None, embedder: BaseEmbedder, tested: Tested, console: Console
) -> MeanEmbedding:
    """The mean to subtract: of a split, of what a recipe trains on, or of what `voxangle embed` wrote."""
    from voxangle.console import counting
    from voxangle.corpora.prepared import prepare_split, split_of
    from voxangle.data.batches import LabelledRecordings
    from voxangle.errors import TrialError
    from voxangle.recipe import Recipe
    from voxangle.scoring.mean_embedding import MeanEmbedding, require_unseen
    from voxangle.scoring.result import AveragedSplit
    from voxangle.scoring.system import mean_of_recordings
    from voxangle.training.material import divide, read_corpora

    speaker_of = tested.speaker_of()
    is_split = tested.corpus is not None and source in tested.corpus.splits
    if not is_split and (source.endswith(".npz") or Path(source).is_dir()):
        mean = MeanEmbedding.read(
            source,
            utterances=utterances,
            speaker_of=speaker_of,
            weights_sha256=embedder.weights_sha256,
        )
        for trials in tested.lists:
            require_unseen(trials, speaker_of, keys=mean.keys, mean_speakers=mean.speakers)
        return mean

    def refuse(manifest: Manifest) -> None:
        for trials in tested.lists:
            require_unseen(
                trials,
                speaker_of,
                keys=set(manifest.table["utterance"].to_pylist()),
                mean_speakers=manifest.speakers(),
            )

    recipe = Recipe.read(source) if source.endswith((".yaml", ".yml")) else None
    if recipe:
        corpora = read_corpora(recipe.data)
    elif tested.corpus:
        corpora = [(tested.corpus, source)]
        refuse(split_of(tested.corpus, source))  # before it is prepared, which may take hours
    else:
        raise TrialError(
            f"--subtract-mean {source}: a split is one of a --corpus; beside --trials alone give the .yaml of a "
            "recipe, or the .npz or the folder that `voxangle embed` wrote"
        )
    prepared = []
    for corpus, split in corpora:
        with counting(console, f"preparing {corpus.name}/{split}") as on_progress:
            prepared.append(prepare_split(corpus, split, on_progress=on_progress))
    recordings: LabelledRecordings = divide(prepared, recipe.data).training if recipe else prepared[0]
    refuse(recordings.manifest)
    with counting(console, "embedding for the mean") as on_progress:
        return mean_of_recordings(
            embedder,
            recordings,
            [AveragedSplit(corpus=corpus.name, split=split) for corpus, split in corpora],
            recipe=recipe.name if recipe else "",
            unreadable=sum(len(one.left_out) for one in prepared),
            utterances=utterances,
            on_progress=on_progress,
        )
