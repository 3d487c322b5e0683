"""``voxangle fuse``: systems that err differently err less together."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result as Outcome
from typer.testing import CliRunner

from voxangle.cli import app
from voxangle.errors import TrialError
from voxangle.metrics import cllr
from voxangle.scoring import Result, compare, read_evaluation


def voxangle(*words: object) -> Outcome:
    return CliRunner().invoke(app, [*map(str, words), "--replicates", "100"])


def evaluated(folder: Path, system: str, people: str, seed: int) -> Path:
    """Scores of a system on trials of some people, as ``evaluate --scores`` writes them."""
    keys = [f"{people}{speaker}/u{number}" for speaker in range(12) for number in range(4)]
    generator = np.random.default_rng(seed)
    pairs = [(a.split("/")[0] == b.split("/")[0], a, b) for i, a in enumerate(keys) for b in keys[:i]]
    trials, scores = folder / f"{people}.txt", folder / f"{system}-{people}.txt"
    trials.write_text("".join(f"{target:d} {a} {b}\n" for target, a, b in pairs))
    scores.write_text("".join(f"{a} {b} {target + 0.6 * generator.normal()}\n" for target, a, b in pairs))
    out = folder / system / people
    done = voxangle("evaluate", "--scores", scores, "--trials", trials, "--system", system, "--out", out)
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("systems")
    systems = (("one", "dev"), ("two", "dev"), ("one", "test"), ("two", "test"))
    return {
        f"{system} {people}": evaluated(folder, system, people, seed)
        for seed, (system, people) in enumerate(systems)
    }


def learning(folders: dict[str, Path], people: str = "dev") -> list[object]:
    return [word for system in ("one", "two") for word in ("--learn-from", folders[f"{system} {people}"])]


def test_a_fusion_is_better_than_its_systems_and_its_scores_are_ratios(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    tested = [folders["one test"], folders["two test"]]
    outcome = voxangle("fuse", *tested, *learning(folders), "--out", tmp_path / "fused")
    assert outcome.exit_code == 0, outcome.output
    assert "one + two" in outcome.output
    assert "note: The 12 speakers are groups of utterances" in outcome.output
    (fused,), (one,) = read_evaluation(tmp_path / "fused"), read_evaluation(tested[0])
    assert compare(fused, one, across_protocols=True, replicates=100).eer_interval.high < 0
    with pytest.raises(TrialError, match=r"scoring is 'fusion .* one .* two"):
        compare(fused, one)
    assert fused.scores is not None
    assert fused.calibrated is not None
    llrs = fused.scores.llrs
    assert llrs is not None
    assert fused.calibrated.cllr.value == cllr(llrs[fused.scores.target], llrs[~fused.scores.target])
    assert fused.calibrated.min_cllr <= fused.calibrated.cllr.value < 0.5
    assert fused.calibrated.cllr.low <= fused.calibrated.cllr.value <= fused.calibrated.cllr.high
    assert fused.calibrated.source == "logistic regression on the 1,128 trials of 'dev'"
    assert Result.read(tmp_path / "fused" / "test.json").model_dump() == fused.model_dump()


def test_nothing_is_fused_that_was_learnt_from(folders: dict[str, Path], tmp_path: Path) -> None:
    out = ["--out", tmp_path / "fused"]
    tested = [folders["one test"], folders["two test"]]
    outcome = voxangle("fuse", *tested, *learning(folders, "test"), *out)
    assert isinstance(outcome.exception, TrialError)
    assert "are also among those that the fusion was learnt from" in str(outcome.exception)
    assert not (tmp_path / "fused").exists()


def test_what_is_learnt_from_is_the_system_it_is_for(folders: dict[str, Path], tmp_path: Path) -> None:
    tested = [folders["two test"], folders["one test"]]
    outcome = voxangle("fuse", *tested, *learning(folders), "--out", tmp_path / "fused")
    assert isinstance(outcome.exception, TrialError)
    assert "is of 'two', but the --learn-from in its place is of 'one'; give them in one order" in str(
        outcome.exception
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["one test"], "two systems or more"),
        (["one test", "two dev"], "no list in common"),
        (["one test", "two test", "one dev"], "here are 3 FOLDER and 2 --learn-from"),
    ],
)
def test_what_cannot_be_fused_is_refused(
    folders: dict[str, Path], tmp_path: Path, words: list[str], said: str
) -> None:
    tested = [folders[word] for word in words]
    outcome = voxangle("fuse", *tested, *learning(folders), "--out", tmp_path / "fused")
    assert isinstance(outcome.exception, TrialError), outcome.output
    assert said in str(outcome.exception)


def test_the_list_to_learn_from_is_named_where_there_are_several(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    both = {}
    for system in ("one", "two"):
        both[f"{system} dev"] = tmp_path / system
        for people in ("dev", "test"):
            shutil.copytree(folders[f"{system} {people}"], tmp_path / system, dirs_exist_ok=True)
    tested = [folders["one test"], folders["two test"]]
    words = ["fuse", *tested, *learning(both), "--out", tmp_path / "fused"]
    outcome = voxangle(*words)
    assert "holds several lists; name one with --learn-list: dev, test" in str(outcome.exception)
    outcome = voxangle(*words, "--learn-list", "dve")
    assert "has no list 'dve'; did you mean 'dev'" in str(outcome.exception)
    assert voxangle(*words, "--learn-list", "dev").exit_code == 0
