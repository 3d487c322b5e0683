"""The whole road once, on voices that anyone can get: the objective against its baseline, honestly small."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from voxangle.console import counting, downloading
from voxangle.corpora import Corpus, corpus_folder, corpus_reader, debian_voices
from voxangle.corpora.prepared import prepare_split
from voxangle.encoders import Embedder
from voxangle.errors import CorpusError, MissingExtraError
from voxangle.metrics import PairedDifference
from voxangle.recipe import Recipe
from voxangle.reporting import (
    Code,
    Facts,
    Gallery,
    Section,
    Text,
    det_chart,
    difference_table,
    protocol_facts,
    result_table,
    results_table,
    score_chart,
    verdict,
    write_page,
)
from voxangle.reporting.notes import notes_of
from voxangle.scoring import Result, compare
from voxangle.scoring.system import embed_prepared, evaluate_lists, model_of
from voxangle.training.loop import train

__all__ = ["run_demo"]

_RECIPE = Path(__file__).with_name("demo.yaml")
_CORPORA = ("debian-voices", "mini-librispeech")
_SYSTEMS = {
    "full": ("the full objective", ()),
    "aam": ("AAM-softmax alone", ("objective.contrastive=null",)),
}


def run_demo(out: Path, corpus: str, settings: Sequence[str], console: Console) -> Path:
    """Get voices, train two small encoders, evaluate both on held-out voices, write a page.

    Args:
        out: folder of the runs, the results and the page; a demo that stopped goes on in it.
        corpus: ``debian-voices``, ``mini-librispeech``, or ``auto`` for the first that can be reached.
        settings: overrides of the demo's recipe, ``key=value``.
        console: where to speak.

    Returns:
        The report page.

    Raises:
        CorpusError: none of the corpora can be reached.
    """
    began = time.monotonic()
    name = _get(_CORPORA if corpus == "auto" else (corpus,), console)
    got = time.monotonic()
    common = [f"data.corpus={name}", *_music(name), *settings]
    recipes = {
        system: Recipe.read(_RECIPE, [f"name={system}", *common, *changes])
        for system, (_, changes) in _SYSTEMS.items()
    }
    source = corpus_reader(name).read(corpus_folder(name))
    lists = list(source.trials.values())

    results: dict[str, list[Result]] = {}
    for system, recipe in recipes.items():
        console.print(f"\n[bold]{system}[/bold]: {_SYSTEMS[system][0]}", highlight=False)
        model = train(recipe, out / system, console=console)
        embedder = Embedder.load(model)
        with counting(console, "preparing eval") as on_progress:
            prepared = prepare_split(source, "eval", on_progress=on_progress)
        with counting(console, "embedding") as on_progress:
            embeddings = embed_prepared(embedder, prepared, on_progress)
        results[system] = evaluate_lists(
            embeddings,
            lists,
            model=model_of(embedder),
            manifest=prepared.manifest,
            notes=source.notes,
        )
        for result in results[system]:
            result.write(out / "results" / f"{result.name}-{system}.json")

    differences = {
        full.name: compare(full, aam) for full, aam in zip(results["full"], results["aam"], strict=True)
    }
    seconds = time.monotonic() - got
    _show(console, source, recipes["full"], results, differences, seconds)
    page = out / "report.html"
    _write_page(page, source, recipes["full"], results, differences, seconds, got - began)
    return page


def _get(names: Sequence[str], console: Console) -> str:
    """The first corpus that is here or can be got."""
    obstacles = []
    for name in names:
        reader = corpus_reader(name)
        if reader.get is None:
            raise CorpusError(
                f"the demo needs held-out voices with trial lists: one of {', '.join(_CORPORA)}"
            )
        try:
            with downloading(console) as on_progress:
                reader.get(corpus_folder(name), on_progress)
        except (CorpusError, MissingExtraError) as error:
            obstacles.append(f"{name}: {error}")
        else:
            return name
    raise CorpusError("no corpus for the demo can be reached:\n" + "\n".join(obstacles))


def _music(name: str) -> list[str]:
    if name != debian_voices.NAME:
        return []
    return [f"augment.music={debian_voices.music(corpus_folder(name))}"]


def _size(source: Corpus, recipe: Recipe) -> str:
    """How small it all is."""
    train, evaluation = source.splits["train"], source.splits["eval"]
    hours = train.column("seconds").sum() / 3600
    held_out = recipe.data.validation_speakers
    return (
        f"This is a demonstration, not an experiment: {len(train.speakers())} voices and {hours:.1f} h, of which "
        f"{held_out} voices only set the threshold, {len(evaluation.speakers())} other voices to test on, one seed, "
        f"{recipe.schedule.steps} steps. The intervals say how little such figures mean; no claim about the objective "
        "follows from them."
    )


def _cautions(results: Mapping[str, Sequence[Result]], source: Corpus) -> list[str]:
    """What the results say of themselves, beside what the corpus says of all of them."""
    by_list: dict[str, dict[str, Result]] = {}
    for system, rows in results.items():
        for row in rows:
            own = tuple(note for note in row.notes if note not in source.notes)
            by_list.setdefault(row.name, {})[system] = row.model_copy(update={"notes": own})
    return notes_of(by_list)


def _verdict(name: str, difference: PairedDifference) -> str:
    return f"{name}: {verdict(difference, 'the full objective', 'AAM-softmax alone').text}"


def _show(
    console: Console,
    source: Corpus,
    recipe: Recipe,
    results: Mapping[str, Sequence[Result]],
    differences: Mapping[str, PairedDifference],
    seconds: float,
) -> None:
    console.print()
    console.print(results_table([row for rows in zip(*results.values(), strict=True) for row in rows]))
    for name, difference in differences.items():
        console.print(escape(_verdict(name, difference)), highlight=False)
    for caution in _cautions(results, source):
        console.print(f"note: {caution}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"\n{_size(source, recipe)}", highlight=False)
    for note in source.notes:
        console.print(escape(note), highlight=False)
    console.print(f"{seconds / 60:.1f} minutes after the download", highlight=False)


def _write_page(
    page: Path,
    source: Corpus,
    recipe: Recipe,
    results: Mapping[str, Sequence[Result]],
    differences: Mapping[str, PairedDifference],
    seconds: float,
    download_seconds: float,
) -> None:
    by_list = [
        {system: rows[index] for system, rows in results.items()} for index in range(len(source.trials))
    ]
    sections = [
        Section(
            "What was done",
            [
                Text(
                    f"Two encoders of the same size were trained on the same voices of {source.name}, in the same "
                    "batches with the same augmentation: one with the full objective (AAM-softmax, supervised "
                    "contrastive loss with an additive angular margin, class-aware attention, MGDA at the embedding), "
                    "one with AAM-softmax alone. Both were tested on voices that neither has heard."
                ),
                Text(_size(source, recipe)),
                *map(Text, source.notes),
                Facts(
                    {
                        "encoder": f"{recipe.encoder.architecture}, {recipe.encoder.dimension} dimensions",
                        "steps": f"{recipe.schedule.steps}, of {recipe.batch.speakers} speakers x "
                        f"{recipe.batch.recordings} recordings x {recipe.augment.views} views of "
                        f"{recipe.batch.seconds:g} s",
                        "seed": str(recipe.seed),
                        "time": f"{seconds / 60:.1f} minutes, and {download_seconds / 60:.1f} for the download",
                    }
                ),
            ],
        ),
        Section(
            "Error rates",
            [
                result_table(
                    [row for pair in by_list for row in pair.values()],
                    "Held-out voices; 95 % intervals by bootstrap over speakers in brackets.",
                ),
                difference_table(
                    differences,
                    results["full"][0].protocol.p_targets,
                    "Full objective minus AAM-softmax alone, on the same draws of speakers; below 0 the full one errs "
                    "less, and an interval that holds 0 tells nothing.",
                ),
                Text("\n".join(_verdict(name, difference) for name, difference in differences.items())),
                Text("\n".join(_cautions(results, source))),
            ],
        ),
        *(_list_section(pair) for pair in by_list),
        Section("Protocol", [protocol_facts(row) for row in results["full"]]),
        Section("Do it again", [Code("make demo\n# or, installed:\nvoxangle demo")]),
    ]
    write_page(
        page, "voxangle demo", sections, lead="Is this the same voice? Two small encoders, one answer each."
    )


def _list_section(pair: Mapping[str, Result]) -> Section:
    """Curves and scores of both systems on one list."""
    name = next(iter(pair.values())).name
    systems = {_SYSTEMS[system][0]: result for system, result in pair.items()}
    return Section(
        f"List {name}",
        [
            Gallery([det_chart(systems)]),
            Gallery([score_chart(result, system) for system, result in systems.items()]),
        ],
    )
