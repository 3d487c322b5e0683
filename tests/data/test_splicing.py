"""Recordings put end to end, and corpora put together, read as one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxangle.audio import SAMPLE_RATE
from voxangle.data import Manifest, Utterance
from voxangle.data.splicing import Spliced, join_short
from voxangle.errors import CorpusError


class Numbered:
    """Recording n of source s reads s + n / 10 + (0, 1, 2 ...) / 1e5; (speaker, channel, samples) of each."""

    def __init__(self, number: int, rows: list[tuple[str, str, int]], session: str = "x") -> None:
        self.number = number
        self.samples = np.array([samples for *_, samples in rows], np.int64)
        self.manifest = Manifest.of(
            (
                Utterance(
                    f"{number}/{i}",
                    speaker,
                    f"{i}.wav",
                    seconds=n / SAMPLE_RATE,
                    channel=channel,
                    session=f"{session}{i // 2}",
                    language="zh",
                )
                for i, (speaker, channel, n) in enumerate(rows)
            ),
            f"/corpus{number}",
        )

    def read(self, row: int, first: int = 0, samples: int | None = None) -> np.ndarray:
        last = int(self.samples[row]) if samples is None else first + samples
        assert 0 <= first < last <= self.samples[row]
        return (self.number + row / 10 + np.arange(first, last) / 1e5).astype(np.float32)

    def where(self, keep: np.ndarray) -> Numbered:
        raise NotImplementedError


ROWS = [
    ("a", "vlog", 10),
    ("b", "vlog", 60),
    ("a", "vlog", 45),
    ("a", "song", 20),
    ("a", "vlog", 70),
    ("a", "vlog", 10),
    ("b", "vlog", 20),
    ("a", "song", 20),
]


def test_short_ones_are_joined_within_speaker_and_channel_in_order() -> None:
    source = Numbered(0, ROWS)
    rows = join_short(source.manifest, source.samples, 50)
    # 5 is left over and goes with those before; b has a single short one, a's songs are never enough: alone.
    assert [row.tolist() for row in rows] == [[0, 2, 5], [1], [3, 7], [4], [6]]


corpora = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "y"]), st.integers(1, 99)),
    min_size=1,
    max_size=30,
)


@given(corpora, st.integers(1, 120))
def test_nothing_is_lost_or_doubled_and_few_stay_short(rows: list[tuple[str, str, int]], length: int) -> None:
    source = Numbered(0, rows)
    spliced = Spliced.of([source], length / SAMPLE_RATE)
    heard = [spliced.read(row) for row in range(len(spliced.samples))]
    assert [len(wave) for wave in heard] == spliced.samples.tolist()
    assert sorted(np.concatenate(heard)) == sorted(np.concatenate([source.read(i) for i in range(len(rows))]))
    groups = list(zip(spliced.manifest.column("speaker"), spliced.manifest.column("channel"), strict=True))
    short = [group for group, samples in zip(groups, spliced.samples, strict=True) if samples < length]
    assert len(short) == len(set(short))


@given(st.data())
def test_any_segment_is_that_of_the_whole(data: st.DataObject) -> None:
    spliced = Spliced.of([Numbered(0, ROWS), Numbered(1, ROWS[:3])], 50 / SAMPLE_RATE)
    row = data.draw(st.integers(0, len(spliced.samples) - 1))
    length = int(spliced.samples[row])
    first = data.draw(st.integers(0, length))
    last = data.draw(st.integers(first, length))
    np.testing.assert_array_equal(spliced.read(row, first, last - first), spliced.read(row)[first:last])
    with pytest.raises(IndexError, match=f"row {row}"):
        spliced.read(row, first, length - first + 1)


def test_a_joined_row_says_what_its_recordings_share() -> None:
    joined = list(Spliced.of([Numbered(0, ROWS)], 50 / SAMPLE_RATE).manifest)
    assert joined[0].utterance == "0/0"
    assert (joined[0].session, joined[0].language, joined[0].channel) == ("", "zh", "vlog")
    assert joined[0].seconds == pytest.approx(65 / SAMPLE_RATE)
    assert joined[1].session == "x0"


def test_corpora_stand_one_after_the_other_and_keep_their_places_when_some_go() -> None:
    spliced = Spliced.of([Numbered(0, ROWS), Numbered(1, ROWS)])
    assert len(spliced.manifest) == 16
    assert [str(path) for path in spliced.manifest.files()[7:9]] == ["/corpus0/7.wav", "/corpus1/0.wav"]
    np.testing.assert_array_equal(spliced.read(9, 5, 2), Numbered(1, ROWS).read(1, 5, 2))
    keep = np.arange(16) % 3 == 1
    fewer = spliced.where(keep)
    for row, before in enumerate(np.flatnonzero(keep).tolist()):
        np.testing.assert_array_equal(fewer.read(row), spliced.read(before))
    joined = Spliced.of([Numbered(0, ROWS), Numbered(1, ROWS)], 50 / SAMPLE_RATE)
    fewer = joined.where(np.arange(len(joined.samples)) > 2)
    np.testing.assert_array_equal(fewer.read(0), joined.read(3))
    assert fewer.manifest.column("utterance")[0] == joined.manifest.column("utterance")[3]


def test_two_corpora_with_one_key_are_refused() -> None:
    with pytest.raises(CorpusError, match="0/0"):
        Spliced.of([Numbered(0, ROWS), Numbered(0, ROWS)])
