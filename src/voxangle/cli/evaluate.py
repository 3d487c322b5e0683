"""``voxangle evaluate``: error rates on trial lists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxangle.cli.app import Model, app, load_model, open_console

if TYPE_CHECKING:
    from rich.console import Console

    from voxangle.corpora.corpus import Corpus
    from voxangle.data import Manifest, Trials
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
        typer.Option("--out", "-o", help="For JSON and plots; `evaluation` in the model's folder."),
    ] = None,
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates of the intervals.")] = 1000,
) -> None:
    """Error rates of a model on trial lists, with 95 % intervals over speakers."""
    from voxangle.reporting import conditions_table, plot_det, plot_scores, results_table
    from voxangle.scoring.system import evaluate_lists, model_of

    _check_options(trials, models, corpus, only, by_condition, subtract_mean, mean_utterances)
    console = open_console()
    embedder, folder = load_model(model)
    if corpus:
        tested = _of_corpus(corpus, root, only or [], trials or [], models)
    else:
        tested = _of_files(trials or [], models, root or Path())
    # First, because it may be refused.
    mean = subtract_mean and _mean(subtract_mean, mean_utterances, embedder, tested, console)
    embeddings, manifest, unusable = _embed(embedder, tested, console)
    tested = tested.without(unusable)
    results = [
        tested.with_own_notes(result)
        for result in evaluate_lists(
            embeddings,
            tested.lists,
            model=model_of(embedder),
            mean=mean or None,
            speakers=None if manifest is None else manifest.speaker_of(),
            manifest=manifest if by_condition else None,
            notes=tested.notes,
            replicates=replicates,
        )
    ]
    target = out or folder / "evaluation"
    less = "-mean-subtracted" if mean else ""
    for result in results:
        result.write(target / f"{result.name}{less}.json")
        plot_scores(result, target / f"{result.name}{less}-scores.png")
    plot_det(results, target / f"det{less}.png")
    console.print(results_table(results))
    for result in results:
        if result.conditions:
            console.print(conditions_table(result))
    _say_notes(results, tested.left_out, console)
    typer.echo(f"results and plots are in {target}")


def _check_options(
    trials: list[Path] | None,
    models: Path | None,
    corpus: str | None,
    only: list[str] | None,
    by_condition: bool,
    subtract_mean: str | None,
    mean_utterances: int | None,
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


@dataclass(frozen=True)
class _Tested:
    """Trial lists whose keys are utterances of a corpus, or paths below ``root`` where there is none."""

    lists: list[Trials]
    corpus: Corpus | None = None
    root: Path = Path()
    incomplete: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        return [*(self.corpus.notes if self.corpus else ()), *self.incomplete]

    def with_own_notes(self, result: Result) -> Result:
        """The result with what must be said of its list alone."""
        note = self.corpus.list_notes.get(result.name) if self.corpus else None
        return result.model_copy(update={"notes": (note, *result.notes)}) if note else result

    def without(self, unusable: dict[str, str]) -> _Tested:
        """The lists whose recordings can all be used: a list is measured on whole, or not at all.

        Args:
            unusable: the cause, by key.

        Raises:
            TrialError: none of the lists is left.
        """
        from voxangle.errors import TrialError

        whole, incomplete = [], []
        for trials in self.lists:
            missing = [key for key in trials.utterances if key in unusable]
            if missing:
                incomplete.append(
                    f"the list {trials.name} is left out, because {len(missing)} of the recordings it names cannot "
                    f"be used, such as {missing[0]}: {unusable[missing[0]]}"
                )
            else:
                whole.append(trials)
        if not whole:
            raise TrialError("\n".join(incomplete) + "\nMend these recordings, or draw lists without them")
        return replace(self, lists=whole, incomplete=tuple(incomplete))

    def speaker_of(self) -> dict[str, str] | None:
        """Who speaks in every utterance of the corpus."""
        if self.corpus is None:
            return None
        return {key: who for split in self.corpus.splits.values() for key, who in split.speaker_of().items()}


def _of_files(paths: list[Path], models: Path | None, root: Path) -> _Tested:
    """Trial lists from files."""
    from voxangle.data import Trials

    return _Tested(_differently_named([Trials.read(path, models=models) for path in paths]), root=root)


def _of_corpus(
    name: str, root: Path | None, only: list[str], paths: list[Path], models: Path | None
) -> _Tested:
    """A corpus's trial lists, or lists from files on its utterances."""
    from voxangle.corpora import corpus_folder, corpus_reader
    from voxangle.data import Trials
    from voxangle.errors import TrialError, nearest

    corpus = corpus_reader(name).read(root or corpus_folder(name))
    if paths:
        known = {key for split in corpus.splits.values() for key in split.table["utterance"].to_pylist()}
        read = [Trials.read(path, known=known, models=models) for path in paths]
        return _Tested(_differently_named(read), corpus)
    if wanted := corpus.lines_on_left_out(only):
        raise TrialError("\n".join(wanted))
    for one in only:
        if one not in corpus.trials:
            there = [*corpus.trials, *corpus.left_out]
            raise TrialError(f"corpus '{name}' has no trial list '{one}'{nearest(one, there)}")
    if not corpus.trials:
        left_out = corpus.lines_on_left_out()
        raise TrialError(
            f"corpus '{name}' has no trial lists of its own{' that can be used' if left_out else ''}; give some with "
            f"--trials, such as `voxangle corpora trials {name}` makes"
            + "".join(f"\n{line}" for line in (left_out or corpus.notes))
        )
    return _Tested(
        [trials for one, trials in corpus.trials.items() if not only or one in only],
        corpus,
        left_out=() if only else corpus.lines_on_left_out(),
    )


def _differently_named(lists: list[Trials]) -> list[Trials]:
    from voxangle.errors import TrialError

    names = [one.name for one in lists]
    if twice := [name for name in names if names.count(name) > 1]:
        raise TrialError(f"two lists are called '{twice[0]}', and results go by that name; rename one")
    return lists


def _embed(
    embedder: BaseEmbedder, tested: _Tested, console: Console
) -> tuple[dict[str, Any], Manifest | None, dict[str, str]]:
    """The embeddings of what the lists name, its manifest where a corpus has one, and what cannot be used and why."""
    import numpy as np

    from voxangle.console import counting
    from voxangle.corpora.prepared import prepare_split
    from voxangle.data import Manifest
    from voxangle.scoring.system import embed_prepared, embed_trials

    if tested.corpus is None:
        with counting(console, "embedding") as on_progress:
            return embed_trials(embedder, tested.lists, tested.root, on_progress), None, {}
    named = {key for trials in tested.lists for key in trials.utterances}
    embeddings: dict[str, Any] = {}
    manifests = []
    unusable: dict[str, str] = {}
    for split, manifest in tested.corpus.splits.items():
        if named.isdisjoint(manifest.table["utterance"].to_pylist()):
            continue
        with counting(console, f"preparing {split}") as on_progress:
            prepared = prepare_split(tested.corpus, split, on_progress=on_progress)
        unusable |= {one.utterance: one.cause for one in prepared.left_out if one.utterance in named}
        keys = prepared.manifest.table["utterance"].to_pylist()
        prepared = prepared.where(np.fromiter((key in named for key in keys), bool, len(keys)))
        with counting(console, f"embedding {split}") as on_progress:
            embeddings |= embed_prepared(embedder, prepared, on_progress)
        manifests.append(prepared.manifest)
    return embeddings, Manifest.joined(manifests), unusable


def _mean(
    source: str, utterances: int | None, embedder: BaseEmbedder, tested: _Tested, console: Console
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
