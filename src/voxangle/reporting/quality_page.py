"""The quality of a corpus as one page: what was found, the statistics, and the worst of each kind to listen to."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import soundfile

from voxangle.audio import SAMPLE_RATE
from voxangle.quality import Kind, Quality
from voxangle.reporting.page import Facts, Section, Table, Text, write_page

__all__ = ["quality_rows", "statistics_tables", "write_quality_page"]

_CLIP_SECONDS = 4.0
_PLAYERS = 5  # a kind
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
class _Player(Text):
    """A clip to listen to, stored in the page itself, under a line of text."""

    clip: bytes

    def html(self) -> str:
        data = base64.b64encode(self.clip).decode("ascii")
        return (
            f"<figure><figcaption>{escape(self.text)}</figcaption>"
            f'<audio controls preload="none" aria-label="{escape(self.text)}" style="width:100%;max-width:30rem" '
            f'src="data:audio/ogg;base64,{data}"></audio></figure>'
        )


def quality_rows(quality: Quality) -> list[tuple[str, str, str]]:
    """What was found: kind in words, utterances, and their share."""
    total = len(quality.table)
    counts = [(kind.what, len(quality.worst(kind))) for kind in quality.kinds()]
    across = quality.table["across_speakers"].to_pylist().count(True)
    counts.append(("of the recordings met twice, under two speakers", across))
    counts.append(("cannot be read", len(quality.prepared.left_out)))
    return [(what, f"{count:,}", f"{100 * count / max(1, total):.2f} %") for what, count in counts]


def statistics_tables(quality: Quality) -> list[Table]:
    """Utterances, speakers and hours by language, gender, channel and duration; utterances a speaker."""
    manifest = quality.prepared.manifest
    speakers, seconds = manifest.column("speaker").astype(str), manifest.column("seconds")
    tables = []
    for name in ("language", "gender", "channel"):
        values = manifest.column(name).astype(str)
        rows = []
        for value in sorted(set(values), key=lambda value: -int((values == value).sum())):
            mine = values == value
            rows.append(
                [
                    value or "not known",
                    f"{mine.sum():,}",
                    f"{len(set(speakers[mine])):,}",
                    f"{seconds[mine].sum() / 3600:,.2f}",
                ]
            )
        tables.append(Table(f"By {name}", [name, "utterances", "speakers", "hours"], rows))
    counts, _ = np.histogram(seconds, _SECONDS)
    longest = max(1, int(counts.max()))
    rows = [
        [
            f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} and more",
            f"{count:,}",
            "█" * round(20 * count / longest),
        ]
        for low, high, count in zip(_SECONDS, _SECONDS[1:], counts, strict=False)
    ]
    tables.append(Table("By duration", ["seconds", "utterances", ""], rows))
    each = np.unique(speakers, return_counts=True)[1]
    spread = [f"{value:g}" for value in np.percentile(each, [0, 25, 50, 75, 100])]
    header = ["", "fewest", "a quarter has\nat most", "half have\nat most", "3 in 4 have\nat most", "most"]
    tables.append(Table(f"Utterances a speaker, {len(each):,} speakers", header, [["utterances", *spread]]))
    return tables


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
    limits = {
        "clipped": f"more than {quality.limits.clipping:.2%} of the samples in flat tops",
        "mostly silence": f"more than {quality.limits.silence:.0%} of the frames",
        "mean far from zero": f"more than {quality.limits.offset:g} of full scale",
        "nothing above 4 kHz": f"less than {quality.limits.above_4khz:g} dB of what is below",
        "very quiet": f"below {quality.limits.quietest:g} dB of full scale",
        "too little speech": f"less than {quality.limits.shortest:g} s",
        "very long": f"more than {quality.limits.longest:g} s",
        "another speaker": f"nearer than the own one by more than {quality.limits.doubt:g} (cosine)",
    }
    found = Table(
        "A finding is a reason to listen, not a verdict",
        ["finding", "utterances", "share"],
        [
            (what.replace(": ", "\n").replace(", under", "\nunder"), *row)
            for what, *row in quality_rows(quality)
        ],
    )
    sections = [
        Section("What was found", [found, *(Text(note) for note in notes)]),
        *(_worst(quality, kind) for kind in quality.kinds() if len(quality.worst(kind))),
        Section("Statistics", statistics_tables(quality)),
        Section("What counts as a finding", [Facts(limits)]),
        Section("What was checked", [Facts(facts)]),
    ]
    lead = f"{len(quality.table):,} utterances of {len(quality.prepared.manifest.speakers()):,} speakers."
    write_page(path, f"Data quality of {name}", sections, lead=lead)


def _worst(quality: Quality, kind: Kind) -> Section:
    players = [
        _Player(_words(quality, kind, int(row)), _clip(quality, int(row)))
        for row in quality.worst(kind, _PLAYERS)
    ]
    return Section(f"{kind.what[0].upper()}{kind.what[1:]}", [Text("The worst first:"), *players])


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


def _clip(quality: Quality, row: int) -> bytes:
    """The loudest seconds of a recording, Ogg Vorbis."""
    waveform = quality.prepared.read(row)
    most = int(_CLIP_SECONDS * SAMPLE_RATE)
    if len(waveform) > most:
        energy = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
        first = int(np.argmax(energy[most:] - energy[:-most]))
        waveform = waveform[first : first + most]
    clip = io.BytesIO()
    soundfile.write(clip, waveform, SAMPLE_RATE, format="OGG", subtype="VORBIS")
    return clip.getvalue()
