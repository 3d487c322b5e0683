"""``voxangle ablate``: variants of a recipe, each with several seeds, and what their differences support."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxangle.cli.app import app, open_console
from voxangle.cli.tested import Tested, embed_tested, lists_of_corpus
from voxangle.errors import RecipeError, TrialError, VoxangleError

if TYPE_CHECKING:
    from rich.console import Console

    from voxangle.ablation import HeldOut, Run
    from voxangle.encoders import Embedder
    from voxangle.recipe import Recipe
    from voxangle.scoring import Result


class On(StrEnum):
    """What the variants are measured on."""

    VALIDATION = "validation"
    LISTS = "lists"


@app.command()
def ablate(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe.")],
    axes: Annotated[
        list[str],
        typer.Option(
            "--axes",
            metavar="AXIS=VALUE,VALUE...",
            help="objective=aam,supcon,aam_supcon,+attention,full; +NAME is the variant before it and NAME's changes. "
            "Or an entry of the recipe: optimizer.lr=0.001,0.002. Repeated: the product.",
        ),
    ],
    seeds: Annotated[
        int,
        typer.Option(min=1, help="Trainings of each variant: the recipe's seed and those that follow it."),
    ] = 5,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="For the runs and the table; the same command goes on in it.")
    ] = Path("runs/ablation"),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override an entry of the recipe for all variants (repeatable)."),
    ] = None,
    variants: Annotated[
        Path | None, typer.Option(help="Variants of your own: YAML `axis: {name: {optimizer.lr: 0.01}}`.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The variant to compare all others with; the first.")
    ] = None,
    on: Annotated[
        On | None,
        typer.Option(
            help="Measure on validation speakers, held out of the training split (to choose by), or on trial lists."
        ),
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="For --on lists: the corpus whose lists; the recipe's.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Where that corpus lies.")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--list", help="Of its lists this one (repeatable); else all.")
    ] = None,
    by_condition: Annotated[
        bool,
        typer.Option(
            "--conditions", help="For --on lists: tables by gender, language, session, channel, duration too."
        ),
    ] = False,
    replicates: Annotated[int, typer.Option(min=100, help="Draws of the speakers.")] = 1000,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check all recipes, list the runs and what tells them apart; no more."
        ),
    ] = False,
    table_only: Annotated[
        bool, typer.Option("--table", help="Train nothing: the table of the runs that are there.")
    ] = False,
) -> None:
    """Train variants of a recipe with several seeds, and say which differences the data supports."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise VoxangleError("voxangle ablate trains in one process; start it without torchrun")
    of_lists = bool(corpus or root or only or by_condition)
    if of_lists and on is On.VALIDATION:
        raise TrialError("--corpus, --root, --list and --conditions belong to --on lists")
    from voxangle.training.allocator import keep_freed_memory

    keep_freed_memory()  # before torch allocates
    from voxangle.ablation import (
        Base,
        do_runs,
        make_table,
        make_variants,
        plan_runs,
        print_ablation,
        read_variants,
        validation_trials,
        write_ablation_page,
        write_markdown,
    )
    from voxangle.training.loop import TrainingInterrupted

    console = open_console()
    base = Base(recipe, settings or [])
    planned = plan_runs(base, make_variants(axes, read_variants(variants), base), seeds, out)
    recipes = {run.variant.name: run.recipe for run in planned}
    _demand_known(baseline, recipes)
    if dry_run:
        _list_runs(planned, base.recipe, console)
        return
    held_out: HeldOut = (
        _lists(corpus, root, only or [], recipes, console, by_condition=by_condition)
        if on is On.LISTS or of_lists
        else validation_trials(recipes, console)
    )
    console.print(f"measuring on {held_out.description}", highlight=False, markup=False, soft_wrap=True)
    command = shlex.join(["voxangle", *sys.argv[1:]])
    try:
        finished = do_runs(planned, held_out, console, train_missing=not table_only)
    except TrainingInterrupted as stopped:
        typer.echo(f"{stopped}\nto go on: {command}\nthe table so far: {command} --table", err=True)
        raise typer.Exit(130) from None
    table = make_table(
        base.recipe, planned, finished, held_out, baseline=baseline, replicates=replicates, command=command
    )
    print_ablation(table, console)
    table.write(out / "ablation.json")
    write_markdown(table, out / "ablation.md")
    write_ablation_page(table, out / "ablation.html")
    typer.echo(f"the page is {out / 'ablation.html'}; beside it ablation.json and ablation.md")


def _demand_known(baseline: str | None, variants: Mapping[str, object]) -> None:
    from voxangle.errors import nearest

    if baseline is not None and baseline not in variants:
        raise RecipeError(f"--baseline {baseline}: no such variant{nearest(baseline, variants)}")


def _list_runs(runs: Sequence[Run], recipe: Recipe, console: Console) -> None:
    """What would be done, and what tells the variants apart."""

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    for variant in dict.fromkeys(run.variant for run in runs):
        of_variant = [run for run in runs if run.variant == variant]
        say(variant.name)
        for setting in of_variant[0].settings_beside(recipe) or ["the recipe as it is"]:
            say(f"  {setting}")
        say("  in " + ", ".join(str(run.folder) for run in of_variant))
    say(f"{len(runs)} runs of {recipe.schedule.steps} steps; all recipes hold")


@dataclass(frozen=True)
class _Lists:
    """Trial lists of a corpus."""

    tested: Tested
    corpus: str
    by_condition: bool

    @property
    def name(self) -> str:
        return f"{self.corpus}-by-condition" if self.by_condition else self.corpus

    @property
    def description(self) -> str:
        return (
            f"the trial lists of {self.corpus}. A variant chosen by these figures owes its choice to them: choose on "
            "validation speakers (--on validation), and say what is found here once."
        )

    @cached_property
    def lists(self) -> dict[str, str]:
        return {trials.name: trials.sha256() for trials in self.tested.lists}

    def measure(self, embedder: Embedder, console: Console) -> list[Result]:
        from voxangle.scoring.system import evaluate_lists, model_of

        embedded = embed_tested(embedder, self.tested, console)
        results = evaluate_lists(
            embedded.embeddings,
            self.tested.lists,
            model=model_of(embedder),
            manifest=embedded.manifest,
            by_condition=self.by_condition,
            notes=self.tested.notes,
        )
        return [self.tested.with_own_notes(result) for result in results]


def _lists(
    corpus: str | None,
    root: Path | None,
    only: list[str],
    recipes: Mapping[str, Recipe],
    console: Console,
    *,
    by_condition: bool,
) -> _Lists:
    """A corpus's trial lists, whose recordings can all be used and on whose splits no variant trains."""
    from voxangle.console import counting
    from voxangle.corpora.prepared import prepare_split

    first = next(iter(recipes.values())).data
    if corpus is None:
        if first.corpus is None:
            raise TrialError(
                "the recipe trains on several corpora; say with --corpus whose lists to measure on"
            )
        corpus, root = first.corpus, root or first.root
    tested = lists_of_corpus(corpus, root, only, [], None, False)
    _demand_unheard(tested, corpus, recipes)
    unusable: dict[str, str] = {}
    for split in tested.splits_named():
        assert tested.corpus is not None  # noqa: S101 - as it has splits
        with counting(console, f"preparing {split}") as on_progress:
            prepared = prepare_split(tested.corpus, split, on_progress=on_progress)
        unusable |= {one.utterance: one.cause for one in prepared.left_out}
    return _Lists(tested.without(unusable), corpus, by_condition)


def _demand_unheard(tested: Tested, name: str, recipes: Mapping[str, Recipe]) -> None:
    for variant, recipe in recipes.items():
        for source in recipe.data.sources:
            if source.corpus != name or tested.corpus is None:
                continue
            splits = tested.corpus.splits
            trained_on = source.split or ("train" if "train" in splits else next(iter(splits)))
            if trained_on in tested.splits_named():
                raise TrialError(
                    f"the lists name utterances of {name}/{trained_on}, on which '{variant}' trains: no figure on them "
                    "would be of strangers; name lists of other splits with --list, or another corpus"
                )
