"""``voxangle fuse``: several systems' scores made one log-likelihood ratio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxangle.cli.app import app, open_console

if TYPE_CHECKING:
    from voxangle.scoring import Protocol, Result


@app.command()
def fuse(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER FOLDER ...", help="What `voxangle evaluate` wrote, one a system."),
    ],
    learn_from: Annotated[
        list[Path],
        typer.Option(
            "--learn-from",
            help="What it wrote of the same system on trials of other people, one for each FOLDER, in their order.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results of the fusion.")],
    learn_list: Annotated[
        str | None, typer.Option(help="Of the lists of --learn-from this one, where they have several.")
    ] = None,
    prior: Annotated[
        float, typer.Option(min=0.001, max=0.999, help="Of a target trial: where the fusion shall be best.")
    ] = 0.5,
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates of the intervals.")] = 1000,
) -> None:
    """Fuse systems by logistic regression, learnt from trials of other people; `voxangle compare` tells if it pays."""
    from voxangle.errors import TrialError
    from voxangle.reporting import calibrated_table, results_table
    from voxangle.scoring import read_evaluation
    from voxangle.scoring.fusion import fit_fusion
    from voxangle.scoring.measure import remeasure
    from voxangle.scoring.result import Model

    if len(folders) != len(learn_from) or len(folders) < 2:
        raise TrialError(
            f"a fusion needs two systems or more, and of each what to learn from: here are {len(folders)} FOLDER and "
            f"{len(learn_from)} --learn-from"
        )
    systems = [{result.name: result for result in read_evaluation(folder)} for folder in folders]
    learnt = [_the_list(read_evaluation(folder), learn_list, folder) for folder in learn_from]
    for folder, tested, learning in zip(folders, systems, learnt, strict=True):
        _require_one_system(folder, next(iter(tested.values())), learning)
    names = _names([next(iter(one.values())) for one in systems])
    fusion = fit_fusion([result.require_scores() for result in learnt], names=names, prior=prior)
    common = [name for name in systems[0] if all(name in one for one in systems)]
    if not common:
        raise TrialError(
            f"{folders[0]} and {folders[1]} have no list in common; evaluate both systems on one"
        )
    results = []
    for name in common:
        of_list = [one[name] for one in systems]
        results.append(
            remeasure(
                of_list[0],
                fusion.apply([result.require_scores() for result in of_list]),
                protocol=_protocol([result.protocol for result in of_list]).model_copy(
                    update={"scoring": fusion.scoring}
                ),
                model=Model(name=" + ".join(names)),
                calibration=f"logistic regression on the {learnt[0].counts.trials:,} trials of '{learnt[0].name}'",
                replicates=replicates,
            )
        )
    for result in results:
        result.write(out / f"{result.name}.json")
    fusion.write(out / "fusion.json")
    console = open_console()
    console.print(results_table(results))
    console.print(calibrated_table(results))
    for name, weight in zip(names, fusion.scoring.weights, strict=True):
        if weight < 0:
            console.print(
                f"note: '{name}' has the weight {weight:.3g}: the higher its score, the less alike; with so many "
                "systems that say nearly the same, leave some out",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
    for note in dict.fromkeys(note for result in results for note in result.notes):
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    typer.echo(f"results and the fusion are in {out}")


def _the_list(results: list[Result], wanted: str | None, folder: Path) -> Result:
    from voxangle.errors import TrialError, nearest

    names = [result.name for result in results]
    if wanted is None and len(results) == 1:
        return results[0]
    if wanted is None:
        raise TrialError(f"{folder}: holds several lists; name one with --learn-list: {', '.join(names)}")
    if wanted not in names:
        raise TrialError(f"{folder}: has no list '{wanted}'{nearest(wanted, names)}")
    return results[names.index(wanted)]


def _require_one_system(folder: Path, tested: Result, learning: Result) -> None:
    """What weights are learnt from is the system that they are for."""
    from voxangle.errors import TrialError
    from voxangle.scoring.compare import protocol_differences

    one, other = tested.model, learning.model
    if one.sha256 != other.sha256 or (not one.sha256 and one.name != other.name):
        raise TrialError(
            f"{folder}: is of '{one.name}', but the --learn-from in its place is of '{other.name}'"
            + (" with other weights" if one.name == other.name else "")
            + "; give them in one order"
            + (
                ""
                if one.sha256
                else ", and scores of one system one name (`voxangle evaluate --scores --system`)"
            )
        )
    differing = protocol_differences(tested.protocol, learning.protocol)
    differing.pop("enrolment", None)
    if differing:
        raise TrialError(
            f"{folder}: was scored otherwise than the --learn-from in its place: "
            + "; ".join(f"{name} is '{one}' and '{other}'" for name, (one, other) in differing.items())
        )


def _names(results: Sequence[Result]) -> list[str]:
    """What to call the systems; by number too where two have one name."""
    names = [result.model.name for result in results]
    return [
        name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, start=1)
    ]


def _protocol(protocols: Sequence[Protocol]) -> Protocol:
    """What all systems have in common; the rest is not known of the fusion."""
    first = protocols[0]
    return first.model_copy(
        update={
            name: "not known"
            for name in ("mean_subtraction", "normalisation")
            if any(getattr(one, name) != getattr(first, name) for one in protocols)
        }
    )
