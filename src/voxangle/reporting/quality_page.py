"""The quality of a corpus as one page: what was found, the statistics, and the worst of each kind to listen to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from voxangle.audio import SAMPLE_RATE
from voxangle.quality import Kind, Limits, Quality
from voxangle.reporting.page import Facts, Section, Table, Text, write_page
from voxangle.reporting.players import Players, Sound, clip

__all__ = ["limit_rows", "quality_rows", "spread_table", "statistics_tables", "write_quality_page"]

_PLAYERS = 6  # a kind
_ROWS = 12  # languages, channels
_SECONDS = (0, 0.5, 1, 2, 3, 4, 6, 8, 12, 20, 60, np.inf)
_SHOWN = {
    "doubt": "doubt {:.2f}",
    "correlation": "correlation {:.2f}",
    "above_4khz": "{:.1f} dB above 4 kHz",
    "clipping": "{:.2%} clipped",
    "silence": "{:.1%} silence",
    "offset_size": "mean {:.4f} from zero",
    "level": "{:.1f} dB of full scale",
    "sounding_seconds": "{:.2f} s of speech",
    "seconds": "{:.1f} s",
}


@dataclass(frozen=True)
class _Bars(Table):
    """A table whose last column, a number in [0, 1], is drawn as a bar."""

    def _row(self, row: Sequence[str]) -> str:
        bar = (
            '<td aria-hidden="true" style="text-align:left"><span style="display:inline-block;height:.8em;'
            f'background:var(--accent);width:calc({row[-1]} * min(16rem, 34vw))"></span></td>'
        )
        return super()._row(row[:-1]) + bar


def quality_rows(quality: Quality) -> list[tuple[str, str, str]]:
    """What was found: kind in words, utterances, and their share."""
    counts: list[tuple[str, int]] = []
    for kind in quality.kinds():
        counts.append((kind.what, _count(quality, kind.name)))
        if kind.name == "duplicate":
            counts.append(("of these, under two speakers", _count(quality, "across_speakers")))
    counts.append(("cannot be read", len(quality.prepared.left_out)))
    total = max(1, len(quality.table))
    return [(what, f"{count:,}", f"{100 * count / total:.2f} %") for what, count in counts]


def limit_rows(quality: Quality) -> list[tuple[str, str, str]]:
    """What counts as a finding: kind in words, the limit in words, and its name and value as they are given."""
    usual = Limits()
    rows = []
    for kind in quality.kinds():
        limit = getattr(quality.limits, kind.limit)
        changed = (
            "" if limit == getattr(usual, kind.limit) else f", by default {getattr(usual, kind.limit):g}"
        )
        rows.append(
            (kind.what.partition(":")[0], kind.when.format(limit), f"{kind.limit}={limit:g}{changed}")
        )
    return rows


def _count(quality: Quality, column: str) -> int:
    return int(pc.sum(quality.table[column]).as_py() or 0)


def statistics_tables(quality: Quality, most: int = _ROWS) -> list[Table]:
    """Utterances, speakers and hours by language, gender and channel; of what the corpus says nothing, nothing.

    Args:
        quality: as ``check_quality`` gives it.
        most: rows of a table; what is beyond is summed up.
    """
    tables = []
    for name in ("language", "gender", "channel"):
        groups = quality.table.group_by(name).aggregate(
            [("seconds", "sum"), ("speaker", "count_distinct"), ("utterance", "count")]
        )
        groups = groups.sort_by([("utterance_count", "descending"), (name, "ascending")])
        if groups[name].to_pylist() == [""]:
            continue
        rows = [
            _group(
                one[name] or "not known",
                one["utterance_count"],
                one["speaker_count_distinct"],
                one["seconds_sum"],
            )
            for one in groups.slice(0, most).to_pylist()
        ]
        if len(groups) > most:
            others = quality.table.filter(
                pc.is_in(quality.table[name], groups[name].slice(most).combine_chunks())
            )
            rows.append(
                _group(
                    f"{len(groups) - most:,} others",
                    len(others),
                    pc.count_distinct(others["speaker"]).as_py(),
                    pc.sum(others["seconds"]).as_py(),
                )
            )
        tables.append(Table(f"By {name}", [name, "utterances", "speakers", "hours"], rows))
    return tables


def _group(name: str, utterances: int, speakers: int, seconds: float) -> list[str]:
    return [name, f"{utterances:,}", f"{speakers:,}", f"{seconds / 3600:,.2f}"]


def spread_table(quality: Quality) -> Table:
    """Quantiles of the seconds an utterance, and of the utterances and minutes a speaker."""
    each = quality.table.group_by("speaker").aggregate([("seconds", "sum"), ("utterance", "count")])
    columns = (
        quality.table["seconds"].to_numpy(),
        each["utterance_count"].to_numpy(),
        each["seconds_sum"].to_numpy() / 60,
    )
    quantiles = {"least": 0, "5 %": 5, "25 %": 25, "half": 50, "75 %": 75, "95 %": 95, "most": 100}
    spread = [np.percentile(values, list(quantiles.values()), method="inverted_cdf") for values in columns]
    rows = [
        [name, f"{seconds:.1f}", f"{utterances:,.0f}", f"{minutes:.1f}"]
        for name, seconds, utterances, minutes in zip(quantiles, *spread, strict=True)
    ]
    header = ["up to", "seconds\neach", "utterances\na speaker", "minutes\na speaker"]
    return Table("Spread: this share has at most", header, rows)


def _durations(quality: Quality) -> Table:
    counts, _ = np.histogram(quality.table["seconds"].to_numpy(), _SECONDS)
    rows = [
        [
            f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} and more",
            f"{count:,}",
            f"{count / max(1, counts.max()):.3f}",
        ]
        for low, high, count in zip(_SECONDS, _SECONDS[1:], counts, strict=False)
    ]
    return _Bars("By duration", ["seconds", "utterances", ""], rows)


def write_quality_page(
    path: Path, name: str, quality: Quality, *, facts: Mapping[str, str], notes: Sequence[str] = ()
) -> None:
    """Write the page; it needs nothing beside it.

    Args:
        path: the page to write.
        name: of the corpus.
        quality: as ``check_quality`` gives it.
        facts: what was checked, with what.
        notes: what a reader should know.

    Raises:
        CorpusError: the prepared audio is no longer there.
        StorageError: the page cannot be written.
    """
    found = Table(
        "A finding is a reason to listen, not a verdict",
        ["finding", "utterances\nshare"],
        [(what.replace(": ", "\n"), f"{count}\n{share}") for what, count, share in quality_rows(quality)],
    )
    limits = {f"{what} ({given})": when for what, when, given in limit_rows(quality)}
    sections = [
        Section("What was found", [found, *(Text(note) for note in notes)]),
        *(_worst(quality, kind) for kind in quality.kinds() if _count(quality, kind.name)),
        Section("Statistics", [*statistics_tables(quality), _durations(quality), spread_table(quality)]),
        Section("What counts as a finding", [Text("Change one with --limit NAME=VALUE."), Facts(limits)]),
        Section("What was checked", [Facts(facts)]),
    ]
    hours = quality.prepared.samples.sum() / SAMPLE_RATE / 3600
    speakers = len(quality.prepared.manifest.speakers())
    lead = f"{len(quality.table):,} utterances of {speakers:,} speakers, {hours:,.1f} hours."
    write_page(path, f"Data quality of {name}", sections, lead=lead)


def _worst(quality: Quality, kind: Kind) -> Section:
    heading, _, lesser = kind.what.partition(": ")
    players = [
        (words, [Sound(words, clip(quality.prepared.read(one))) for one in rows])
        for row, *rows in (_pairs(quality) if kind.name == "duplicate" else _singles(quality, kind))
        for words in [_words(quality, kind, row)]
    ]
    lead = f"{lesser[:1].upper()}{lesser[1:]}{'. ' if lesser else ''}The worst first."
    return Section(f"{heading[0].upper()}{heading[1:]}", [Players(lead, players)])


def _singles(quality: Quality, kind: Kind) -> list[tuple[int, ...]]:
    return [(row, row) for row in quality.worst(kind, _PLAYERS).tolist()]


def _pairs(quality: Quality) -> list[tuple[int, ...]]:
    """The worst pairs: those under two speakers first."""
    speakers = quality.prepared.manifest.column("speaker")
    worst = sorted(
        quality.duplicates,
        key=lambda pair: (speakers[pair.first] == speakers[pair.other], -pair.correlation),
    )
    return [(pair.other, pair.first, pair.other) for pair in worst[:_PLAYERS]]


def _words(quality: Quality, kind: Kind, row: int) -> str:
    def entry(column: str) -> object:
        return quality.table[column][row].as_py()

    measure = _SHOWN[kind.measure].format(entry(kind.measure))
    words = f"{entry('utterance')}, speaker {entry('speaker')}: {measure}"
    if kind.name == "duplicate":
        words += f" with {entry('same_as')}" + (", of another speaker" if entry("across_speakers") else "")
    if kind.name == "wrong_label":
        words += f", nearer to {entry('nearest_speaker')}"
    return words
