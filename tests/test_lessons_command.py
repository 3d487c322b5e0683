"""``voxangle evaluate`` with what it learns first: a mean, PLDA, a cohort, from a split of a corpus or from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result as Outcome
from typer.testing import CliRunner

from voxangle.cli import app
from voxangle.encoders import ECAPATDNNConfig, Embedder, ModelCard, build_encoder
from voxangle.errors import TrialError
from voxangle.features import Filterbank
from voxangle.runtime.archive import write_embeddings
from voxangle.scoring import PLDAScoring, Result, ScoreNormalisation, read_evaluation


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained encoder of three dimensions."""
    torch.manual_seed(0)
    encoder = ECAPATDNNConfig(
        architecture="ecapa_tdnn", channels=16, aggregation=24, squeeze=8, attention=8, dimension=3
    )
    card = ModelCard(name="untrained", encoder=encoder)
    folder = tmp_path_factory.mktemp("model")
    Embedder(Filterbank(card.filterbank), build_encoder(encoder).eval(), card).save(folder)
    return folder


@pytest.fixture
def corpus(tmp_path: Path, voices: Path) -> Path:
    """The made-up voices as a table: four speakers to learn from, two to test."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    keys = sorted(path.relative_to(voices).as_posix() for path in voices.rglob("*.wav"))
    rows = [f"{voices / key},{key},{key[:2]},{'train' if key < 's4' else 'eval'}\n" for key in keys]
    (folder / "utterances.csv").write_text("path,utterance,speaker,split\n" + "".join(rows))
    tested = [key for key in keys if key >= "s4"]
    pairs = [f"{int(a[:2] == b[:2])} {a} {b}\n" for i, a in enumerate(tested) for b in tested[:i]]
    (tmp_path / "late.txt").write_text("".join(pairs))
    (tmp_path / "early.txt").write_text(
        "1 s0/u0.wav s0/u1.wav\n0 s0/u0.wav s1/u0.wav\n1 s1/u0.wav s1/u1.wav\n"
    )
    return folder


@pytest.fixture
def evaluate(tmp_path: Path, corpus: Path, model: Path) -> Evaluate:
    return Evaluate(tmp_path, corpus, model)


class Evaluate:
    """Runs ``voxangle evaluate`` on a list of the corpus."""

    def __init__(self, folder: Path, corpus: Path, model: Path) -> None:
        self.folder = folder
        self.words = ["--model", model, "--corpus", "table", "--root", corpus, "--replicates", 100]

    def outcome(self, *words: object, trials: str = "late.txt") -> Outcome:
        own = ["--trials", self.folder / trials, "--out", self.folder / "out"]
        return CliRunner().invoke(app, ["evaluate", *map(str, [*self.words, *own, *words])])

    def __call__(self, *words: object) -> Result:
        done = self.outcome(*words)
        assert done.exit_code == 0, done.output
        (result,) = read_evaluation(self.folder / "out")
        return result

    def refusal(self, *words: object, trials: str = "late.txt") -> str:
        done = self.outcome(*words, trials=trials)
        assert isinstance(done.exception, TrialError), done.output
        return str(done.exception)


def test_all_that_can_be_learnt_is_learnt_from_a_split_and_the_protocol_says_so(evaluate: Evaluate) -> None:
    words = ["--subtract-mean", "train", "--plda", "train", "--norm", "as-norm", "--cohort", "train"]
    result = evaluate(*words, "--cohort-by", "utterance", "--cohort-top", 12)
    protocol = result.protocol
    assert isinstance(protocol.scoring, PLDAScoring)
    assert (protocol.scoring.speakers, protocol.scoring.utterances) == (4, 16)
    assert isinstance(protocol.normalisation, ScoreNormalisation)
    assert (protocol.normalisation.cohort, protocol.normalisation.top) == (16, 12)
    assert protocol.normalisation.source == "corpus/train"
    assert not isinstance(protocol.mean_subtraction, str)
    sums = {
        one.utterances_sha256 for one in (protocol.scoring, protocol.normalisation, protocol.mean_subtraction)
    }
    assert len(sums) == 1
    # The kept PLDA gives the same scores again.
    kept = evaluate.folder / "kept.plda"
    (evaluate.folder / "out" / "plda.plda").rename(kept)
    again = evaluate(*words, "--cohort-by", "utterance", "--cohort-top", 12, "--plda", kept)
    assert result.scores is not None
    assert again.scores is not None
    np.testing.assert_array_equal(result.scores.scores, again.scores.scores)


def test_a_cohort_may_be_what_embed_wrote(evaluate: Evaluate) -> None:
    random = np.random.default_rng(0)
    keys = [f"others/{i}.wav" for i in range(40)]
    path = evaluate.folder / "others.npz"
    write_embeddings(path, keys, random.normal(size=(40, 3)).astype(np.float32))
    norm = evaluate("--norm", "s-norm", "--cohort", path, "--cohort-by", "utterance").protocol.normalisation
    assert str(norm) == f"S-norm of a cohort of 40 utterances, from 40 embeddings of {path}"
    said = evaluate.refusal("--norm", "s-norm", "--cohort", path)
    assert "nothing says who speaks in 'others/0.wav' (40 of 40" in said
    said = evaluate.refusal("--norm", "as-norm", "--cohort", path, "--cohort-by", "utterance")
    assert "others.npz: the top 300 of a cohort of 40 utterances is asked for" in said
    assert "nothing says who speaks" in evaluate.refusal("--plda", path)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--subtract-mean", "train"], "the mean to subtract"),
        (["--plda", "train"], "PLDA"),
        (["--norm", "s-norm", "--cohort", "train"], "the cohort"),
    ],
)
def test_nothing_is_learnt_from_who_is_tested(evaluate: Evaluate, words: list[str], what: str) -> None:
    said = evaluate.refusal(*words, trials="early.txt")
    assert said.startswith("early: 2 of its 2 speakers, such as 's0', are also among those of " + what)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--norm", "s-norm"], "--norm belongs to --cohort"),
        (["--cohort", "train"], "--cohort belongs to --norm"),
        (
            ["--norm", "s-norm", "--cohort", "train", "--cohort-top", "20"],
            "--cohort-top belongs to --norm as-norm",
        ),
        (["--plda-lda", "2"], "--plda-lda belongs to --plda"),
        (["--mean-utterances", "2"], "--mean-utterances belongs to --subtract-mean"),
        (["--plda", "no.plda"], "no.plda: there is no such file"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    evaluate: Evaluate, words: list[str], message: str
) -> None:
    assert message in evaluate.refusal(*words)
