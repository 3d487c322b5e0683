from __future__ import annotations

from pathlib import Path

import pytest

from tests.reporting.toys import Page, require_sound, toy_result
from voxangle.errors import TrialError
from voxangle.reporting import write_evaluation_page
from voxangle.reporting.evaluation_page import condition_forest
from voxangle.reporting.players import Clips
from voxangle.scoring import Protocol, Result


def written(folder: Path, results: list[Result], clip: Clips | None = None) -> Page:
    write_evaluation_page(folder / "page.html", results, clip=clip)
    return require_sound((folder / "page.html").read_text(encoding="utf-8"))


def test_a_page_tells_figures_conditions_hard_trials_protocol_and_command(tmp_path: Path) -> None:
    result = toy_result("my model", noise=1.5, notes=("Mind <this>.",))
    page = written(tmp_path, [result])
    for words in (
        "Evaluation of my model",
        f"{100 * result.eer.value:.2f}",
        f"{result.min_dcf[0].low:.3f}-{result.min_dcf[0].high:.3f}",
        "8 speakers",
        "Mind <this>.",
        "even",
        "odd target",
        "Hardest trials",
        result.trials_sha256,
        "voxangle evaluate",
        result.machine.cpu,
        result.date,
        *(field.replace("_", " ") for field in Protocol.model_fields),
    ):
        assert words in page.text
    assert "Calibration" not in page.text
    assert "audio" not in page.tags


def test_every_list_has_a_section_and_its_own_notes(tmp_path: Path) -> None:
    results = [
        toy_result(name="first", noise=1.5, notes=("Of both.",)),
        toy_result(name="second", noise=1.5, speakers=31, notes=("Of both.", "Of the second.")),
    ]
    page = written(tmp_path, results)
    assert page.text.count("Of both.") == 1
    assert page.text.count("Of the second.") == 1
    assert page.text.index("List second", 600) < page.text.index("Of the second.")
    assert page.tags.count("section") == 4
    assert len([one for one in page.values("href") if one]) == 4
    # What all results share is told once, what differs under the name of each.
    assert page.text.count(results[0].machine.cpu) == 1
    assert page.text.count(results[0].trials_sha256) == page.text.count(results[1].trials_sha256) == 1


def test_calibrated_results_tell_what_calibration_loses(tmp_path: Path) -> None:
    result = toy_result(noise=1.5, calibrated=True)
    calibrated = result.calibrated
    assert calibrated is not None
    page = written(tmp_path, [result])
    assert "fitted on: other toys" in page.text
    for one in (calibrated.cllr, *calibrated.act_dcf):
        assert f"{one.value:.3f}\n{one.low:.3f}-{one.high:.3f}" in page.text
    lost = calibrated.cllr.value - calibrated.min_cllr
    assert f"{calibrated.min_cllr:.3f}{lost:.3f}" in page.text
    assert "Reliability" in page.text
    assert "Detection cost by prior" in page.text
    assert page.tags.count("details") == 1


def test_both_sides_of_every_hard_trial_can_be_heard(tmp_path: Path) -> None:
    page = written(tmp_path, [toy_result(noise=1.5)], lambda key: key.encode())
    assert page.tags.count("audio") == 2 * 2 * 6


def test_the_forest_begins_with_the_whole_list_and_marks_what_is_borrowed() -> None:
    result = toy_result(noise=1.5)
    forest = condition_forest(result)
    assert [row[0] for row in forest.rows] == ["whole list", "even", "odd target"]
    assert forest.reference == 100 * result.eer.value
    assert forest.rows[2][-2].endswith("*")
    assert "* The condition" in forest.caption
    for row, span, measure in zip(forest.rows, forest.spans, [result, *result.conditions], strict=True):
        assert span is not None
        assert row[1].startswith(f"{span.value:.2f}\n{span.ends.low:.2f}-")
        assert span.value == pytest.approx(100 * measure.eer.value)


def test_a_list_without_errors_makes_a_page_that_does_not_pretend_certainty(tmp_path: Path) -> None:
    result = toy_result(noise=0.01)
    assert result.eer.value == 0
    assert "not of certainty" in written(tmp_path, [result]).text


def test_results_without_scores_are_refused_and_the_old_page_stays(tmp_path: Path) -> None:
    written(tmp_path, [toy_result(noise=1.5)])
    before = (tmp_path / "page.html").read_bytes()
    with pytest.raises(TrialError, match="evaluate again"):
        written(tmp_path, [toy_result().model_copy(update={"scores": None})])
    with pytest.raises(ValueError, match="one set of priors"):
        written(tmp_path, [])
    assert (tmp_path / "page.html").read_bytes() == before
