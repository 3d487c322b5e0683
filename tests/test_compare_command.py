"""``voxangle compare``: what a person types, what they get, and what they are told when it cannot be."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import write_voices
from tests.reporting.toys import require_sound, toy_result
from voxangle import cli
from voxangle.scoring import Protocol, Result


class Terminal:
    """Runs ``voxangle compare`` in this process and keeps what it said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *words: object) -> tuple[int, str, str]:
        arguments = ["voxangle", "compare", *map(str, words), "--replicates", "100"]
        self.monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = self.capsys.readouterr()
        assert "Traceback" not in said.err
        return int(left.value.code or 0), said.out, said.err


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    return Terminal(monkeypatch, capsys)


def evaluated(folder: Path, *results: Result) -> Path:
    for result in results:
        result.write(folder / f"{result.name}.json")
    return folder


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """A good and a bad system on a list of 32 speakers."""
    good = toy_result("good", speakers=32, noise=0.8)
    return evaluated(tmp_path / "a", good), evaluated(
        tmp_path / "b", toy_result("bad", speakers=32, noise=2.5, seed=1)
    )


def test_it_names_the_winner_and_writes_a_page(
    compare: Terminal, two: tuple[Path, Path], tmp_path: Path
) -> None:
    code, out, _ = compare(*two)
    assert code == 0
    assert "on these 32 speakers good errs less." in out
    assert "the page is compare.html" in out
    page = require_sound((tmp_path / "compare.html").read_text(encoding="utf-8"))
    assert "good and bad compared" in page.text
    assert "on these 32 speakers good errs less." in page.text
    assert "audio" not in page.tags


def test_a_file_that_is_no_page_is_not_written_over(
    compare: Terminal, two: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "scores.txt").write_text("a b 0.5\n")
    code, _, err = compare(*two, "--out", "scores.txt")
    assert code == 2
    assert "scores.txt: is there and is no page" in err
    assert (tmp_path / "scores.txt").read_text() == "a b 0.5\n"
    for _ in range(2):
        assert compare(*two, "--out", "page.html")[0] == 0


def test_systems_get_other_names_and_another_baseline(compare: Terminal, two: tuple[Path, Path]) -> None:
    code, out, _ = compare(f"one={two[0]}", f"other={two[1]}", "--baseline", "other")
    assert code == 0
    assert "one minus other is \N{MINUS SIGN}" in out
    assert "on these 32 speakers one errs less." in out


def test_json_tells_all_figures(compare: Terminal, two: tuple[Path, Path], tmp_path: Path) -> None:
    code, out, _ = compare(*two, "--json", "--out", tmp_path / "deep" / "page.html", "--seed", "3")
    assert code == 0
    told = json.loads(out)
    (one,) = told["lists"]
    difference = one["differences"]["bad"]
    assert told["baseline"] == "good"
    assert told["seed"] == 3
    assert difference["winner"] == "good"
    assert 0 < difference["eer"]["low"] < difference["eer"]["value"] < difference["eer"]["high"]
    assert 0 < difference["eer"]["p"] == difference["adjusted_p"] < 0.05
    assert [cost["p_target"] for cost in difference["min_dcf"]] == [0.01, 0.05]
    assert set(one["conditions"]) == {"even", "odd target"}
    assert one["results"]["bad"]["eer"]["value"] - one["results"]["good"]["eer"]["value"] == pytest.approx(
        difference["eer"]["value"]
    )
    assert (tmp_path / "deep" / "page.html").exists()


def test_disagreements_can_be_heard_below_a_root(
    compare: Terminal, two: tuple[Path, Path], tmp_path: Path
) -> None:
    root = tmp_path / "voices"
    for file in write_voices(root, speakers=32, utterances=3, seconds=0.3).rglob("*.wav"):
        file.rename(file.with_suffix(""))
    code, _, _ = compare(*two, "--root", root)
    assert code == 0
    assert require_sound((tmp_path / "compare.html").read_text(encoding="utf-8")).tags.count("audio") >= 4
    code, _, err = compare(*two, "--root", tmp_path / "a")
    assert code == 2
    assert "no recording of the lists, such as 's0/u1', was found to be heard; correct --root" in err
    code, _, err = compare(*two, "--root", tmp_path / "nowhere")
    assert code == 2
    assert "nowhere: no such folder" in err


def test_what_cannot_be_compared_is_told_with_its_cure(
    compare: Terminal, two: tuple[Path, Path], tmp_path: Path
) -> None:
    a, b = two
    (tmp_path / "link").symlink_to(a)
    for words, told in (
        ([a], "a comparison needs two folders or more"),
        ([a, a], "is given twice"),
        ([a, f"x={tmp_path / 'link'}"], "is given twice"),
        ([a, tmp_path / "nowhere"], "nowhere: no such folder"),
        (
            [f"x={a}", f"x={b}"],
            f"two systems are called 'x', the other in {b}; give one another name: NAME={b}",
        ),
        ([a, b, "--baseline", "c"], "no system is called 'c'; there are good, bad"),
    ):
        code, _, err = compare(*words)
        assert code == 2
        assert told in err
    assert not (tmp_path / "compare.html").exists()


def test_lists_and_protocols_that_differ_are_refused(
    compare: Terminal, two: tuple[Path, Path], tmp_path: Path
) -> None:
    a, _ = two
    longer = evaluated(tmp_path / "c", toy_result("longer", speakers=33))
    code, _, err = compare(a, longer)
    assert code == 2
    assert "'good' and 'longer' were measured on two lists that are both called 'list'" in err
    result = toy_result("cropped", speakers=32).model_copy(update={"protocol": Protocol(crop="not known")})
    code, _, err = compare(a, evaluated(tmp_path / "d", result))
    assert code == 2
    assert "crop is 'not known' in cropped, 'full utterance' in good" in err
    code, out, _ = compare(a, tmp_path / "d", "--across-protocols")
    assert code == 0
    assert "note: list: crop is 'not known' in cropped" in out
