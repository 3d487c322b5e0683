"""One self-contained HTML page: no script, no foreign host, readable on a phone, in the dark and in print."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Protocol

from voxangle.reporting.drawing import DRAWING_STYLE
from voxangle.storage import atomic_write

__all__ = [
    "Block",
    "Code",
    "Details",
    "Facts",
    "Gallery",
    "Image",
    "Part",
    "Section",
    "Table",
    "Text",
    "write_page",
]

_MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #59636e; --line: #d1d9e0;
  --shade: #f3f5f7; --accent: #0067a3; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --paper: #14171a; --faint: #a3adb8;
  --line: #3a424b; --shade: #1e2328; --accent: #6cb8ea; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 2px solid var(--accent); }
p { max-width: 44rem; margin: .6rem 0; white-space: pre-line; }
.lead { font-size: 1.125rem; color: var(--faint); }
.wide { overflow-x: auto; margin: 1rem 0; background:
  linear-gradient(to left, var(--paper) 1rem, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--accent), transparent) right / .5rem 100% no-repeat scroll; }
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
h3 { font-size: 1.05rem; margin: 1.75rem 0 .25rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 1rem 0 0; padding: 0; list-style: none; }
a { color: var(--accent); } a:focus-visible, summary:focus-visible, .wide:focus-visible, audio:focus-visible {
  outline: 2px solid var(--accent); outline-offset: 2px; }
summary { cursor: pointer; color: var(--accent); }
details { margin: .5rem 0; }
td.span, th.span { padding: .1rem .5rem; text-align: left; }
svg.row { display: block; width: 9rem; height: auto; font: 11px system-ui, sans-serif; }
.players { margin: .25rem 0; padding-top: .25rem; border-top: 1px solid var(--line); }
.players figcaption { color: var(--ink); }
.side { margin: .35rem 0 0; color: var(--faint); font-size: .85rem; overflow-wrap: anywhere; }
audio { display: block; width: 100%; max-width: 30rem; height: 2.5rem; margin: .35rem 0; }
pre { background: var(--shade); padding: .8rem 1rem; border-radius: .4rem; overflow-x: auto; font-size: .88rem; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .25rem 1.25rem; }
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 34rem) { table { font-size: .84rem; } th, td { padding: .35rem .3rem; }
  svg.row { width: 6rem; }
  td.span, th.span { padding: .1rem; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } .wide { overflow: visible; }
  audio, nav { display: none; } pre { white-space: pre-wrap; } figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; } }
"""


class Block(Protocol):
    """What stands on a page."""

    def html(self) -> str:
        """Its markup."""
        ...


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
        caption = escape(self.caption)
        return (
            f'<div class="wide" role="region" aria-label="{caption}" tabindex="0">'
            f"<table><caption><span>{caption}</span></caption>"
            f"<thead><tr>{self.head()}</tr></thead><tbody>{self.body()}</tbody></table></div>"
        )

    def head(self) -> str:
        """The header's cells."""
        return "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.header)

    def body(self) -> str:
        """The rows."""
        return "".join(f"<tr>{self._row(row)}</tr>" for row in self.rows)

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

    images: Sequence[Block]

    def html(self) -> str:
        """The gallery's markup."""
        return f'<div class="gallery">{"".join(image.html() for image in self.images)}</div>'


@dataclass(frozen=True)
class Details:
    """Blocks that open at a touch of their name."""

    name: str
    blocks: Sequence[Block]

    def html(self) -> str:
        """The markup, closed; in print the name alone."""
        return f"<details><summary>{escape(self.name)}</summary>{_joined(self.blocks)}</details>"


@dataclass(frozen=True)
class Part:
    """A heading within a section, and what stands under it."""

    heading: str
    blocks: Sequence[Block]

    def html(self) -> str:
        """The part's markup."""
        return f"<h3>{escape(self.heading)}</h3>\n{_joined(self.blocks)}"


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    heading: str
    blocks: Sequence[Block]

    def html(self, anchor: str = "") -> str:
        """The section's markup; ``anchor`` is its name in the page's address."""
        named = f' id="{escape(anchor)}"' if anchor else ""
        return f"<section{named}>\n<h2>{escape(self.heading)}</h2>\n{_joined(self.blocks)}\n</section>"


def _joined(blocks: Sequence[Block]) -> str:
    return "\n".join(block.html() for block in blocks)


def write_page(
    path: str | Path, title: str, sections: Sequence[Section], *, lead: str = "", contents: bool = False
) -> None:
    """Write one HTML page that needs nothing beside it, atomically.

    Args:
        path: the page to write.
        title: of the page.
        sections: in their order.
        lead: what the page says in one or two sentences, below the title.
        contents: list the sections at the top.

    Raises:
        ValueError: a picture is neither PNG nor SVG.
    """
    anchors = [f"section-{number}" for number in range(1, len(sections) + 1)]
    links = "".join(
        f'<li><a href="#{anchor}">{escape(section.heading)}</a></li>'
        for anchor, section in zip(anchors, sections, strict=True)
    )
    body = "\n".join(section.html(anchor) for anchor, section in zip(anchors, sections, strict=True))
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_STYLE}{DRAWING_STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{f'<p class="lead">{escape(lead)}</p>' if lead else ""}
</header>
{f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if contents else ""}
<main>
{body}
</main>
</body>
</html>
"""
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
