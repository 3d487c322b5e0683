"""The corpora by name, and the subsets that every machine draws alike."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from voxangle.corpora import CORPORA, corpus_folder, corpus_reader
from voxangle.corpora.draw import draw
from voxangle.errors import CorpusError


def test_each_corpus_stands_under_its_name_with_a_line_and_a_licence() -> None:
    assert {"debian-voices", "mini-librispeech"} <= set(CORPORA)
    for name, reader in CORPORA.items():
        assert reader.name == name
        assert 10 < len(reader.summary) <= 100
        assert "\n" not in reader.summary
        assert reader.licence


def test_what_can_be_fetched_is_said_to_be_missing_until_it_is(tmp_path: Path) -> None:
    for name, reader in CORPORA.items():
        if reader.get:
            with pytest.raises(CorpusError, match=f"voxangle corpora get {name}"):
                reader.read(tmp_path)


def test_an_unknown_corpus_is_answered_with_the_nearest() -> None:
    assert corpus_reader("debian-voices") is CORPORA["debian-voices"]
    with pytest.raises(CorpusError, match="unknown corpus 'debian-voice'; did you mean 'debian-voices'"):
        corpus_reader("debian-voice")
    with pytest.raises(CorpusError, match=r"known: .*debian-voices.*mini-librispeech"):
        corpus_reader("zzz")


def test_a_corpus_is_fetched_into_the_cache(cache: Path) -> None:
    assert corpus_folder("mini-librispeech") == cache / "corpora" / "mini-librispeech"


def test_the_list_of_corpora_needs_no_torch() -> None:
    code = "import sys, voxangle.corpora; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_drawing_does_not_depend_on_the_order_of_the_items() -> None:
    items = [f"utterance-{i}" for i in range(100)]
    drawn = draw(items, 10, seed="a")
    assert len(set(drawn)) == 10
    random.Random(0).shuffle(items)
    assert draw(items, 10, seed="a") == drawn
    assert draw(items, 10, seed="b") != drawn
    assert sorted(draw(items, 1000, seed="a")) == sorted(items)


def test_a_drawing_is_the_same_everywhere() -> None:
    assert draw("abcdefghij", 4, seed="voxangle") == ["j", "a", "g", "d"]


def test_another_release_changes_no_other_item_s_luck() -> None:
    items = [f"utterance-{i}" for i in range(100)]
    before, after = draw(items, 20, seed="a"), draw([*items, "new"], 20, seed="a")
    assert [item for item in after if item != "new"] == before[: 20 - ("new" in after)]
