"""What scores look like: DET curves, histograms, calibration; drawn for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxangle.metrics import SortedScores, act_dcf
from voxangle.reporting.drawing import Axes, Drawing, Key, series, ticks_between
from voxangle.reporting.page import Details, Table
from voxangle.reporting.resampled import counts_by_draw, det_band
from voxangle.reporting.wording import MINUS, per_cent
from voxangle.scoring import Result, TrialScores

__all__ = ["cost_chart", "det_chart", "llrs_of", "reliability_chart", "score_chart"]

_DRAWS = 400  # of speakers, for a band
_TARGET, _NONTARGET = "s0", "s1"
_RATES = (0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)
_NORMAL = NormalDist()
_DEVIATES = np.linspace(-5, 5, 4001)
_PROBABILITIES = np.array([_NORMAL.cdf(z) for z in _DEVIATES])
_BANDED_AT_MOST = 3  # curves; the bands of more hide each other
_BINS = 12
_LOG_ODDS = np.linspace(-7, 7, 113)


def det_chart(systems: Mapping[str, Result], *, seed: int = 0) -> Drawing:
    """DET curves of systems on one list: FNR over FPR on probit axes, EER points marked.

    Around each of up to three curves lies a band: at each FPR by itself, the 95 % of draws of speakers in the middle.

    Source: Martin et al. 1997, "The DET curve in assessment of detection task performance".

    Args:
        systems: results with their scores, by what to call them.
        seed: of the draws.

    Raises:
        TrialError: a result has no scores because it was read from a file without them.
    """
    rates = [result.eer.value for result in systems.values()]
    low, high = (0.001 if min(rates) > 0.01 else 0.0001), (0.6 if max(rates) < 0.3 else 0.99)
    limits = (float(_probit(low)), float(_probit(high)))
    axes = Axes(limits, limits)
    ticks = [rate for rate in _RATES if low <= rate <= high]
    names = [f"{100 * rate:g}" for rate in ticks]
    axes.x_ticks(_probit(ticks), names, "non-target trials accepted (FPR), %")
    axes.y_ticks(_probit(ticks), names, "target trials rejected (FNR), %")
    axes.line(limits, limits, "grid")
    banded = len(systems) <= _BANDED_AT_MOST
    places = np.linspace(*limits, 61)
    fpr = np.interp(places, _DEVIATES, _PROBABILITIES)
    keys = []
    for number, (name, result) in enumerate(systems.items()):
        trials, css = result.require_scores(), series(number)
        if banded:
            least, most = det_band(trials, fpr, draws=_DRAWS, seed=seed)
            axes.between(places, _probit(least), _probit(most), f"band {css}")
        _, fnr, alarms = SortedScores.of(trials.of_targets, trials.of_nontargets).det_curve()
        curve = _thinned(np.stack([_probit(alarms), _probit(fnr)]))
        axes.line(curve[0], curve[1], f"line {css}")
        point = _probit(result.eer.value)
        axes.dots(point, point, f"dot {css}")
        keys.append(
            Key(f"{name}, EER {per_cent(result.eer.value)} %", css, Key.BANDED if banded else Key.LINE)
        )
    told = "; ".join(f"{name}: {_det_in_words(result)}" for name, result in systems.items())
    band = (
        f" Bands: at each FPR by itself, where the curves of 95 % of {_DRAWS} draws of speakers lie (seed {seed})."
        if banded
        else ""
    )
    return Drawing(
        344,
        336,
        axes.svg(),
        f"DET curve: misses against false alarms at every threshold; the dot is the equal error rate.{band}",
        f"DET curves. {told}.",
        keys,
    )


def score_chart(result: Result, system: str = "") -> Drawing:
    """Histogram of the target and of the non-target scores, each of area 1, and the threshold at the EER.

    Args:
        result: with its scores.
        system: whose scores these are, where a page shows those of several.

    Raises:
        TrialError: the result has no scores because it was read from a file without them.
    """
    trials = result.require_scores()
    edges = np.histogram_bin_edges(trials.scores, bins=48)
    if edges[0] == edges[-1]:
        edges = np.linspace(edges[0] - 0.5, edges[0] + 0.5, 49)
    classes = (
        ("non-target", trials.of_nontargets, _NONTARGET, Key.HATCH),
        ("target", trials.of_targets, _TARGET, Key.AREA),
    )
    heights = [np.histogram(values, edges, density=True)[0] for _, values, _, _ in classes]
    top = 1.06 * max(float(of_class.max()) for of_class in heights)
    limits = (float(edges[0]), float(edges[-1]))
    axes = Axes(limits, (0, top), left=24, width=308)
    ticks = ticks_between(*limits)
    axes.x_ticks(ticks, [_number(tick) for tick in ticks], "score")
    axes.y_ticks([], [], "density, each class by itself")
    for (_, _, css, mark), of_class in zip(classes, heights, strict=True):
        axes.bars(edges, of_class, css, hatch=mark is Key.HATCH)
    threshold = result.eer.threshold
    axes.line([threshold, threshold], [0, top], "line plain d1")
    keys = [Key(f"{name} ({values.size:,})", css, mark) for name, values, css, mark in classes]
    keys.append(
        Key(f"threshold {threshold:.3f}: FNR = FPR = {per_cent(result.eer.value)} %", "plain d1", Key.LINE)
    )
    told = ", ".join(
        f"{name} median {np.median(values):.3f}, 5 % below {np.quantile(values, 0.05):.3f}, 5 % above "
        f"{np.quantile(values, 0.95):.3f}"
        for name, values, _, _ in classes
    )
    return Drawing(
        344,
        336,
        axes.svg(),
        f"{f'{system}: scores' if system else 'Scores'} of both classes, each of area 1; any threshold in their "
        "overlap errs.",
        f"Histogram of scores{f' of {system}' if system else ''}: {told}; the threshold of the EER is {threshold:.3f}.",
        keys,
    )


def reliability_chart(result: Result, *, seed: int = 0) -> tuple[Drawing, Details]:
    r"""Whether log-likelihood ratios say what they are: those stated against those seen, and the trials behind each.

    Trials are sorted into bins of equal width by their stated ratio. Seen in a bin that holds :math:`a` of :math:`N_1`
    target and :math:`b` of :math:`N_0` non-target trials is
    :math:`\ln \frac{(a + 1/2) / (N_1 + 1)}{(b + 1/2) / (N_0 + 1)}`, the halves so that a bin of one class alone has a
    finite one; on the diagonal a system is calibrated.

    Raises:
        TrialError: the result has no scores because it was read from a file without them.
        ValueError: they are not calibrated.
    """
    trials = result.require_scores()
    llrs = llrs_of(trials)
    reach = max(1.0, math.ceil(float(np.quantile(np.abs(llrs), 0.99))))
    edges = np.linspace(-reach, reach, _BINS + 1)
    counts = counts_by_draw(trials, llrs, edges[1:-1], draws=_DRAWS, seed=seed)
    sides = [side + 0.5 for side in (counts.target, counts.nontarget)]
    sums = [side.sum(axis=1, keepdims=True) + 1 for side in (counts.target, counts.nontarget)]
    seen = np.log(sides[0] / sums[0] / (sides[1] / sums[1]))
    target, nontarget = counts.target[0].astype(int), counts.nontarget[0].astype(int)
    filled = np.flatnonzero(target + nontarget)
    bin_of = np.searchsorted(edges[1:-1], llrs, side="right")
    stated = np.array([np.clip(llrs[bin_of == i].mean(dtype=np.float64), -reach, reach) for i in filled])
    low, high = np.quantile(seen[1:, filled], (0.025, 0.975), axis=0)
    both = (target[filled] > 0) & (nontarget[filled] > 0)
    estimate = seen[0, filled]

    least, most = math.floor(min(low.min(), -1.0)), math.ceil(max(high.max(), 1.0))
    axes = Axes((-reach, reach), (least, most), height=210)
    ticks = ticks_between(-reach, reach)
    axes.x_ticks(ticks, [""] * len(ticks))
    upright = ticks_between(least, most)
    axes.y_ticks(upright, map(_number, upright), "log-likelihood ratio seen")
    axes.line([-reach, reach], [-reach, reach], "line quiet d1")
    axes.uprights(stated, low, high, "line s0")
    axes.dots(stated[both], estimate[both], "dot s0")
    axes.dots(stated[~both], estimate[~both], "hollow s0")
    shares = [side / side.sum() for side in (target, nontarget)]
    top = 1.1 * max(float(share.max()) for share in shares)
    below = Axes((-reach, reach), (0, top), top=axes.top + axes.height + 14, height=66)
    below.x_ticks(ticks, map(_number, ticks), "log-likelihood ratio stated")
    below.y_ticks([], [], "trials")
    below.bars(edges, shares[1], _NONTARGET, hatch=True)
    below.bars(edges, shares[0], _TARGET, hatch=False)

    rows = [
        [
            f"{edges[i]:+.1f} to {edges[i + 1]:+.1f}".replace("-", MINUS),
            f"{one:+.2f}".replace("-", MINUS),
            f"{estimate[place]:+.2f}\n{low[place]:+.2f} to {high[place]:+.2f}".replace("-", MINUS),
            f"{target[i]:,}\n{nontarget[i]:,}",
        ]
        for place, (i, one) in enumerate(zip(filled, stated, strict=True))
    ]
    drawing = Drawing(
        344,
        336,
        axes.svg() + below.svg(),
        "Reliability: on the dashed line, ratios (natural logarithms) say what they are. Uprights: 95 % of "
        f"{_DRAWS} draws of speakers (seed {seed}). A hollow mark has trials of one class alone: only a bound. Below, "
        "the share of each class in a bin; what is beyond either end stands in the last bin.",
        "Reliability diagram: "
        + "; ".join(
            f"stated {one:+.1f}, seen {value:+.1f} in {target[i]:,} target and {nontarget[i]:,} non-target trials"
            for i, one, value in zip(filled, stated, estimate, strict=True)
        )
        + ".",
        [
            Key("stated and seen, a bin", "s0", '<circle class="dot {}" cx="15" cy="6" r="5"/>'),
            *(
                [Key("one class alone", "s0", '<circle class="hollow {}" cx="15" cy="6" r="4.5"/>')]
                if not both.all()
                else []
            ),
            Key("target", _TARGET, Key.AREA),
            Key("non-target", _NONTARGET, Key.HATCH),
        ],
    )
    table = Table(
        "Ratios stated and seen, a row a bin; the bins at both ends hold all beyond.",
        ["bin", "stated,\nmean", "seen", "target\nnon-target"],
        rows,
    )
    return drawing, Details("The bins as a table", [table])


def cost_chart(result: Result) -> Drawing:
    """Detection cost over the prior: actual, with the threshold that the ratios' meaning asks for, and least possible.

    Normalised, costs 1; 1 is the cost of deciding without listening. What lies between the two lines is lost by
    calibration.

    Raises:
        TrialError: the result has no scores because it was read from a file without them.
        ValueError: they are not calibrated.
    """
    trials = result.require_scores()
    llrs = llrs_of(trials)
    ordered = SortedScores.of(llrs[trials.target], llrs[~trials.target])
    told = (*result.protocol.p_targets, 0.5)
    odds = np.union1d(_LOG_ODDS, [_log_odds(p) for p in told])
    costs = {
        place: _costs(llrs, trials.target, ordered, 1 / (1 + math.exp(-place))) for place in odds.tolist()
    }
    actual, least = zip(*costs.values(), strict=True)
    axes = Axes((float(odds[0]), float(odds[-1])), (0, 1.25))
    shown = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)
    axes.x_ticks([_log_odds(p) for p in shown], [f"{p:g}" for p in shown], "prior of a target trial")
    axes.y_ticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"], "normalised detection cost")
    axes.line(axes.x_limits, [1, 1], "line quiet d3")
    axes.line(odds, least, "line s0")
    axes.line(odds, actual, "line s1 d1")
    for prior in result.protocol.p_targets:
        place = _log_odds(prior)
        axes.line([place, place], [0, 1.25], "thin quiet")
        axes.dots(place, costs[place][1], "dot s0", 4)
        axes.dots(place, costs[place][0], "dot s1", 4)
    words = "; ".join("at {:g} actual {:.3f}, least {:.3f}".format(p, *costs[_log_odds(p)]) for p in told)
    return Drawing(
        344,
        336,
        axes.svg(),
        "Detection cost by prior (costs 1): what lies between the lines is lost by calibration. Dots: the priors of "
        "the table.",
        f"Detection cost by prior: {words}.",
        [
            Key("actual, at the threshold the prior asks for", "s1 d1"),
            Key("least, at the best threshold", "s0"),
            Key("deciding without listening", "quiet d3"),
        ],
    )


def _log_odds(prior: float) -> float:
    return math.log(prior / (1 - prior))


def _costs(
    llrs: NDArray[np.floating[Any]], target: NDArray[np.bool_], ordered: SortedScores, prior: float
) -> tuple[float, float]:
    """Actual and least cost at a prior."""
    actual = act_dcf(llrs[target], llrs[~target], p_target=prior)
    return actual, ordered.min_dcf(p_target=prior).rate


def llrs_of(trials: TrialScores) -> NDArray[np.floating[Any]]:
    """The log-likelihood ratios of trials.

    Raises:
        ValueError: they have none, because their scores are not calibrated.
    """
    if trials.llrs is None:
        raise ValueError("the scores are not calibrated")
    return trials.llrs


def _det_in_words(result: Result) -> str:
    trials = result.require_scores()
    ordered = SortedScores.of(trials.of_targets, trials.of_nontargets)
    points = ", ".join(
        f"{per_cent(ordered.at_fpr(rate).rate)} % missed at {100 * rate:g} % false alarms"
        for rate in (0.001, 0.01, 0.1)
    )
    return f"EER {per_cent(result.eer.value)} %, {points}"


def _probit(probabilities: float | Sequence[float] | NDArray[Any]) -> NDArray[np.float64]:
    # Rates of 0 and 1 land at -5 and 5 deviates, outside every drawing.
    return np.asarray(np.interp(probabilities, _PROBABILITIES, _DEVIATES))


def _thinned(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    # Vertices nearer than half a unit of the drawing make no finer a line.
    cells = np.round(curve * 120).astype(np.int64)
    moved = np.any(np.diff(cells, axis=1) != 0, axis=0)
    return curve[:, np.concatenate([[True], moved])]


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", MINUS)
