"""``voxangle compare``: which of several systems errs less, if the data can tell."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxangle.cli.app import AsJson, app, open_console, print_json

if TYPE_CHECKING:
    from voxangle.metrics import PairedDifference
    from voxangle.reporting.comparison import Comparison, ListComparison
    from voxangle.reporting.players import Clips
    from voxangle.scoring import Result


_TRIED = 20  # trials of a list


@app.command()
def compare(
    folders: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]FOLDER [NAME=]FOLDER ...",
            help="What `voxangle evaluate` wrote; NAME calls the system other than its model.",
        ),
    ],
    baseline: Annotated[
        str | None, typer.Option(help="The system that the others are compared with; else the first.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path("compare.html"),
    corpus: Annotated[
        str | None, typer.Option(help="For players on the page: the corpus, prepared, that the lists name.")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help="For players: what the paths of the lists are relative to, or where --corpus lies."
        ),
    ] = None,
    across_protocols: Annotated[
        bool, typer.Option("--across-protocols", help="Compare even where the protocols differ, and say so.")
    ] = False,
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates of the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws of speakers.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compare systems on the lists that all of them were evaluated on; name a winner only if the data supports one."""
    from voxangle.reporting import differences_table, results_table
    from voxangle.reporting.comparison import compare_systems
    from voxangle.reporting.comparison_page import how_it_was_tested, write_comparison_page
    from voxangle.reporting.notes import notes_of

    _require_page(out)
    systems = _read(folders)
    clip = _clips(corpus, root)
    if clip is not None:
        _require_heard(clip, [result for results in systems.values() for result in results])
    comparison = compare_systems(
        systems, baseline=baseline, across_protocols=across_protocols, replicates=replicates, seed=seed
    )
    command = shlex.join(["voxangle", *sys.argv[1:]])
    write_comparison_page(out, comparison, clip=clip, command=command)
    if as_json:
        print_json(_as_json(comparison, command))
        return
    console = open_console()
    console.print(results_table([result for one in comparison.lists for result in one.results.values()]))
    console.print(differences_table(comparison))
    lines = [
        *comparison.verdicts,
        *(f"note: {one.name}: {line}" for one in comparison.lists for line in one.protocols),
        *(f"note: {line}" for line in notes_of({one.name: one.results for one in comparison.lists})),
        *(f"note: {line}" for line in comparison.left_out),
        how_it_was_tested(comparison),
        f"the page is {out}",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _require_page(out: Path) -> None:
    """What is written over is a page, not somebody's scores."""
    from voxangle.errors import VoxangleError

    if out.is_file() and not out.read_bytes()[:15].lower().startswith(b"<!doctype html"):
        raise VoxangleError(f"{out}: is there and is no page; give --out another name, such as compare.html")


def _read(arguments: list[str]) -> dict[str, list[Result]]:
    """Results by the name of their system.

    Raises:
        VoxangleError: there are fewer than two folders, one is given twice or holds no results, or two systems have one
            name.
    """
    from voxangle.errors import VoxangleError
    from voxangle.scoring import read_evaluation

    if len(arguments) < 2:
        raise VoxangleError(
            "a comparison needs two folders or more, each written by `voxangle evaluate --out FOLDER`"
        )
    named = [_named(argument) for argument in arguments]
    places = [folder.resolve() for _, folder in named]
    for place, (_, folder) in zip(places, named, strict=True):
        if places.count(place) > 1:
            raise VoxangleError(f"{folder}: the folder is given twice; a system does not compare with itself")
    systems: dict[str, list[Result]] = {}
    for name, folder in named:
        results = read_evaluation(folder)
        system = name or results[0].model.name
        if system in systems:
            raise VoxangleError(
                f"two systems are called '{system}', the other in {folder}; give one another name: NAME={folder}"
            )
        systems[system] = results
    return systems


def _named(argument: str) -> tuple[str, Path]:
    """The name that an argument gives, or none, and its folder; a folder may have an equals sign in its name."""
    name, equals, folder = argument.partition("=")
    if not equals or Path(argument).is_dir():
        return "", Path(argument)
    return name, Path(folder)


def _clips(corpus: str | None, root: Path | None) -> Clips | None:
    """Where the recordings of the trials are heard; none without --corpus or --root.

    Raises:
        VoxangleError: there is no such corpus or folder, or no split of it is prepared.
    """
    from voxangle.errors import CorpusError
    from voxangle.reporting.players import clips_below, clips_of

    if corpus is None:
        return None if root is None else clips_below(root)
    from voxangle.corpora import corpus_folder, corpus_reader
    from voxangle.corpora.prepared import prepared_split

    read = corpus_reader(corpus).read(root or corpus_folder(corpus))
    prepared = [one for split in read.splits if (one := prepared_split(read, split)) is not None]
    if not prepared:
        raise CorpusError(
            f"no split of the corpus '{corpus}' is prepared: run `voxangle corpora prepare {corpus}`, or leave out "
            "--corpus for a page without players"
        )
    return clips_of(prepared)


def _require_heard(clip: Clips, results: list[Result]) -> None:
    """Refuse a root or a corpus that has nothing to do with the lists.

    Raises:
        TrialError: none of the first test recordings of any list can be heard.
    """
    from voxangle.errors import TrialError

    tested = [
        result.scores.keys[key]
        for result in results
        if result.scores is not None
        for key in dict.fromkeys(result.scores.test[:_TRIED].tolist())
    ]
    if not any(map(clip, dict.fromkeys(tested))):
        raise TrialError(
            f"no recording of the lists, such as '{tested[0]}', was found to be heard; correct --root or --corpus, or "
            "leave them out for a page without players"
        )


def _as_json(comparison: Comparison, command: str) -> dict[str, Any]:
    return {
        "baseline": comparison.baseline,
        "systems": list(comparison.systems),
        "replicates": comparison.replicates,
        "seed": comparison.seed,
        "correction": f"Holm, {comparison.tests} differences of EER",
        "lists": [_list_as_json(one) for one in comparison.lists],
        "left_out": list(comparison.left_out),
        "command": command,
    }


def _list_as_json(one: ListComparison) -> dict[str, Any]:
    priors = next(iter(one.results.values())).protocol.p_targets
    return {
        "name": one.name,
        "trials_sha256": next(iter(one.results.values())).trials_sha256,
        "protocols_differ": list(one.protocols),
        "results": {
            name: result.model_dump(mode="json", include={"model", "eer", "min_dcf", "counts", "protocol"})
            for name, result in one.results.items()
        },
        "differences": {
            name: {
                **_difference_as_json(difference.paired, priors),
                "adjusted_p": difference.adjusted_p,
                "winner": difference.verdict.winner,
                "verdict": difference.verdict.text,
            }
            for name, difference in one.differences.items()
        },
        "conditions": {
            condition: {name: _difference_as_json(paired, priors) for name, paired in by_system.items()}
            for condition, by_system in one.conditions.items()
        },
    }


def _difference_as_json(paired: PairedDifference, priors: tuple[float, ...]) -> dict[str, Any]:
    costs = zip(priors, paired.min_dcf, paired.min_dcf_intervals, paired.p_values, strict=True)
    return {
        "eer": {"value": paired.eer, **asdict(paired.eer_interval), "p": paired.p_value},
        "min_dcf": [
            {"p_target": prior, "value": value, **asdict(ends), "p": p} for prior, value, ends, p in costs
        ],
        "first_better": paired.first_better,
        "speakers": paired.speakers,
        "replicates": paired.replicates,
    }
