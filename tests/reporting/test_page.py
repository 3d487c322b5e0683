from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from tests.reporting.toys import Page, require_sound, toy_result
from voxangle.metrics import Interval, PairedDifference
from voxangle.reporting import (
    Code,
    Details,
    Facts,
    Gallery,
    Image,
    Part,
    Section,
    Table,
    Text,
    difference_table,
    protocol_facts,
    result_table,
    write_page,
)
from voxangle.scoring import Protocol


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG pixels")
    return path


def written(tmp_path: Path, *blocks: object, lead: str = "") -> tuple[str, Page]:
    write_page(tmp_path / "page.html", "A title", [Section("A heading", blocks)], lead=lead)  # type: ignore[arg-type]
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_every_block_is_on_the_page_and_every_tag_is_closed(tmp_path: Path, picture: Path) -> None:
    _, page = written(
        tmp_path,
        Text("Some words."),
        Code("voxangle demo"),
        Facts({"cores": "2"}),
        Table("A caption", ["name", "figure"], [["row", "1.0"]]),
        Image(picture, "below", "seen"),
        Gallery([Image(picture, "left", "l"), Image(picture, "right", "r")]),
        lead="In short.",
    )
    assert page.open == []
    for words in (
        "A title",
        "A heading",
        "In short.",
        "Some words.",
        "voxangle demo",
        "cores",
        "A caption",
        "1.0",
    ):
        assert words in page.text
    assert page.tags.count("img") == 3
    assert ("alt", "seen") in page.attributes


def test_the_page_needs_nothing_beside_it(tmp_path: Path, picture: Path) -> None:
    text, page = written(tmp_path, Image(picture, "below", "seen"))
    picture.unlink()
    sources = [value for name, value in page.attributes if name in {"src", "href"}]
    assert sources == ["data:image/png;base64," + base64.b64encode(b"\x89PNG pixels").decode()]
    assert "http" not in re.sub(r'http-equiv="[^"]*"', "", text)
    assert "script" not in page.tags


def test_the_page_suits_phones_and_the_dark(tmp_path: Path) -> None:
    text, page = written(tmp_path)
    assert ("name", "viewport") in page.attributes
    assert "prefers-color-scheme: dark" in text
    assert ("lang", "en") in page.attributes


def test_names_with_markup_are_shown_as_they_are(tmp_path: Path, picture: Path) -> None:
    nasty = "<script>alert(\"x\")</script> & 'y'"
    _, page = written(
        tmp_path,
        Text(nasty),
        Code(nasty),
        Facts({nasty: nasty}),
        Table(nasty, [nasty, nasty], [[nasty, nasty]]),
        Image(picture, nasty, nasty),
        lead=nasty,
    )
    assert "script" not in page.tags
    assert page.text.count(nasty) == 11
    assert ("alt", nasty) in page.attributes


def test_a_picture_of_another_kind_is_refused_and_the_old_page_stays(tmp_path: Path) -> None:
    written(tmp_path, Text("old"))
    (tmp_path / "x.gif").write_bytes(b"GIF")
    with pytest.raises(ValueError, match=r"x\.gif: only \.png and \.svg"):
        written(tmp_path, Image(tmp_path / "x.gif", "", ""))
    assert "old" in (tmp_path / "page.html").read_text()


def test_the_result_table_shows_figures_with_intervals_priors_and_counts() -> None:
    result = toy_result()
    table = result_table([result], "caption")
    assert table.header == [
        "list\nsystem",
        "EER %",
        "minDCF\np 0.01",
        "minDCF\np 0.05",
        "target\nnon-target",
        "speakers",
    ]
    (row,) = table.rows
    assert row[0] == "list\ntoy"
    assert row[1] == f"{100 * result.eer.value:.2f}\n{100 * result.eer.low:.2f}-{100 * result.eer.high:.2f}"
    assert row[2].startswith(f"{result.min_dcf[0].value:.3f}\n{result.min_dcf[0].low:.3f}-")
    assert row[4:] == ["24\n252", "8"]


def test_results_of_different_priors_do_not_share_a_table() -> None:
    with pytest.raises(ValueError, match="one set of priors"):
        result_table([toy_result(), toy_result(protocol=Protocol(p_targets=(0.2,)))], "caption")
    with pytest.raises(ValueError, match="one set of priors"):
        result_table([], "caption")


def test_the_difference_table_shows_signs_and_percentage_points() -> None:
    difference = PairedDifference(
        eer=-0.012,
        eer_interval=Interval(-0.02, 0.001),
        min_dcf=(0.05,),
        min_dcf_intervals=(Interval(-0.01, 0.1),),
        first_better=0.93,
        speakers=16,
        replicates=1000,
    )
    (row,) = difference_table({"wuw": difference}, [0.01], "caption").rows
    minus = "\N{MINUS SIGN}"
    assert row == [
        "wuw",
        f"{minus}1.20\n{minus}2.00 to +0.10",
        f"+0.050\n{minus}0.010 to +0.100",
        "93 %",
        "16",
    ]


def test_the_protocol_names_list_model_command_and_resampling() -> None:
    result = toy_result()
    facts = protocol_facts(result).facts
    assert facts["list, SHA-256"] == result.trials_sha256
    assert facts["model, SHA-256"] == "c0ffee"
    assert facts["command"] == "voxangle evaluate"
    assert "8 speakers (known from the corpus), seed 0" in facts["intervals"]
    for field in Protocol.model_fields:
        assert facts[field.replace("_", " ")]
    assert facts["p targets"] == "0.01, 0.05"
    assert "c_miss 1, c_fa 1" in facts["minDCF"]


def test_the_contents_lead_to_every_section(tmp_path: Path) -> None:
    sections = [Section(heading, [Part("deeper", [Text("x")])]) for heading in ("One & two", "Three")]
    write_page(tmp_path / "page.html", "A title", sections, contents=True)
    page = require_sound((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.values("href") == ["#section-1", "#section-2"]
    assert page.values("id") == ["section-1", "section-2"]
    assert page.text.count("One & two") == 2
    assert page.tags.count("h3") == 2


def test_details_open_without_a_script(tmp_path: Path) -> None:
    text, page = written(tmp_path, Details("More <of it>", [Text("inside")]))
    assert "<summary>More &lt;of it&gt;</summary><p>inside</p>" in text
    assert page.open == []


def test_the_dark_is_for_the_screen_and_print_leaves_players_out(tmp_path: Path) -> None:
    text, _ = written(tmp_path)
    assert "@media (prefers-color-scheme" not in text
    assert re.search(r"@media print \{.*audio, nav \{ display: none", text, re.DOTALL)
