from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from tests.reporting.toys import Page, toy_result
from voxangle.errors import TrialError
from voxangle.metrics import act_dcf, min_dcf
from voxangle.reporting import cost_chart, det_chart, reliability_chart, score_chart
from voxangle.reporting.drawing import Axes, Drawing, Key, series, ticks_between
from voxangle.reporting.forest import Forest, Span
from voxangle.scoring import Result, TrialScores


def scores_of(result: Result) -> TrialScores:
    assert result.scores is not None
    return result.scores


def points(drawing: Drawing, css: str) -> np.ndarray:
    """The vertices of the first path of a class, in the frame's units."""
    found = re.search(f'<path class="{css}" d="M([^"]*?)Z?"', drawing.body)
    assert found
    return np.array([[float(one) for one in point.split()] for point in found[1].split("L")])


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(3, 8))
def test_ticks_are_round_within_and_few(low: float, span: float, most: int) -> None:
    ticks = ticks_between(low, low + span, most)
    assert len(ticks) <= most
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    steps = np.diff(ticks)
    if steps.size:
        leading = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
        assert min(abs(leading - one) for one in (1, 2, 5)) < 1e-6
        np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


def test_a_drawing_tells_in_words_what_it_shows_and_cuts_off_what_is_outside() -> None:
    axes = Axes((0, 1), (0, 10))
    axes.x_ticks([0, 1], ["none", "<all>"], "x & y")
    axes.line([0, 1], [0, 10], "line s0")
    drawing = Drawing(344, 336, axes.svg(), "caption", 'a "line"', [Key("the <key>", "s0")])
    page = Page(drawing.html())
    assert page.open == []
    assert page.drawn_bare == []
    assert ("aria-label", 'a "line"') in page.attributes
    assert "the <key>" in page.text
    assert "x & y" in page.text
    np.testing.assert_allclose(points(drawing, "line s0"), [[0, axes.height], [axes.width, 0]])
    assert (
        f'<svg x="{axes.left:g}" y="{axes.top:g}" width="{axes.width:g}" height="{axes.height:g}">'
        in drawing.body
    )


def test_twelve_series_differ_in_colour_or_dashes() -> None:
    assert len({series(number) for number in range(12)}) == 12


def test_the_det_curve_lies_on_probit_axes() -> None:
    result = toy_result(noise=1.5)
    drawing = det_chart({"toy": result})
    low, high = (norm.ppf(rate) for rate in (0.001, 0.6 if result.eer.value < 0.3 else 0.99))
    curve = points(drawing, "line s0 d0")
    fpr, fnr = (norm.cdf(low + (high - low) * side) for side in (curve[:, 0] / 280, 1 - curve[:, 1] / 290))
    trials = scores_of(result)
    thresholds = [*np.unique(trials.scores), np.inf]
    for one_fpr, one_fnr in zip(fpr, fnr, strict=True):
        apart = [
            abs(np.mean(trials.of_targets < t) - one_fnr) + abs(np.mean(trials.of_nontargets >= t) - one_fpr)
            for t in thresholds
        ]
        assert min(apart) < 2e-3
    dot = re.search('<circle class="dot s0 d0" cx="([^"]*)" cy="([^"]*)"', drawing.body)
    assert dot
    assert float(dot[1]) / 280 == pytest.approx((norm.ppf(result.eer.value) - low) / (high - low), abs=2e-3)
    assert float(dot[1]) / 280 == pytest.approx(1 - float(dot[2]) / 290, abs=1e-3)
    assert f"EER {100 * result.eer.value:.2f} %" in drawing.description


def test_more_than_three_curves_have_no_bands() -> None:
    results = {f"s{number}": toy_result(noise=1.5, seed=number) for number in range(4)}
    assert det_chart(dict(list(results.items())[:3])).body.count('class="band') == 3
    four = det_chart(results)
    assert four.body.count('class="band') == 0
    assert "Bands" not in four.caption
    assert [key.css for key in four.keys] == [series(number) for number in range(4)]


def test_a_million_scores_make_a_light_curve() -> None:
    generator = np.random.default_rng(0)
    target = np.arange(300_000) % 10 == 0
    values = generator.normal(size=target.size).astype(np.float32) + 2 * target.astype(np.float32)
    result = toy_result(noise=1.5)
    speakers = np.zeros(target.size, np.int64)
    trials = TrialScores(values, target, ("a", "b"), speakers, np.where(target, 0, 1), np.array([0, 1]))
    drawing = det_chart({f"s{n}": result.model_copy(update={"scores": trials}) for n in range(4)})
    assert len(drawing.body) < 4 * 25_000


def test_each_class_of_the_histogram_has_area_one_and_the_threshold_stands_where_it_is() -> None:
    result = toy_result(noise=1.5)
    drawing = score_chart(result)
    tops = []
    for css, values in (
        ("line s1", scores_of(result).of_nontargets),
        ("line s0", scores_of(result).of_targets),
    ):
        outline = points(drawing, css)
        area = np.sum(np.diff(outline[:, 0]) * (290 - outline[1:, 1]))
        tops.append(area)
        heights, _ = np.histogram(
            values, np.histogram_bin_edges(scores_of(result).scores, bins=48), density=True
        )
        shown = 290 - outline[1:-1:2, 1]
        np.testing.assert_allclose(shown / shown.max(), heights / heights.max(), atol=5e-3)
    assert tops[0] == pytest.approx(tops[1], rel=5e-3)
    low, high = float(scores_of(result).scores.min()), float(scores_of(result).scores.max())
    place = points(drawing, "line plain d1")[0, 0]
    assert low + (high - low) * place / 308 == pytest.approx(result.eer.threshold, abs=2e-3)
    assert f"{result.eer.threshold:.3f}" in drawing.description


def test_equal_scores_make_a_picture_too() -> None:
    result = toy_result()
    same = replace(scores_of(result), scores=np.full_like(scores_of(result).scores, 0.5))
    flat = result.model_copy(update={"scores": same})
    for drawing in (score_chart(flat), det_chart({"flat": flat})):
        assert "nan" not in drawing.html()


def test_reliability_states_what_the_bins_hold() -> None:
    result = toy_result(speakers=16, noise=1.5, calibrated=True)
    drawing, details = reliability_chart(result)
    trials = scores_of(result)
    assert trials.llrs is not None
    (table,) = details.blocks
    targets, nontargets = int(trials.target.sum()), int((~trials.target).sum())
    rows = table.rows  # type: ignore[attr-defined]
    counts = [[int(one.replace(",", "")) for one in row[3].split("\n")] for row in rows]
    assert np.sum(counts, axis=0).tolist() == [targets, nontargets]
    for row, (a, b) in zip(rows, counts, strict=True):
        seen = math.log((a + 0.5) / (targets + 1) / ((b + 0.5) / (nontargets + 1)))
        assert float(row[2].split("\n")[0].replace("\N{MINUS SIGN}", "-")) == pytest.approx(seen, abs=0.006)
        low, high = (float(end.replace("\N{MINUS SIGN}", "-")) for end in row[0].split(" to "))
        stated = float(row[1].replace("\N{MINUS SIGN}", "-"))
        assert low - 0.06 <= stated <= high + 0.06
    hollow = drawing.body.count('class="hollow')
    assert hollow == sum(min(count) == 0 for count in counts)


def test_perfectly_calibrated_ratios_lie_on_the_diagonal() -> None:
    # Normal scores of unit variance, means +d/2 and -d/2: d x score is their log-likelihood ratio.
    generator = np.random.default_rng(0)
    target = np.arange(40_000) < 20_000
    values = generator.normal(size=target.size) + np.where(target, 1.0, -1.0)
    speaker = np.arange(400)
    enrol = np.arange(target.size) % 400
    test = np.where(target, enrol, (enrol + 1 + np.arange(target.size) // 400) % 400)
    test = np.where(~target & (test == enrol), (enrol + 7) % 400, test)
    trials = TrialScores(
        values.astype(np.float32),
        target,
        tuple(map(str, speaker)),
        enrol,
        test,
        speaker,
        llrs=(2 * values).astype(np.float32),
    )
    _, details = reliability_chart(toy_result().model_copy(update={"scores": trials}))
    for row in details.blocks[0].rows:  # type: ignore[attr-defined]
        stated, seen = (float(row[i].split("\n")[0].replace("\N{MINUS SIGN}", "-")) for i in (1, 2))
        if abs(stated) < 4:
            assert seen == pytest.approx(stated, abs=0.25)


def test_the_costs_are_those_of_the_metrics() -> None:
    result = toy_result(speakers=12, noise=1.5, calibrated=True)
    drawing = cost_chart(result)
    trials = scores_of(result)
    assert trials.llrs is not None
    target, nontarget = trials.llrs[trials.target], trials.llrs[~trials.target]
    for css, cost in (
        ("line s0", lambda p: min_dcf(target, nontarget, p_target=p).rate),
        ("line s1 d1", lambda p: act_dcf(target, nontarget, p_target=p)),
    ):
        for x, y in points(drawing, css)[4::12]:
            prior = 1 / (1 + math.exp(-(-7 + 14 * x / 280)))
            expected = cost(prior)
            if expected < 1.2:
                assert 1.25 * (1 - y / 290) == pytest.approx(expected, abs=0.02)
    assert "at 0.01 actual" in drawing.description


def test_what_cannot_be_drawn_says_why() -> None:
    bare = toy_result().model_copy(update={"scores": None})
    for draw in (lambda r: det_chart({"toy": r}), score_chart, reliability_chart, cost_chart):
        with pytest.raises(TrialError, match=r"list: the result of 'toy' was read without its scores"):
            draw(bare)
    for draw in (reliability_chart, cost_chart):
        with pytest.raises(ValueError, match="not calibrated"):
            draw(toy_result())


def test_intervals_of_a_forest_share_one_scale_and_arrows_say_where_one_goes_on() -> None:
    from voxangle.metrics import Interval

    spans = [Span(1, Interval(0, 2)), Span(2, Interval(1, 4)), Span(1.5, Interval(-50, 90)), None]
    rows = [[name, "figure", "more"] for name in "abcd"]
    html = Forest("caption", ["name", "value", "more"], rows, spans, 1.0, "units").html()
    page = Page(html)
    assert page.open == []
    assert page.drawn_bare == []
    drawn = re.findall(r'<path class="line s0" d="M([\d.]+) 12H([\d.]+)(\S*)', html)
    ends = [(float(left), float(right)) for left, right, _ in drawn]
    assert len(ends) == 3
    unit = (ends[0][1] - ends[0][0]) / 2
    assert ends[1][1] - ends[1][0] == pytest.approx(3 * unit, abs=0.2)
    assert ends[1][0] - ends[0][0] == pytest.approx(unit, abs=0.2)
    assert all(0 <= end <= 112 for pair in ends for end in pair)
    assert html.count("l-4 4l4 4") == html.count("l4 4l-4 4") == 1
    assert page.tags.count("tr") == 5
