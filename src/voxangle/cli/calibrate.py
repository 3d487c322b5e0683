"""``voxangle calibrate``: scores of a model as log-likelihood ratios."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from voxangle.cli.app import AsJson, Model, app, load_trained, open_console, own_model, print_json
from voxangle.errors import TrialError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.table import Table

    from voxangle.cli.tested import Tested
    from voxangle.encoders.card import ModelCard
    from voxangle.scoring.calibration import LlrFigures

_PRIORS = (0.01, 0.05)
_UNTOLD = (
    "a list does not say who speaks: that none of its speakers trained the model is for you to see to, and utterances "
    "that target trials join count as one speaker, so that one who makes several groups is judged too kindly"
)


@app.command()
def calibrate(
    model: Model = None,
    corpus: Annotated[
        str | None,
        typer.Option(help="Draw trials from a corpus, of speakers whom the model was not trained on."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="With --corpus: the split.")] = None,
    trials: Annotated[
        Path | None,
        typer.Option("--trials", "-t", help="Or a trial list of such speakers, `1|0 KEY KEY` a line."),
    ] = None,
    repeated_trials: Annotated[
        bool, typer.Option("--repeated-trials", help="For --trials: allow trials that stand there twice.")
    ] = False,
    root: Annotated[
        Path | None, typer.Option(help="Where the corpus lies, or what the list's paths are relative to.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="With --corpus: the recipe that the model was trained by; else the one on its card."
        ),
    ] = None,
    recordings: Annotated[
        int, typer.Option(min=2, help="With --corpus: of each speaker at most, spread evenly.")
    ] = 20,
    measures: Annotated[
        str,
        typer.Option(
            help="Count these beside the score: speech, bandwidth, magnitude (with commas); or none."
        ),
    ] = "none",
    prior: Annotated[
        float, typer.Option(help="Prior of one voice, in (0, 1), where the ratios shall be best.")
    ] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Fit what turns a model's scores into log-likelihood ratios, and write it on its card; the rest stays."""
    import numpy as np

    from voxangle.cli.tested import embed_tested
    from voxangle.console import counting
    from voxangle.encoders.card import ModelCard
    from voxangle.encoders.model_files import rewrite_card
    from voxangle.runtime.decision import BayesRule
    from voxangle.scoring import cosine_scores
    from voxangle.scoring.calibration import (
        LlrFigures,
        lessons_of_the_list,
        measure_embedded,
        require_measures,
    )
    from voxangle.scoring.calibration import calibrate as fit

    if (corpus is None) == (trials is None):
        raise TrialError(
            "give a corpus to draw trials from (--corpus NAME), or a list of them (--trials LIST)"
        )
    if trials is not None and (split or recipe):
        raise TrialError("--split and --recipe belong to --corpus")
    BayesRule.check(prior=prior)
    asked = () if measures == "none" else tuple(dict.fromkeys(name.strip() for name in measures.split(",")))
    require_measures(asked)
    console = open_console()
    embedder, path = load_trained(own_model(model))
    if corpus:
        held_out = _drawn(embedder.card, corpus, split, root, recipe, recordings, console)
    else:
        held_out = _listed(trials or Path(), root or Path(), repeated_trials)
    (drawn,) = held_out.tested.lists
    embedded = embed_tested(embedder, held_out.tested, console)
    with counting(console, "measuring") as on_progress:
        measured = measure_embedded(embedded.embeddings, embedded.read, on_progress)
    scores = cosine_scores(np.stack([embedded.embeddings[key] for key in drawn.utterances]), drawn)
    counts = (
        f"{np.count_nonzero(drawn.target):,} target and {np.count_nonzero(~drawn.target):,} non-target trials of "
        f"{len(np.unique(held_out.speaker[np.stack([drawn.enrol, drawn.test])])):,} {held_out.whose} of "
        f"{held_out.source}"
    )
    source = f"logistic regression at prior {prior:g} on {counts}"
    priors = sorted({prior, *_PRIORS})
    notes = [*held_out.notes, *lessons_of_the_list(asked, measured, drawn)]
    figures = {}
    for chosen in dict.fromkeys([(), asked]):  # what the measures gain is seen beside the score alone
        fitted = fit(scores, drawn, held_out.speaker, measured, measures=chosen, prior=prior, source=source)
        figures[" + ".join(["score", *chosen])] = LlrFigures.of(fitted.llrs, drawn.target, priors)
    rewrite_card(path, ModelCard.model_validate({**dict(embedder.card), "calibration": fitted.calibration}))
    if as_json:
        print_json(
            {
                "calibration": fitted.calibration.model_dump(mode="json"),
                "cross_validated": {name: one._asdict() for name, one in figures.items()},
                "notes": notes,
            }
        )
        return
    console.print(_table(figures, counts, held_out.whose))
    for note in notes:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    typer.echo(f"the card of {path} has the calibration by {' + '.join(['score', *asked])}")


class _HeldOut(NamedTuple):
    """Trials of speakers whom the model does not know.

    Attributes:
        tested: one list.
        speaker: shape (keys,), their numbers.
        whose: what these number.
        source: where they are from, for a person to read.
        notes: what must be said of them.
    """

    tested: Tested
    speaker: NDArray[np.int64]
    whose: str
    source: str
    notes: tuple[str, ...]


def _listed(path: Path, root: Path, repeated: bool) -> _HeldOut:
    from voxangle.cli.tested import lists_of_files
    from voxangle.scoring import speakers_from_targets

    tested = lists_of_files([path], None, root, repeated)
    return _HeldOut(
        tested,
        speakers_from_targets(tested.lists[0]),
        "groups of utterances",
        f"the list '{path.stem}'",
        (_UNTOLD,),
    )


def _drawn(
    card: ModelCard,
    name: str,
    split: str | None,
    root: Path | None,
    recipe: Path | None,
    recordings: int,
    console: Console,
) -> _HeldOut:
    import numpy as np

    from voxangle.cli.tested import Tested
    from voxangle.console import counting
    from voxangle.corpora import corpus_folder, corpus_reader
    from voxangle.corpora.prepared import prepare_split
    from voxangle.data.balanced_pairs import balanced_trials
    from voxangle.recipe import Recipe
    from voxangle.training.held_out import hold_out, trained_on

    place = root or corpus_folder(name)
    corpus = corpus_reader(name).read(place)
    if split is None:
        if len(corpus.splits) > 1:
            raise TrialError(
                f"corpus '{name}' has several splits; give one with --split: {', '.join(corpus.splits)}"
            )
        split = next(iter(corpus.splits))
    known = Recipe.read(recipe) if recipe else None
    with counting(console, f"preparing {split}") as on_progress:
        prepared = prepare_split(corpus, split, on_progress=on_progress)
    seen = trained_on(card, name, corpus, split, place, known)
    held_out = hold_out(prepared, seen, recordings=recordings)
    trials = balanced_trials(held_out.manifest, f"{name}-{split}")
    speaker_of = held_out.manifest.speaker_of()
    speaker = np.unique([speaker_of[key] for key in trials.keys], return_inverse=True)[1]
    notes = [*corpus.notes]
    if held_out.seen:
        notes.append(f"{held_out.seen:,} speakers are left out, because the model was trained on them")
    if card.training is None and known is None:
        notes.append(
            "the model's card does not say on whom it was trained: that none of these speakers was among them is for "
            "you to see to"
        )
    return _HeldOut(Tested([trials], corpus), speaker, "speakers", f"{name}/{split}", tuple(notes))


def _table(figures: dict[str, LlrFigures], counts: str, whose: str) -> Table:
    from rich import box
    from rich.table import Table

    first = next(iter(figures.values()))
    table = Table(
        caption=f"On {counts}, each judged by a fit that knew neither of its {whose}. Cllr in bits; detection costs "
        "normalised, costs 1, p the prior of one voice.",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("calibrated by")
    for head in (
        "Cllr",
        "minCllr",
        *(f"{what} p {p:g}" for p in first.act_dcf for what in ("actDCF", "minDCF")),
    ):
        table.add_column(head.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for name, one in figures.items():
        costs = [value for p in one.act_dcf for value in (one.act_dcf[p], one.min_dcf[p])]
        table.add_row(name, *(f"{value:.3f}" for value in (one.cllr, one.min_cllr, *costs)))
    return table
