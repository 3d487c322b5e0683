from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.reporting.toys import require_sound, toy_result
from voxangle.errors import TrialError
from voxangle.metrics import paired_difference
from voxangle.reporting import adjusted_by_holm, compare_systems, differences_table, write_comparison_page
from voxangle.scoring import Protocol, Result


def results(
    noise: float, seed: int = 0, lists: tuple[str, ...] = ("list",), speakers: int = 32
) -> list[Result]:
    return [toy_result(name=one, noise=noise, seed=seed, speakers=speakers) for one in lists]


def test_differences_are_those_to_the_baseline_over_the_same_draws() -> None:
    systems = {"good": results(0.8), "bad": results(2.5, 1), "worse": results(4.0, 2)}
    comparison = compare_systems(systems, baseline="bad", replicates=100, seed=4)
    assert comparison.systems == ("bad", "good", "worse")
    (one,) = comparison.lists
    for name, difference in one.differences.items():
        mine, baseline = (systems[system][0].scores for system in (name, "bad"))
        assert mine is not None
        assert baseline is not None
        assert difference.paired == paired_difference(
            mine.scores,
            baseline.scores,
            mine.target,
            mine.enrol_speaker,
            mine.test_speaker,
            replicates=100,
            seed=4,
        )
    assert one.differences["good"].paired.eer < 0 < one.differences["worse"].paired.eer
    assert one.differences["good"].verdict.winner == "good"
    expected = adjusted_by_holm([difference.paired.p_value for difference in one.differences.values()])
    np.testing.assert_array_equal(
        [difference.adjusted_p for difference in one.differences.values()], expected
    )
    assert comparison.tests == 2


def test_the_correction_is_for_all_lists_and_systems_together() -> None:
    two = ("first", "second")
    systems = {"a": results(2.0, lists=two), "b": results(2.4, 1, two), "c": results(2.6, 2, two)}
    comparison = compare_systems(systems, replicates=100)
    every = [difference for one in comparison.lists for difference in one.differences.values()]
    expected = adjusted_by_holm([difference.paired.p_value for difference in every])
    np.testing.assert_array_equal([difference.adjusted_p for difference in every], expected)
    assert comparison.tests == 4
    assert len(comparison.verdicts) == 4


def test_conditions_are_compared_on_their_trials_a_missing_class_taken_from_the_whole_list() -> None:
    systems = {"a": results(1.5, speakers=10), "b": results(2.0, 1, speakers=10)}
    (one,) = compare_systems(systems, replicates=100).lists
    assert set(one.conditions) == {"even", "odd target"}
    a, b = (systems[name][0] for name in "ab")
    for name, by_system in one.conditions.items():
        first, second = (
            next(part for part in result.conditions if part.name == name).eer.value for result in (b, a)
        )
        assert by_system["b"].eer == pytest.approx(first - second)


def test_a_list_that_not_all_have_is_left_out_and_named() -> None:
    systems = {"a": results(1.5, lists=("one", "two")), "b": results(2.0, lists=("two", "three"))}
    comparison = compare_systems(systems, replicates=100)
    assert [one.name for one in comparison.lists] == ["two"]
    assert comparison.left_out == (
        "The list one is left out: b was not measured on it.",
        "The list three is left out: a was not measured on it.",
    )


def test_what_does_not_compare_says_why() -> None:
    a = results(1.5, speakers=8)
    with pytest.raises(TrialError, match="two systems or more"):
        compare_systems({"a": a})
    with pytest.raises(TrialError, match="no system is called 'c'; there are a, b"):
        compare_systems({"a": a, "b": a}, baseline="c")
    with pytest.raises(TrialError, match="no list in common: a has list; b has other"):
        compare_systems({"a": a, "b": results(1.5, lists=("other",), speakers=8)})
    with pytest.raises(TrialError, match="a: two results of the list 'list' lie in one folder"):
        compare_systems({"a": a * 2, "b": a})
    with pytest.raises(
        TrialError, match="'a' and 'b' were measured on two lists that are both called 'list'"
    ):
        compare_systems({"a": a, "b": results(1.5, speakers=9)})


def test_lists_of_other_priors_do_not_stand_in_one_table() -> None:
    a, b = (
        [
            toy_result(system, "one", noise=1.5),
            toy_result(system, "two", noise=1.5, protocol=Protocol(p_targets=(0.2,))),
        ]
        for system in ("a", "b")
    )
    with pytest.raises(TrialError, match=r"priors 0\.01, 0\.05 on 'one', and 0\.2 on 'two'"):
        compare_systems({"a": a, "b": b}, replicates=100)


def test_protocols_that_differ_are_named_and_compared_only_on_request(tmp_path: Path) -> None:
    a = results(1.5, speakers=8)
    other = a[0].model_copy(update={"protocol": Protocol(crop="not known")})
    with pytest.raises(
        TrialError, match=r"crop is 'not known' in b, 'full utterance' in a.*--across-protocols"
    ):
        compare_systems({"a": a, "b": [other]})
    comparison = compare_systems({"a": a, "b": [other]}, across_protocols=True, replicates=100)
    assert comparison.lists[0].protocols == ("crop is 'not known' in b, 'full utterance' in a",)
    write_comparison_page(tmp_path / "page.html", comparison)
    assert "The protocols differ: crop is" in require_sound((tmp_path / "page.html").read_text()).text


def test_the_page_tells_verdicts_differences_and_disagreements(tmp_path: Path) -> None:
    systems = {"<a>": results(1.5), "b": results(2.0, 1)}
    comparison = compare_systems(systems, replicates=100)
    write_comparison_page(tmp_path / "page.html", comparison, clip=str.encode, command="voxangle compare")
    page = require_sound((tmp_path / "page.html").read_text(encoding="utf-8"))
    for words in (
        *comparison.verdicts,
        "<a> and b compared",
        "Where b and <a> disagree",
        "This page: voxangle compare",
    ):
        assert words in page.text
    assert "Holm" not in page.text  # one difference needs no correction
    assert page.tags.count("audio") > 4


def test_the_page_of_three_systems_says_how_it_corrects(tmp_path: Path) -> None:
    systems = {name: results(1.5, seed, speakers=8) for seed, name in enumerate("abc")}
    comparison = compare_systems(systems, replicates=100)
    write_comparison_page(tmp_path / "page.html", comparison)
    text = require_sound((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "The 2 differences of EER are tested together" in text
    assert "adjusted by Holm's method" in text
    assert text.count("adjusted\n") + text.count(" adjusted") >= 3


def test_differences_stand_whole_in_the_terminal() -> None:
    systems = {"a": results(1.5), "a [long] name of a system": results(2.0, 1)}
    comparison = compare_systems(systems, replicates=100)
    console = Console(width=80, file=StringIO())
    console.print(differences_table(comparison))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    paired = comparison.lists[0].differences["a [long] name of a system"].paired
    assert f"{100 * paired.eer:+.2f}".replace("-", "\N{MINUS SIGN}") in text
    for ends in (*paired.min_dcf_intervals,):
        assert f"{ends.low:+.3f} to {ends.high:+.3f}".replace("-", "\N{MINUS SIGN}") in text
    assert "[long]" in text
