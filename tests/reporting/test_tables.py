from __future__ import annotations

from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from voxangle.data import Trials
from voxangle.reporting import calibrated_table, results_table
from voxangle.scoring import AveragedSplit, MeanSubtraction, Model, Result, evaluate
from voxangle.scoring.measure import remeasure


def toy_result(system: str, name: str) -> Result:
    keys = [f"{s}{u}" for s in "abcdef" for u in range(3)]
    generator = np.random.default_rng(0)
    embeddings = {key: generator.normal(size=4) for key in keys}
    pairs = [(a[0] == b[0], a, b) for i, a in enumerate(keys) for b in keys[i + 1 :]]
    return evaluate(embeddings, Trials.of(name, pairs), model=Model(name=system), replicates=20)


def printed(results: list[Result], width: int) -> str:
    console = Console(width=width, file=StringIO())
    console.print(results_table(results, title="Results"))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("width", [80, 100])
def test_every_figure_stands_whole_in_the_terminal(width: int) -> None:
    results = [toy_result("full objective", "speechocean762"), toy_result("AAM-softmax", "wuw [cleaned]")]
    text = printed(results, width)
    assert max(map(len, text.splitlines())) <= width
    for result in results:
        for words in (result.name, result.model.name, f"{100 * result.eer.value:.2f}"):
            assert words in text
        assert f"{100 * result.eer.low:.2f}-{100 * result.eer.high:.2f}" in text
        for cost in result.min_dcf:
            assert f"{cost.value:.3f}" in text
            assert f"{cost.low:.3f}-{cost.high:.3f}" in text
            assert f"p {cost.p_target:g}" in text
    assert "95 % interval" in text
    assert " 135 " in text


def test_a_long_name_folds_and_pushes_no_figure_out() -> None:
    result = toy_result(
        "a-system-with-a-very-long-name-indeed", "and-a-list-with-a-name-that-is-longer-still"
    )
    text = printed([result], 80)
    assert max(map(len, text.splitlines())) <= 80
    assert f"{result.min_dcf[1].low:.3f}-{result.min_dcf[1].high:.3f}" in text


def test_what_calibrated_scores_cost_stands_whole_in_the_terminal() -> None:
    plain = toy_result("full", "wuw")
    scores = plain.require_scores()
    believed = remeasure(
        plain,
        replace(scores, llrs=8 * scores.scores - 2),
        protocol=plain.protocol,
        model=plain.model,
        calibration="other trials",
        replicates=100,
    )
    costs = believed.calibrated
    assert costs is not None
    console = Console(width=80, file=StringIO())
    console.print(calibrated_table([believed, plain.model_copy(update={"name": "without"})]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 80
    for figure in (costs.cllr, *costs.act_dcf):
        assert f"{figure.value:.3f}" in text
        assert f"{figure.low:.3f}-{figure.high:.3f}" in text
    assert f"{costs.min_cllr:.3f}" in text
    assert "without" not in text


def test_a_list_on_which_a_mean_was_subtracted_is_marked() -> None:
    plain = toy_result("full", "cnceleb-average")
    centred = [
        plain.model_copy(update={"protocol": plain.protocol.model_copy(update={"mean_subtraction": mean})})
        for mean in (
            MeanSubtraction(
                corpora=(AveragedSplit(corpus="cnceleb1", split="train"),),
                utterances=1000,
                available=107_953,
                seed=0,
                utterances_sha256="ab",
            ),
            MeanSubtraction(file="mean.npz", utterances=7, available=7, utterances_sha256="cd"),
        )
    ]
    text = " ".join(printed([plain, *centred], 100).split())
    assert "cnceleb-average " in text
    assert "cnceleb-average* " in text
    assert "cnceleb-average** " in text
    assert "* Less the mean of 1,000 of 107,953 (drawn, seed 0) embeddings of cnceleb1/train." in text
    assert "** Less the mean of 7 embeddings of mean.npz." in text
