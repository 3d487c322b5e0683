"""``voxangle evaluate``: error rates on trial lists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from voxangle.cli.app import Model, app, load_model, open_console
from voxangle.cli.learnt import Lessons
from voxangle.cli.tested import Embedded, Tested, embed_tested, lists_of_corpus, lists_of_files
from voxangle.errors import TrialError

if TYPE_CHECKING:
    from rich.console import Console

    from voxangle.reporting.players import Clips
    from voxangle.runtime import BaseEmbedder
    from voxangle.scoring import Protocol, Result
    from voxangle.scoring.evaluate import Calibrator


@app.command()
def evaluate(
    context: typer.Context,
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
    llrs: Annotated[
        bool,
        typer.Option("--llrs", help="For --scores: they are log-likelihood ratios (natural logarithms)."),
    ] = False,
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
    plda: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT|RECIPE.yaml|FILE.npz|FOLDER|FILE.plda",
            help="Score by PLDA, learnt from such speech of known speakers, or as an evaluation before kept it; else "
            "by the cosine.",
        ),
    ] = None,
    plda_utterances: Annotated[
        int | None, typer.Option(min=1, help="For --plda: learn from a sample of so many; else from all.")
    ] = None,
    plda_lda: Annotated[
        int | None, typer.Option(min=1, help="For --plda: dimensions that LDA leaves; else all.")
    ] = None,
    plda_whitening: Annotated[
        bool, typer.Option("--plda-whitening", help="For --plda: whiten before unit length.")
    ] = False,
    plda_enrolment: Annotated[
        Literal["average", "joint"],
        typer.Option(help="For --plda: a model is the average of its utterances, or each is an observation."),
    ] = "average",
    norm: Annotated[
        Literal["s-norm", "as-norm"] | None,
        typer.Option(help="Normalise scores by those of a --cohort: all of it, or each side's own top."),
    ] = None,
    cohort: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT|RECIPE.yaml|FILE.npz|FOLDER",
            help="For --norm: impostors, none of whom is tested, such as those of training.",
        ),
    ] = None,
    cohort_utterances: Annotated[
        int | None, typer.Option(min=1, help="For --cohort: take a sample of so many utterances; else all.")
    ] = None,
    cohort_by: Annotated[
        Literal["speaker", "utterance"],
        typer.Option(
            help="For --cohort: an impostor is the mean of a speaker's embeddings, or an utterance."
        ),
    ] = "speaker",
    cohort_top: Annotated[
        int | None, typer.Option(min=2, help="For as-norm: how many impostors count for a side; 300.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for results; `evaluation` in the model's, or here for the shipped one.",
        ),
    ] = None,
    draw_sessions: Annotated[
        bool,
        typer.Option(
            "--draw-sessions", help="For --corpus: intervals over speakers and their sessions: wider."
        ),
    ] = False,
    without_audio: Annotated[
        bool, typer.Option("--without-audio", help="No recordings on the page, so that it may be passed on.")
    ] = False,
    priors: Annotated[
        list[float] | None,
        typer.Option(
            "--prior",
            help="Of a target trial, for a minDCF (and actDCF) of its own (repeatable); 0.01 and 0.05.",
        ),
    ] = None,
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates of the intervals.")] = 1000,
) -> None:
    """Error rates of a model on trial lists, with 95 % intervals over speakers."""
    from voxangle.reporting.players import clips_below
    from voxangle.runtime.shipped import SHIPPED
    from voxangle.scoring import Protocol
    from voxangle.scoring.system import evaluate_lists, model_of

    _check_options(trials, models, corpus, only, by_condition)
    _check_belongings(
        ("--mean-utterances", mean_utterances, "--subtract-mean", subtract_mean),
        ("--plda-utterances", plda_utterances, "--plda", plda),
        ("--plda-lda", plda_lda, "--plda", plda),
        ("--plda-whitening", plda_whitening, "--plda", plda),
        ("--norm", norm, "--cohort", cohort),
        ("--cohort", cohort, "--norm", norm),
        ("--cohort-utterances", cohort_utterances, "--cohort", cohort),
        ("--draw-sessions", draw_sessions, "--corpus", corpus),
        ("--llrs", llrs, "--scores", scores),
        ("--system", system, "--scores", scores),
        ("--cohort-top", cohort_top, "--norm as-norm", norm == "as-norm"),
    )
    # That of the environment is one's habit, not a wish.
    source = context.get_parameter_source("model")
    if scores is not None and source is not None and source.name == "COMMANDLINE":
        raise TrialError(
            "--model and --scores: scores are measured as they are, without a model; give one of them"
        )
    asked = Protocol(p_targets=_checked(priors)) if priors else Protocol()
    console = open_console()
    # Before lists are read, which may be long: is there a model?
    loaded = load_model(model) if scores is None else None
    if corpus:
        tested = lists_of_corpus(corpus, root, only or [], trials or [], models, repeated_trials)
    else:
        tested = lists_of_files(trials or [], models, root or Path(), repeated_trials)
    if scores is not None:
        _refuse_with_scores(tested, {"--subtract-mean": subtract_mean, "--plda": plda, "--norm": norm})
        results = [_measured(scores, system, tested, by_condition, draw_sessions, replicates, llrs, asked)]
        clips = clips_below(root) if root and not corpus else None
        target = scores.with_name(f"{scores.stem}-evaluation")
    if loaded is not None:
        embedder, folder = loaded
        # First, because it may be refused.
        lessons = Lessons(embedder, tested, console)
        mean = lessons.mean(subtract_mean, mean_utterances) if subtract_mean else None
        backend = (
            lessons.plda(
                plda, plda_utterances, lda=plda_lda, whitening=plda_whitening, enrolment=plda_enrolment
            )
            if plda
            else None
        )
        normaliser = (
            lessons.normaliser(norm, cohort, cohort_utterances, by=cohort_by, top=cohort_top or 300)
            if norm and cohort
            else None
        )
        embedded = embed_tested(embedder, tested, console)
        tested, clips = tested.without(embedded.unusable), embedded.clips()
        calibrator = _calibrator(embedder, embedded)
        results = evaluate_lists(
            embedded.embeddings,
            tested.lists,
            model=model_of(embedder),
            protocol=asked,
            mean=mean,
            backend=backend,
            normalisation=normaliser,
            calibration=calibrator,
            manifest=embedded.manifest,
            by_condition=by_condition,
            draw_sessions=draw_sessions,
            notes=[*tested.notes, *tested.trained_on(embedder.card)],
            replicates=replicates,
        )
        # Results of two protocols lie in two folders, for each has one result a list.
        ways = ["mean-subtracted"] * bool(mean) + ["plda"] * bool(backend) + ([norm] if norm else [])
        place = folder.parent if folder.is_file() else folder
        target = (Path() if place == SHIPPED else place) / "-".join(["evaluation", *ways])
        if backend is not None:
            backend.write((out or target) / "plda.plda", weights_sha256=embedder.weights_sha256)
    if without_audio:
        clips = None
    _show([tested.with_own_notes(result) for result in results], out or target, tested, clips, console)


def _calibrator(embedder: BaseEmbedder, embedded: Embedded) -> Calibrator | None:
    """The model's calibration, with what it asks of the recordings."""
    from voxangle.scoring.calibration import calibrated, measure_embedded
    from voxangle.scoring.evaluate import Calibrator

    fit = embedder.card.calibration
    if fit is None:
        return None
    measures = measure_embedded(embedded.embeddings, embedded.read) if fit.weights else None
    return Calibrator(
        lambda scores, trials: calibrated(embedder.card, scores, measures, trials),
        fit.source,
        fit.trials_sha256,
    )


def _measured(
    path: Path,
    system: str | None,
    tested: Tested,
    by_condition: bool,
    draw_sessions: bool,
    replicates: int,
    are_llrs: bool,
    asked: Protocol,
) -> Result:
    """The figures of scores that another program made."""
    from voxangle.data.score_files import read_scores
    from voxangle.scoring import Model, Protocol, measure
    from voxangle.scoring.system import known_of

    (trials,) = tested.lists
    scores = read_scores(path, trials)
    return measure(
        scores,
        trials,
        llrs=scores if are_llrs else None,
        calibration="as given",
        protocol=Protocol.of_given_scores(trials.enrolment).model_copy(update={"p_targets": asked.p_targets}),
        model=Model(name=system or path.stem),
        notes=tested.notes,
        draw_sessions=draw_sessions,
        replicates=replicates,
        **known_of(trials, tested.manifest(), by_condition=by_condition),
    )


def _show(
    results: list[Result],
    target: Path,
    tested: Tested,
    clips: Clips | None,
    console: Console,
) -> None:
    """Write what was measured, and say it."""
    from voxangle.reporting import calibrated_table, conditions_table, plot_det, plot_scores, results_table
    from voxangle.reporting.evaluation_page import write_evaluation_page
    from voxangle.reporting.notes import notes_of

    others = _of_another_protocol(target, results)
    for result in results:
        result.write(target / f"{result.name}.json")
        plot_scores(result, target / f"{result.name}-scores.png")
    plot_det(results, target / "det.png")
    write_evaluation_page(target / "report.html", results, clip=clips)
    console.print(results_table(results))
    if any(result.calibrated for result in results):
        console.print(calibrated_table(results))
    for result in results:
        if result.conditions:
            console.print(conditions_table(result))
    notes = notes_of({result.name: {result.model.name: result} for result in results})
    for note in (*notes, *tested.left_out, *others):
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    typer.echo(f"results and plots are in {target}, all of it on one page in {target / 'report.html'}")


def _of_another_protocol(target: Path, results: list[Result]) -> list[str]:
    """What must be said where a folder holds results of other lists that are of another protocol."""
    from voxangle.errors import VoxangleError
    from voxangle.scoring import read_evaluation

    try:
        there = read_evaluation(target, with_scores=False)
    except VoxangleError:
        return []
    names = {result.name for result in results}
    other = [
        one.name
        for one in there
        if one.name not in names and _what_compares(one) != _what_compares(results[0])
    ]
    return (
        [f"{target} also holds results of another protocol: {', '.join(other)}; give each its --out"]
        if other
        else []
    )


def _what_compares(result: Result) -> tuple[object, ...]:
    """What all results of a folder have in common, so that one table can show them."""
    return result.protocol.learnt, result.protocol.p_targets


def _checked(priors: list[float]) -> tuple[float, ...]:
    """Each prior once, ascending, so that results of the same priors compare.

    Raises:
        TrialError: one is no probability between 0 and 1.
    """
    for prior in priors:
        if not 0 < prior < 1:
            raise TrialError(
                f"--prior {prior:g}: the prior of a target trial lies between 0 and 1, such as 0.01"
            )
    return tuple(sorted(set(priors)))


def _refuse_with_scores(tested: Tested, given: dict[str, object]) -> None:
    if len(tested.lists) != 1:
        names = ", ".join(trials.name for trials in tested.lists)
        raise TrialError(
            f"--scores is of one list; here are {len(tested.lists)}: {names}; pick one, such as with --list"
        )
    for option, value in given.items():
        if value is not None:
            raise TrialError(f"{option} and --scores: scores are measured as they are; give one of them")


def _check_options(
    trials: list[Path] | None,
    models: Path | None,
    corpus: str | None,
    only: list[str] | None,
    by_condition: bool,
) -> None:
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


def _check_belongings(*belongings: tuple[str, object, str, object]) -> None:
    """Each: an option, what was given for it, the option it belongs to, and what was given for that."""
    for option, given, owner, there in belongings:
        if given and not there:
            raise TrialError(f"{option} belongs to {owner}: give both, or neither")
