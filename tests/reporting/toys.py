"""Small results with all that a report can show, and a page as a browser sees it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np

from voxangle.data import Trials
from voxangle.scoring import Model, Protocol, Result, evaluate
from voxangle.scoring.measure import remeasure

VOID = {"meta", "img", "br", "link", "path", "circle"}


class Page(HTMLParser):
    """What a browser would see: nested tags, text, addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.drawn_bare: list[str] = []
        self._drawings = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.elements.append((tag, dict(attrs)))
        self.attributes += attrs
        if tag == "svg":
            told = dict(attrs)
            if not self._drawings and not (told.get("aria-label") or told.get("aria-hidden") == "true"):
                self.drawn_bare.append(str(told))
            self._drawings += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "svg":
            self._drawings -= 1

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)

    def values(self, attribute: str) -> list[str | None]:
        return [value for name, value in self.attributes if name == attribute]


def require_sound(text: str) -> Page:
    """A page that is well formed, needs nothing beside it, and tells in words what its pictures show."""
    page = Page(text)
    assert page.open == []
    assert "script" not in page.tags
    assert "http" not in re.sub(r'http-equiv="[^"]*"', "", text)
    for address in [*page.values("src"), *page.values("href")]:
        assert address is not None
        assert address.startswith(("data:", "#"))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {f"#{one}" for one in ids} >= set(page.values("href"))
    assert page.drawn_bare == []
    for tag, attributes in page.elements:
        if tag == "img":
            assert attributes["alt"]
        if tag == "th":
            assert attributes["scope"] in {"row", "col"}
        if tag == "audio":
            assert attributes["aria-label"]
            assert attributes["preload"] == "none"
    assert page.tags.count("caption") == page.tags.count("table")
    assert page.tags.count("h1") == 1
    assert "nan" not in re.sub('"data:[^"]*"', "", text).lower()
    return page


def toy_result(
    system: str = "toy",
    name: str = "list",
    *,
    speakers: int = 8,
    noise: float = 1.0,
    seed: int = 0,
    calibrated: bool = False,
    protocol: Protocol | None = None,
    notes: tuple[str, ...] = (),
) -> Result:
    """A system on made-up speakers of three utterances; ``noise`` makes it worse."""
    who = [f"s{number}" for number in range(speakers)]
    keys = [f"{one}/u{utterance}" for one in who for utterance in range(3)]
    speaker_of = {key: key.partition("/")[0] for key in keys}
    generator = np.random.default_rng(0)
    centres = {one: generator.normal(size=8) for one in who}
    generator = np.random.default_rng((1, seed))
    embeddings = {key: centres[speaker_of[key]] + generator.normal(0, noise, 8) for key in keys}
    pairs = [
        (speaker_of[a] == speaker_of[b], a, b) for place, a in enumerate(keys) for b in keys[place + 1 :]
    ]
    trials = Trials.of(name, pairs)
    first = np.arange(len(trials)) % 2 == 0
    result = evaluate(
        embeddings,
        trials,
        speakers=speaker_of,
        model=Model(name=system, sha256="c0ffee"),
        conditions={"even": first, "odd target": ~first & trials.target},
        protocol=protocol,
        replicates=100,
        notes=notes,
        command="voxangle evaluate",
    )
    assert result.scores is not None
    if not calibrated:
        return result
    llrs = (8 * result.scores.scores - 4).astype(np.float32)
    return remeasure(
        result,
        replace(result.scores, llrs=llrs),
        protocol=result.protocol,
        model=result.model,
        calibration="other toys",
        replicates=100,
    )
