from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from scipy.stats import norm

from voxangle.data import Trials
from voxangle.errors import TrialError
from voxangle.reporting import plot_det, plot_scores
from voxangle.scoring import Model, Result, TrialScores, evaluate

KEYS = [f"{s}{u}" for s in "abcdefgh" for u in range(4)]
TRIALS = Trials.of("list", [(a[0] == b[0], a, b) for i, a in enumerate(KEYS) for b in KEYS[i + 1 :]])


def toy_result(noise: float, name: str = "toy", trials: Trials = TRIALS) -> Result:
    generator = np.random.default_rng(0)
    centres = {s: generator.normal(size=8) for s in "abcdefgh"}
    embeddings = {key: centres[key[0]] + generator.normal(0, noise, 8) for key in KEYS}
    return evaluate(embeddings, trials, model=Model(name=name), replicates=5)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures as they are saved."""
    saved: list[Figure] = []
    save = Figure.savefig

    def remember(figure: Figure, *args: object, **options: object) -> None:
        saved.append(figure)
        save(figure, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Figure, "savefig", remember)
    return saved


def labels(figure: Figure) -> Sequence[str]:
    legend = figure.axes[0].get_legend() or figure.legends[0]
    return [text.get_text() for text in legend.get_texts()]


def test_det_points_lie_on_probit_axes_and_the_eer_on_the_diagonal(
    tmp_path: Path, figures: list[Figure]
) -> None:
    result = toy_result(1.0)
    plot_det([result], tmp_path / "det.png")
    _diagonal, curve, point = figures[0].axes[0].get_lines()
    assert result.scores is not None
    x, y = np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata())
    for fpr, fnr in zip(norm.cdf(x), norm.cdf(y), strict=True):
        drawn = [
            abs(np.mean(result.scores.of_targets < t) - fnr)
            + abs(np.mean(result.scores.of_nontargets >= t) - fpr)
            for t in [*np.unique(result.scores.scores), np.inf]
        ]
        assert min(drawn) < 1e-4
    np.testing.assert_allclose(norm.cdf(point.get_xdata()), result.eer.value, atol=1e-4)
    np.testing.assert_array_equal(point.get_xdata(), point.get_ydata())
    axes = figures[0].axes[0]
    for tick, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
        assert norm.cdf(tick) == pytest.approx(float(text.get_text()) / 100, abs=1e-5)
    low, high = axes.get_xlim()
    assert low < point.get_xdata()[0] < high  # type: ignore[index]


def test_systems_are_told_apart_by_colour_style_and_legend(tmp_path: Path, figures: list[Figure]) -> None:
    results = [toy_result(0.8, "one"), toy_result(1.4, "two")]
    plot_det(results, tmp_path / "det.png")
    curves = [line for line in figures[0].axes[0].get_lines() if line.get_label() in labels(figures[0])]
    assert (
        len({curve.get_color() for curve in curves}) == len({curve.get_linestyle() for curve in curves}) == 2
    )
    assert labels(figures[0]) == [f"{r.model.name}, EER {100 * r.eer.value:.2f} %" for r in results]
    assert figures[0].axes[0].get_title() == "list"


@pytest.mark.parametrize("noise", [0.01, 1.0, 50.0])
def test_plots_of_good_and_bad_systems_are_pictures(tmp_path: Path, noise: float) -> None:
    result = toy_result(noise)
    plot_det([result], tmp_path / "det.png")
    plot_scores(result, tmp_path / "scores.png")
    for name in ("det.png", "scores.png"):
        pixels = imread(tmp_path / name)
        assert min(pixels.shape[:2]) > 400
        assert pixels.std() > 0.01
    plot_det([result], tmp_path / "det.svg")
    assert "<svg" in (tmp_path / "det.svg").read_text()


def test_the_histogram_shows_both_classes_with_area_one_and_the_threshold(
    tmp_path: Path, figures: list[Figure]
) -> None:
    result = toy_result(1.0)
    plot_scores(result, tmp_path / "scores.png")
    axes = figures[0].axes[0]
    for patch in axes.patches:
        outline = np.asarray(patch.get_path().vertices)
        shifted = np.roll(outline, 1, axis=0)
        area = abs(np.sum(outline[:, 0] * shifted[:, 1] - shifted[:, 0] * outline[:, 1])) / 2
        assert area == pytest.approx(1, abs=1e-6)
    (line,) = axes.get_lines()
    assert line.get_xdata()[0] == result.eer.threshold  # type: ignore[index]
    assert set(labels(figures[0])) == {
        "target (48)",
        "non-target (448)",
        f"threshold {result.eer.threshold:.3f}: EER {100 * result.eer.value:.2f} %",
    }


def test_a_million_scores_make_a_light_curve(tmp_path: Path, figures: list[Figure]) -> None:
    generator = np.random.default_rng(0)
    target = np.arange(1_000_000) % 10 == 0
    scores = generator.normal(size=target.size).astype(np.float32) + 2 * target
    nobody = np.zeros(target.size, np.int64)
    many = toy_result(1.0).model_copy(
        update={"scores": TrialScores(scores, target, ("a",), nobody, nobody, np.zeros(1, np.int64))}
    )
    plot_det([many], tmp_path / "det.png")
    assert len(figures[0].axes[0].get_lines()[1].get_xdata()) < 30_000  # type: ignore[arg-type]


def test_a_result_that_was_read_cannot_be_plotted_and_says_why(tmp_path: Path) -> None:
    result = toy_result(1.0)
    result.write(tmp_path / "r.json")
    (tmp_path / "r.parquet").unlink()
    for plot in (lambda r, p: plot_det([r], p), plot_scores):
        with pytest.raises(
            TrialError, match="list: a result that was read from a file has no scores to plot"
        ):
            plot(Result.read(tmp_path / "r.json"), tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_importing_the_room_loads_no_matplotlib_and_plotting_no_pyplot(tmp_path: Path) -> None:
    program = (
        "import sys, voxangle.reporting, voxangle.scoring.evaluate\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from voxangle.reporting import plots\n"
        "from matplotlib.figure import Figure\n"
        "f = Figure(); plots._finish(f, f.subplots(), sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "x.png")], check=True)
