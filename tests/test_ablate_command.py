"""``voxangle ablate`` on made-up voices: it runs, goes on, survives a failed run, and says no more than it knows."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.console import Console

from tests.conftest import RECIPE, write_voices
from voxangle import cli
from voxangle.ablation import (
    Ablation,
    Base,
    Finished,
    Run,
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
from voxangle.data import Trials
from voxangle.errors import CheckpointError, DivergenceError, RecipeError, TrialError
from voxangle.scoring import Model, Result, compare, evaluate
from voxangle.storage import held
from voxangle.training.loop import TrainingInterrupted

QUIET = Console(quiet=True)


Terminal = Callable[..., tuple[int, str, str]]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Runs ``voxangle`` in this process and keeps what it said."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["voxangle", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(left.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def quick(tmp_path: Path, voices: Path) -> Path:
    """A recipe of two steps."""
    path = tmp_path / "quick.yaml"
    content = yaml.safe_load(RECIPE.format(root=voices, steps=2))
    content["augment"] = {"views": 1}  # clean, so that no sound is made up
    content["batch"]["seconds"] = 0.4
    path.write_text(yaml.safe_dump(content))
    return path


def test_an_ablation_from_recipe_to_table_and_once_only(
    terminal: Terminal, quick: Path, tmp_path: Path
) -> None:
    words = ["ablate", quick, "--axes", "objective=aam_supcon,+attention", "--seeds", 2]
    words += ["--out", tmp_path / "out", "--replicates", 100]
    code, out, _ = terminal(*words)
    assert code == 0
    order = [line.split(": ", 1)[1] for line in out.splitlines() if line.startswith("run ")]
    assert order == [f"{variant}, seed {seed}" for seed in (3, 4) for variant in ("aam_supcon", "+attention")]
    assert "for 3 more" in out
    assert "measured on validation trials" in out
    table = Ablation.model_validate_json((tmp_path / "out" / "ablation.json").read_bytes())
    assert table.baseline == "aam_supcon"
    (one,) = table.lists
    assert [(mean.variant, mean.seeds) for mean in one.means] == [
        ("aam_supcon", (3, 4)),
        ("+attention", (3, 4)),
    ]
    assert [(each.variant, each.against) for each in one.comparisons] == [("+attention", "aam_supcon")]
    assert table.tests == 1
    assert 'objective.balancing={"kind": "equal"}' in table.variants["aam_supcon"]
    results = [
        Result.read(
            tmp_path / "out" / "aam_supcon" / f"seed-{seed}" / "evaluation" / "validation" / "validation.json"
        )
        for seed in (3, 4)
    ]
    assert one.means[0].eer.value == pytest.approx(np.mean([result.eer.value for result in results]))
    assert one.means[0].eer_of_seeds == tuple(result.eer.value for result in results)
    page = (tmp_path / "out" / "ablation.html").read_text()
    assert "+attention" in page
    assert "| aam_supcon |" in (tmp_path / "out" / "ablation.md").read_text()

    models = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("model.safetensors")}
    assert len(models) == 4
    code, again, _ = terminal(*words)
    assert code == 0
    assert "run " not in again.replace("runs", "")
    assert {path: path.stat().st_mtime_ns for path in models} == models
    same = Ablation.model_validate_json((tmp_path / "out" / "ablation.json").read_bytes())
    assert same.lists == table.lists

    # A third seed is only added; another recipe in these folders is refused, with what differs.
    code, out, _ = terminal(*[3 if word == 2 else word for word in words], "--table")
    assert code == 0
    assert "2 of 6 runs are still to be trained" in out
    code, _, err = terminal(*words, "--set", "optimizer.lr=0.5")
    assert code == 2
    assert "holds a run of another recipe" in err
    assert "optimizer.lr: 0.001 there, 0.5 now" in err
    code, _, err = terminal(*words, "--set", "training.precision=bf16")
    assert code == 2
    assert "training.precision: 'fp32' there, 'bf16' now" in err
    code, _, _ = terminal(*words, "--set", "training.log_every=7")
    assert code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--axes", "objective=amm"], "did you mean 'aam'"),
        (["--axes", "objective=aam,full", "--baseline", "ful"], "did you mean 'full'"),
        (["--axes", "optimizer.lr=0.001,0.1e-2"], "one and the same recipe"),
        (["--axes", "objective=aam", "--set", "data.validation_speakers=0"], "--on lists"),
        (["--axes", "data.validation_recordings=2,3"], "data.validation_recordings"),
        (["--axes", "objective=aam", "--on", "validation", "--list", "x"], "belong to --on lists"),
        (["--axes", "objective=aam", "--on", "lists"], "has no trial lists of its own"),
        (["--axes", "objective=aam", "--variants", "/no/such.yaml"], "no such file of variants"),
        (["--axes", "objective=aam", "--table"], "no run has figures yet"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    terminal: Terminal,
    quick: Path,
    tmp_path: Path,
    words: list[str],
    message: str,
) -> None:
    code, _, err = terminal("ablate", quick, *words, "--out", tmp_path / "out")
    assert code == 2
    assert err.startswith("error: ")
    assert message in err
    assert not list(tmp_path.glob("out/**/checkpoint.pt"))


def test_a_recipe_that_does_not_hold_stops_all_of_them_before_the_first(
    terminal: Terminal,
    quick: Path,
    tmp_path: Path,
) -> None:
    code, _, err = terminal("ablate", quick, "--axes", "optimizer.lr=0.1,-1", "--out", tmp_path / "out")
    assert code == 2
    assert "variant 'optimizer.lr=-1'" in err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_lists_the_runs_and_what_tells_them_apart(
    terminal: Terminal, quick: Path, tmp_path: Path
) -> None:
    code, out, _ = terminal(
        "ablate", quick, "--axes", "objective=aam,full", "--seeds", 2, "--out", tmp_path / "out", "--dry-run"
    )
    assert code == 0
    assert "aam\n  objective.contrastive=null\n" in out
    assert "full\n  the recipe as it is\n" in out
    assert "4 runs of 2 steps" in out
    assert not (tmp_path / "out").exists()


def test_lists_of_a_split_that_is_trained_on_are_refused(
    terminal: Terminal,
    quick: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = write_voices(tmp_path / "told", speakers=4, utterances=2, seconds=0.6)
    rows = [f"s{s}/u{u}.wav,s{s},{'train' if s < 2 else 'eval'}" for s in range(4) for u in range(2)]
    (folder / "utterances.csv").write_text("path,speaker,split\n" + "\n".join(rows) + "\n")
    (folder / "trials").mkdir()
    heard = "1 s0/u0.wav s0/u1.wav\n0 s0/u0.wav s1/u0.wav\n"
    (folder / "trials" / "heard.txt").write_text(heard)
    (folder / "trials" / "strangers.txt").write_text(heard.replace("s1", "s3").replace("s0", "s2"))
    place = ["--set", f"data={{corpus: table, root: {folder}}}", "--set", "batch.speakers=2"]
    words = ["ablate", quick, "--axes", "objective=aam", *place, "--out", tmp_path / "out", "--seeds", 1]
    code, _, err = terminal(*words, "--on", "lists")
    assert code == 2
    assert "table/train, on which 'aam' trains" in err
    code, out, _ = terminal(*words, "--list", "strangers", "--replicates", 100)
    assert code == 0
    assert "the trial lists of table" in out
    table = Ablation.model_validate_json((tmp_path / "out" / "ablation.json").read_bytes())
    assert [one.name for one in table.lists] == ["strangers"]
    assert table.lists[0].counts.speakers == 2


class MadeUp:
    """Trials whose scores are drawn: what the table sees of a run."""

    name, description = "made-up", "drawn scores"

    def __init__(self, speakers: int = 40) -> None:
        keys = [(speaker, number) for speaker in range(speakers) for number in range(2)]
        self.trials = Trials.of(
            "drawn", [(a[0] == b[0], f"{a}", f"{b}") for i, a in enumerate(keys) for b in keys[:i]]
        )
        self.speaker = {f"{key}": f"{key[0]}" for key in keys}
        self.lists = {"drawn": self.trials.sha256()}

    def result(self, noise: float, seed: int, conditions: dict[str, np.ndarray] | None = None) -> Result:
        """Of embeddings around their speakers."""
        voice = np.random.default_rng(0)
        centre = {who: voice.standard_normal(8) for who in dict.fromkeys(self.speaker.values())}
        random = np.random.default_rng(seed)
        return evaluate(
            {key: centre[who] + noise * random.standard_normal(8) for key, who in self.speaker.items()},
            self.trials,
            speakers=self.speaker,
            model=Model(name=f"{noise}-{seed}"),
            conditions=conditions,
            replicates=100,
        )

    def measure(self, embedder: object, console: Console) -> list[Result]:
        del embedder, console
        raise AssertionError("drawn results are not measured")


def planned(quick: Path, tmp_path: Path, axes: str, seeds: int) -> tuple[Base, list[Run]]:
    base = Base(quick)
    return base, plan_runs(base, make_variants([axes], read_variants(), base), seeds, tmp_path / "out")


def test_with_one_seed_a_difference_is_what_compare_says_and_no_verdict(quick: Path, tmp_path: Path) -> None:
    base, runs = planned(quick, tmp_path, "objective=aam,full", 1)
    drawn = MadeUp()
    results = [drawn.result(1.6, 1), drawn.result(0.8, 2)]
    table = make_table(
        base.recipe, runs, [Finished(run, (one,)) for run, one in zip(runs, results, strict=True)], drawn
    )
    (difference,) = table.lists[0].comparisons
    expected = compare(results[1], results[0])
    assert difference.eer.ends == expected.eer_interval
    assert difference.eer.value == expected.eer
    assert difference.p_value == expected.p_value
    assert [cost.ends for cost in difference.min_dcf] == list(expected.min_dcf_intervals)
    assert difference.verdict == "no verdict: one seed does not tell recipes apart"
    assert any("has one seed" in caution for caution in table.cautions)


def test_a_difference_that_is_there_is_called_and_a_failed_run_is_in_the_table(
    quick: Path, tmp_path: Path
) -> None:
    base, runs = planned(quick, tmp_path, "optimizer.lr=0.1,0.2,0.3", 4)
    drawn = MadeUp()
    noise = {"optimizer.lr=0.1": 1.6, "optimizer.lr=0.2": 0.5, "optimizer.lr=0.3": 1.6}
    finished = [
        Finished(run, (drawn.result(noise[run.variant.name], 7 * i),))
        if i
        else Finished(run, failure="it left the finite numbers")
        for i, run in enumerate(runs)
    ]
    table = make_table(base.recipe, runs, finished[:-1], drawn, baseline="optimizer.lr=0.3")
    (one,) = table.lists
    assert {mean.variant: mean.seeds for mean in one.means} == {
        "optimizer.lr=0.1": (4, 5, 6),
        "optimizer.lr=0.2": (3, 4, 5, 6),
        "optimizer.lr=0.3": (3, 4, 5),
    }
    verdicts = {(each.variant, each.against): (each.seeds, each.verdict) for each in one.comparisons}
    assert verdicts["optimizer.lr=0.2", "optimizer.lr=0.3"] == ((3, 4, 5), "errs less")
    assert verdicts["optimizer.lr=0.1", "optimizer.lr=0.3"] == ((4, 5), "no difference shown")
    assert verdicts["optimizer.lr=0.2", "optimizer.lr=0.1"][0] == (4, 5, 6)
    adjusted = sorted((each.p_value, each.p_holm) for each in one.comparisons)
    assert adjusted[0][1] == pytest.approx(len(adjusted) * adjusted[0][0])
    assert "optimizer.lr=0.1, seed 3, has no figures: it left the finite numbers" in table.cautions
    assert any(caution.startswith("1 of 12 runs") for caution in table.cautions)
    console = Console(record=True, width=80, file=io.StringIO())
    print_ablation(table, console)
    said = console.export_text()
    assert all(len(line) <= 80 for line in said.splitlines() if not line.startswith("note: "))
    assert "1 failed" in said
    assert "1 missing" in said
    write_markdown(table, tmp_path / "table.md")
    write_ablation_page(table, tmp_path / "table.html")
    assert "optimizer.lr=0.2 errs less than optimizer.lr=0.3." in (tmp_path / "table.html").read_text()
    rows = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("| ")]
    assert len({row.count("|") for row in rows[:4]}) == 1


def test_parts_of_a_list_have_tables_whose_differences_are_not_tested(quick: Path, tmp_path: Path) -> None:
    base, runs = planned(quick, tmp_path, "objective=aam,full", 4)
    drawn = MadeUp()
    some = np.arange(len(drawn.trials.target)) % 3 > 0
    conditions = {"evening": some, "alike": some & ~drawn.trials.target}
    results = [drawn.result(noise, seed, conditions) for seed, noise in enumerate(4 * [2.0, 0.6])]
    finished = [Finished(run, (one,)) for run, one in zip(runs, results, strict=True)]
    plain = make_table(base.recipe, runs, [replaced(one) for one in finished], drawn, replicates=100)
    table = make_table(base.recipe, runs, finished, drawn, replicates=100)
    whole, evening, alike = table.lists
    assert [one.title for one in table.lists] == ["drawn", "drawn, evening", "drawn, alike"]
    assert whole == plain.lists[0]
    assert table.tests == plain.tests == 1
    of_evening = [result.conditions[0] for result in results[::2]]
    assert evening.counts.targets == of_evening[0].targets
    assert evening.means[0].eer_of_seeds == pytest.approx([one.eer.value for one in of_evening])
    assert alike.counts.targets == whole.counts.targets  # one person is not two: all targets are taken
    assert evening.comparisons[0].verdict == "not tested"
    assert evening.comparisons[0].p_holm is None
    write_markdown(table, tmp_path / "table.md")
    write_ablation_page(table, tmp_path / "table.html")
    print_ablation(table, QUIET)
    assert "## drawn, evening" in (tmp_path / "table.md").read_text()
    assert "List drawn, alike" in (tmp_path / "table.html").read_text()


def replaced(one: Finished) -> Finished:
    """Without its conditions."""
    bare = [result.model_copy(update={"conditions": ()}) for result in one.results]
    return Finished(one.run, tuple(bare))


def test_a_table_needs_a_figure_and_a_baseline_that_is_a_variant(quick: Path, tmp_path: Path) -> None:
    base, runs = planned(quick, tmp_path, "objective=aam,full", 1)
    with pytest.raises(TrialError, match="seed 3: why"):
        make_table(base.recipe, runs, [Finished(runs[0], failure="why")], MadeUp())
    with pytest.raises(TrialError, match="did you mean 'full'"):
        make_table(base.recipe, runs, [], MadeUp(), baseline="ful")


def test_a_run_that_diverges_ends_no_other_and_is_not_repeated(
    quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, runs = planned(quick, tmp_path, "objective=aam,full", 1)
    trained: list[str] = []

    def diverges(recipe: object, folder: Path, *, console: Console) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        trained.append(folder.parent.name)
        raise DivergenceError("the loss is nan")

    monkeypatch.setattr("voxangle.ablation.runs.train", diverges)
    for _ in range(2):
        finished = do_runs(runs, MadeUp(), QUIET)
        assert trained == ["aam", "full"]
        assert all("the loss is nan (to try again, remove" in one.failure for one in finished)
    (runs[0].folder / "outcome.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"outcome\.json: damaged"):
        do_runs(runs, MadeUp(), QUIET)


def test_what_another_process_has_in_hand_is_left_to_it_and_waited_for(
    quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, runs = planned(quick, tmp_path, "objective=aam,full", 1)
    trained: list[str] = []

    def diverges(recipe: object, folder: Path, *, console: Console) -> Path:
        trained.append(folder.parent.name)
        raise DivergenceError("the loss is nan")

    monkeypatch.setattr("voxangle.ablation.runs.train", diverges)
    runs[0].folder.mkdir(parents=True)
    with ExitStack() as other:
        assert other.enter_context(held(runs[0].folder / "in-hand.lock"))

        def ends(_seconds: float) -> None:
            assert trained == ["full"]
            (runs[0].folder / "outcome.json").write_text('{"state": "diverged", "message": "elsewhere"}')
            other.close()

        monkeypatch.setattr("voxangle.ablation.runs.time.sleep", ends)
        finished = do_runs(runs, MadeUp(), QUIET)
    assert trained == ["full"]
    assert [one.run for one in finished] == runs
    assert finished[0].failure.startswith("elsewhere")


def test_results_of_another_model_or_list_are_measured_again(
    quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (run,) = planned(quick, tmp_path, "objective=aam", 1)
    run.folder.mkdir(parents=True)
    (run.folder / "outcome.json").write_text('{"state": "trained", "model_sha256": "this"}')
    held_out = MadeUp(speakers=4)
    result = held_out.result(0.5, 1)
    path = run.folder / "evaluation" / "made-up" / "drawn.json"
    of_this = result.model_copy(update={"model": Model(name="aam", sha256="this")})
    of_this.write(path)
    (known,) = do_runs([run], held_out, QUIET)
    assert known.results[0].eer == of_this.eer

    monkeypatch.setattr("voxangle.ablation.runs.Embedder.load", lambda _folder: None)
    measured: list[Result] = []
    monkeypatch.setattr(held_out, "measure", lambda *_: measured.append(of_this) or [of_this])
    held_out.lists = {"drawn": "another list by now"}
    do_runs([run], held_out, QUIET)
    held_out.lists = {"drawn": of_this.trials_sha256}
    result.write(path)
    do_runs([run], held_out, QUIET)
    path.with_suffix(".parquet").unlink()
    do_runs([run], held_out, QUIET)
    assert len(measured) == 3


def test_two_variants_that_are_one_recipe_are_refused(quick: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'full' and '\\+margin' are one and the same recipe"):
        planned(quick, tmp_path, "objective=full,+margin", 1)


class Killed(BaseException):
    """As if the process had gone."""


def test_killed_at_any_moment_it_goes_on_to_the_same_table(
    quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Base(quick, ["training.checkpoint_every=1"])
    variants = make_variants(["objective=aam,full"], read_variants(), base)

    def table(out: Path) -> Ablation:
        runs = plan_runs(base, variants, 1, out)
        held_out = validation_trials({run.variant.name: run.recipe for run in runs}, QUIET)
        return make_table(base.recipe, runs, do_runs(runs, held_out, QUIET), held_out, replicates=100)

    whole = table(tmp_path / "whole")
    replace, written = Path.replace, 0

    def dies_at_every_seventh(self: Path, target: Path) -> Path:
        nonlocal written
        written += 1
        if written % 7 == 0:
            raise Killed
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", dies_at_every_seventh)
    killed, kills = None, 0
    while killed is None:
        try:
            killed = table(tmp_path / "killed")
        except Killed:
            kills += 1
            assert kills < 20
    assert kills >= 3
    assert killed.lists == whole.lists


def test_asked_to_stop_it_says_how_to_go_on(
    terminal: Terminal, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_given: object, **_named: object) -> Path:
        raise TrainingInterrupted(1, tmp_path)

    monkeypatch.setattr("voxangle.ablation.runs.train", stopped)
    code, _, err = terminal("ablate", quick, "--axes", "objective=aam", "--out", tmp_path / "out")
    assert code == 130
    assert "to go on: voxangle ablate" in err
    assert "--table" in err
