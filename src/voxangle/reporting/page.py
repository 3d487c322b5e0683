"""One self-contained HTML page: no script, no foreign host, readable on a phone, in the dark and in print."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from voxangle.metrics import PairedDifference
from voxangle.reporting.wording import common_priors, interval, per_cent, signed
from voxangle.scoring import Result
from voxangle.storage import atomic_write

__all__ = [
    "Block",
    "Code",
    "Facts",
    "Gallery",
    "Image",
    "Section",
    "Table",
    "Text",
    "difference_table",
    "protocol_facts",
    "result_table",
    "write_page",
]

_MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #59636e; --line: #d1d9e0;
  --shade: #f3f5f7; --accent: #0067a3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --paper: #14171a; --faint: #a3adb8;
  --line: #3a424b; --shade: #1e2328; --accent: #6cb8ea; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 2px solid var(--accent); }
p { max-width: 44rem; margin: .6rem 0; white-space: pre-line; }
.lead { font-size: 1.125rem; color: var(--faint); }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
caption { text-align: left; color: var(--faint); padding-bottom: .4rem; }
caption span { display: block; position: sticky; left: 0; width: min(100%, calc(100vw - 2rem)); }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
th, td { white-space: pre; vertical-align: top; font-weight: 400; color: var(--faint); }
th::first-line, td::first-line { color: var(--ink); }
tbody th::first-line { font-weight: 600; }
thead th { border-bottom: 2px solid var(--ink); }
tr > :first-child { text-align: left; position: sticky; left: 0; background: var(--paper); }
.gallery { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem; }
figure { margin: 1rem 0; }
figure img { display: block; width: 100%; max-width: 44rem; height: auto; background: #fff; border-radius: .4rem;
  border: 1px solid var(--line); }
figcaption { color: var(--faint); font-size: .92rem; padding-top: .35rem; }
pre { background: var(--shade); padding: .8rem 1rem; border-radius: .4rem; overflow-x: auto; font-size: .88rem; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .25rem 1.25rem; }
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 34rem) { th, td { padding: .35rem .4rem; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
"""


@dataclass(frozen=True)
class Text:
    """A paragraph; line breaks are kept."""

    text: str

    def html(self) -> str:
        """The paragraph's markup."""
        return f"<p>{escape(self.text)}</p>"


@dataclass(frozen=True)
class Code:
    """Commands to copy."""

    text: str

    def html(self) -> str:
        """The commands' markup."""
        return f"<pre><code>{escape(self.text)}</code></pre>"


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    facts: Mapping[str, str]

    def html(self) -> str:
        """The facts' markup."""
        rows = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in self.facts.items()
        )
        return f"<dl>{rows}</dl>"


@dataclass(frozen=True)
class Table:
    """Rows of text under a caption; a cell may have two lines, of which the second is the lesser.

    Attributes:
        caption: what the figures are.
        header: names of the columns.
        rows: as many cells each as there are columns, the first of them the row's name.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def html(self) -> str:
        """The table's markup."""
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.header)
        body = "".join(f"<tr>{self._row(row)}</tr>" for row in self.rows)
        caption = escape(self.caption)
        return (
            f'<div class="wide" role="region" aria-label="{caption}" tabindex="0">'
            f"<table><caption><span>{caption}</span></caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )

    def _row(self, row: Sequence[str]) -> str:
        first, *rest = row
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        return f'<th scope="row">{escape(first)}</th>{cells}'


@dataclass(frozen=True)
class Image:
    """A picture, stored in the page itself.

    Attributes:
        path: a ``.png`` or ``.svg`` file.
        caption: below it.
        description: for those who cannot see it; what it shows, not how it looks.
    """

    path: Path
    caption: str
    description: str

    def html(self) -> str:
        """The picture's markup, the picture included.

        Raises:
            ValueError: the file is neither PNG nor SVG.
        """
        media_type = _MEDIA_TYPES.get(self.path.suffix)
        if media_type is None:
            raise ValueError(
                f"{self.path}: only {' and '.join(_MEDIA_TYPES)} pictures can be put into a page"
            )
        data = base64.b64encode(self.path.read_bytes()).decode("ascii")
        return (
            f'<figure><img src="data:{media_type};base64,{data}" alt="{escape(self.description)}">'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side where the screen is wide enough."""

    images: Sequence[Image]

    def html(self) -> str:
        """The gallery's markup."""
        return f'<div class="gallery">{"".join(image.html() for image in self.images)}</div>'


Block = Text | Code | Facts | Table | Image | Gallery


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    heading: str
    blocks: Sequence[Block]

    def html(self) -> str:
        """The section's markup."""
        blocks = "\n".join(block.html() for block in self.blocks)
        return f"<section>\n<h2>{escape(self.heading)}</h2>\n{blocks}\n</section>"


def write_page(path: str | Path, title: str, sections: Sequence[Section], *, lead: str = "") -> None:
    """Write one HTML page that needs nothing beside it, atomically.

    Args:
        path: the page to write.
        title: of the page.
        sections: in their order.
        lead: what the page says in one or two sentences, below the title.

    Raises:
        ValueError: a picture is neither PNG nor SVG.
    """
    body = "\n".join(section.html() for section in sections)
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{f'<p class="lead">{escape(lead)}</p>' if lead else ""}
</header>
<main>
{body}
</main>
</body>
</html>
"""
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def result_table(results: Sequence[Result], caption: str) -> Table:
    """Error rates with their intervals below them, a row a result.

    Raises:
        ValueError: there are no results, or their priors differ.
    """
    costs = [f"minDCF\np {p:g}" for p in common_priors(results)]
    header = ["list\nsystem", "EER %", *costs, "target\nnon-target", "speakers"]
    rows = [
        [
            f"{result.name}\n{result.model.name}",
            f"{per_cent(result.eer.value)}\n{interval(result.eer, scale=100, places=2)}",
            *(f"{cost.value:.3f}\n{interval(cost)}" for cost in result.min_dcf),
            f"{result.counts.targets:,}\n{result.counts.nontargets:,}",
            f"{result.counts.speakers:,}",
        ]
        for result in results
    ]
    return Table(caption, header, rows)


def difference_table(
    differences: Mapping[str, PairedDifference], priors: Sequence[float], caption: str
) -> Table:
    """Differences of two systems, a row a list; say in the caption which system is the first.

    Args:
        differences: by the list's name.
        priors: of the minDCFs.
        caption: what is subtracted from what.
    """
    costs = [f"minDCF\np {p:g}" for p in priors]
    header = ["list", "EER\npercentage points", *costs, "first better\nin draws", "speakers"]
    rows = [
        [
            name,
            signed(difference.eer, difference.eer_interval, scale=100, places=2),
            *map(signed, difference.min_dcf, difference.min_dcf_intervals),
            f"{100 * difference.first_better:.0f} %",
            f"{difference.speakers:,}",
        ]
        for name, difference in differences.items()
    ]
    return Table(caption, header, rows)


def protocol_facts(result: Result) -> Facts:
    """How a result was made, down to the checksums."""
    protocol, intervals, machine = result.protocol, result.intervals, result.machine
    return Facts(
        {
            "list": f"{result.name}, {result.counts.trials:,} trials, {result.counts.utterances:,} utterances",
            "list, SHA-256": result.trials_sha256,
            "score": f"{protocol.scoring} of {protocol.crop} embeddings",
            "enrolment": protocol.enrolment,
            "mean subtraction": str(protocol.mean_subtraction),
            "score normalisation": protocol.normalisation,
            "EER": result.eer.definition,
            "minDCF": f"{result.min_dcf[0].definition}; c_miss {result.min_dcf[0].c_miss:g}, "
            f"c_fa {result.min_dcf[0].c_fa:g}",
            "intervals": f"{100 * intervals.level:g} %, {intervals.method}, {intervals.replicates:,} draws of "
            f"{result.counts.speakers} {intervals.unit}s (known from the {intervals.speakers_from}), "
            f"seed {intervals.seed}, {intervals.discarded} draws left out",
            "model": result.model.name,
            "model, SHA-256": result.model.sha256 or "not stored",
            "voxangle": result.voxangle,
            "command": result.command,
            "machine": f"{machine.cpu}, {machine.cores} cores, {machine.system}",
            "libraries": f"Python {machine.python}, numpy {machine.numpy}, torch {machine.torch or 'not loaded'}",
            "date": result.date,
        }
    )
