"""``voxangle evaluate --scores``: what another program scored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result as Outcome
from typer.testing import CliRunner

from voxangle.cli import app
from voxangle.errors import TrialError
from voxangle.metrics import eer, min_dcf
from voxangle.scoring import Result, compare, read_evaluation

KEYS = [f"s{speaker}/u{number}.wav" for speaker in range(6) for number in range(4)]
PAIRS = [(a[:2] == b[:2], a, b) for i, a in enumerate(KEYS) for b in KEYS[:i]]


def voxangle(*words: object) -> Outcome:
    return CliRunner().invoke(app, ["evaluate", "--replicates", "100", *map(str, words)])


def refusal(*words: object) -> str:
    outcome = voxangle(*words)
    assert isinstance(outcome.exception, TrialError), outcome.output
    return str(outcome.exception)


@pytest.fixture
def trials(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.txt"
    path.write_text("".join(f"{target:d} {a} {b}\n" for target, a, b in PAIRS))
    return path


def scores(path: Path, noise: float) -> Path:
    generator = np.random.default_rng(int(10 * noise))
    lines = [f"{a} {b} {target + noise * generator.normal():.5f}\n" for target, a, b in PAIRS]
    path.write_text("".join(lines[::-1]))
    return path


def table_corpus(folder: Path) -> Path:
    """A corpus of which only the descriptions are there: scores need no audio."""
    rows = [f"{key},{key},{key[:2]},eval,{key[-5]},{'fm'[int(key[1]) % 2]}\n" for key in KEYS]
    header = "path,utterance,speaker,split,session,gender\n"
    (folder / "utterances.csv").write_text(header + "".join(rows))
    return folder


def test_given_scores_are_measured(trials: Path, tmp_path: Path) -> None:
    path = scores(tmp_path / "rival.txt", 0.5)
    outcome = voxangle("--scores", path, "--trials", trials)
    assert outcome.exit_code == 0, outcome.output
    assert "rival" in outcome.output
    (result,) = read_evaluation(tmp_path / "rival-evaluation")
    given = {tuple(line.split()[:2]): float(line.split()[2]) for line in path.read_text().splitlines()}
    target, other = ([given[a, b] for is_target, a, b in PAIRS if is_target == one] for one in (True, False))
    assert result.eer.value == eer(target, other).rate
    assert result.model.name == "rival"
    assert result.protocol.scoring == "as given"
    assert result.protocol.normalisation == result.protocol.mean_subtraction == "not known"
    assert result.counts.speakers == 6


def test_a_corpus_says_who_speaks_and_in_which_condition(trials: Path, tmp_path: Path) -> None:
    path = scores(tmp_path / "rival.txt", 0.5)
    words = ["--scores", path, "--trials", trials, "--corpus", "table", "--root", table_corpus(tmp_path)]
    outcome = voxangle(*words, "--conditions", "--system", "the rival", "--out", tmp_path / "e")
    assert outcome.exit_code == 0, outcome.output
    assert "cross gender" in outcome.output
    result = Result.read(tmp_path / "e" / "pairs.json")
    assert result.model.name == "the rival"
    assert result.intervals.speakers_from == "corpus"
    assert result.scores is not None
    assert set(result.scores.speakers) == {f"s{number}" for number in range(6)}
    assert result.scores.session is not None
    assert {"same gender", "cross gender"} <= set(result.scores.conditions)


def test_two_programs_are_compared_by_their_scores(trials: Path, tmp_path: Path) -> None:
    for name, noise in (("good", 0.3), ("bad", 0.9)):
        path = scores(tmp_path / f"{name}.txt", noise)
        assert voxangle("--scores", path, "--trials", trials, "--out", tmp_path / name).exit_code == 0
    (good,), (bad,) = (read_evaluation(tmp_path / name) for name in ("good", "bad"))
    assert compare(good, bad, replicates=100).eer_interval.high < 0


def test_what_cannot_be_measured_is_refused(trials: Path, tmp_path: Path) -> None:
    path = scores(tmp_path / "rival.txt", 0.5)
    other = tmp_path / "other.txt"
    other.write_text("".join(trials.read_text().splitlines(keepends=True)[:20]))
    words = ["--scores", path, "--trials"]
    assert "of one list; here are 2: pairs, other" in refusal(*words, trials, "--trials", other)
    assert "are no trial of 'other'" in refusal(*words, other)
    said = refusal(*words, trials, "--subtract-mean", "mean.npz")
    assert "--subtract-mean and --scores" in said
    assert "--system belongs to --scores" in refusal("--system", "x", "--trials", trials)
    assert not list(tmp_path.glob("*evaluation"))


def test_a_list_that_repeats_trials_is_measured_only_where_that_is_allowed(
    trials: Path, tmp_path: Path
) -> None:
    path = scores(tmp_path / "rival.txt", 0.5)
    trials.write_text(trials.read_text() + f"0 {KEYS[5]} {KEYS[0]}\n")
    assert "lines 11 and 277" in refusal("--scores", path, "--trials", trials)
    outcome = voxangle("--scores", path, "--trials", trials, "--repeated-trials", "--out", tmp_path / "e")
    assert outcome.exit_code == 0, outcome.output
    assert json.loads((tmp_path / "e" / "pairs.json").read_text())["counts"]["trials"] == len(PAIRS) + 1


def test_scores_that_differ_by_little_are_told_apart(trials: Path, tmp_path: Path) -> None:
    path = scores(tmp_path / "rival.txt", 0.5)
    lines = [line.split() for line in path.read_text().splitlines()]
    path.write_text("".join(f"{a} {b} {1 + 1e-9 * float(score):.15f}\n" for a, b, score in lines))
    assert voxangle("--scores", path, "--trials", trials).exit_code == 0
    close = Result.read(tmp_path / "rival-evaluation" / "pairs.json")
    path.write_text("".join(f"{a} {b} {score}\n" for a, b, score in lines))
    assert voxangle("--scores", path, "--trials", trials).exit_code == 0
    plain = Result.read(tmp_path / "rival-evaluation" / "pairs.json")
    assert close.eer.value == plain.eer.value > 0


def test_sessions_are_drawn_where_they_are_known(trials: Path, tmp_path: Path) -> None:
    path = scores(tmp_path / "rival.txt", 0.5)
    words = ["--scores", path, "--trials", trials]
    corpus = ["--corpus", "table", "--root", table_corpus(tmp_path)]
    units = {}
    for name, more in (("plain", []), ("sessions", ["--draw-sessions"])):
        outcome = voxangle(*words, *corpus, *more, "--out", tmp_path / name)
        assert outcome.exit_code == 0, outcome.output
        result = Result.read(tmp_path / name / "pairs.json")
        units[result.intervals.unit] = result.eer
    assert set(units) == {"speaker", "speaker and session"}
    assert units["speaker"].value == units["speaker and session"].value
    assert units["speaker"] != units["speaker and session"]
    assert "--draw-sessions belongs to --corpus" in refusal(*words, "--draw-sessions")
    table = tmp_path / "utterances.csv"
    table.write_text("\n".join(line.rsplit(",", 2)[0] for line in table.read_text().split("\n")))
    assert "no sessions to draw are known" in refusal(*words, *corpus, "--draw-sessions")


def test_priors_are_asked_for_and_travel_with_the_result(trials: Path, tmp_path: Path) -> None:
    path = scores(tmp_path / "rival.txt", 0.5)
    words = ["--scores", path, "--trials", trials, "--llrs", "--out", tmp_path / "e"]
    outcome = voxangle(*words, "--prior", "0.5", "--prior", "0.02", "--prior", "0.5")
    assert outcome.exit_code == 0, outcome.output
    result = Result.read(tmp_path / "e" / "pairs.json")
    assert result.protocol.p_targets == (0.02, 0.5)
    assert [cost.p_target for cost in result.min_dcf] == [0.02, 0.5]
    assert result.scores is not None
    assert result.scores.llrs is not None
    at_half = min_dcf(result.scores.of_targets, result.scores.of_nontargets, p_target=0.5)
    assert result.min_dcf[1].value == at_half.rate
    assert result.calibrated is not None
    assert [cost.p_target for cost in result.calibrated.act_dcf] == [0.02, 0.5]
    assert "p 0.02" in outcome.output
    assert "p 0.02" in (tmp_path / "e" / "report.html").read_text()
    for prior in ("0", "1", "nan"):
        assert f"--prior {prior}: the prior of a target trial lies between" in refusal(
            *words, "--prior", prior
        )


def test_a_folder_of_other_priors_is_told(trials: Path, tmp_path: Path) -> None:
    path = scores(tmp_path / "rival.txt", 0.5)
    again = trials.rename(tmp_path / "again.txt")
    words = ["--scores", path, "--out", tmp_path / "e", "--trials"]
    assert "another protocol" not in voxangle(*words, again).output
    trials.write_text(again.read_text())
    assert "another protocol: again" in voxangle(*words, trials, "--prior", "0.2").output


def test_a_model_beside_scores_is_refused_but_not_that_of_the_environment(
    trials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--scores", scores(tmp_path / "rival.txt", 0.5), "--trials", trials]
    assert "--model and --scores" in refusal(*words, "--model", tmp_path)
    monkeypatch.setenv("VOXANGLE_MODEL", str(tmp_path))
    assert voxangle(*words).exit_code == 0
