"""A model's card as a page for people, in Markdown."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from voxangle.config import Config
from voxangle.runtime.described import DescribedCard, Metric, PlainCard

__all__ = ["model_page"]

_WHAT = """\
A speaker encoder of voxangle: it turns a recording into a vector, and two recordings of one voice into vectors of a
small angle.
"""

_USE = """\
## Use

```sh
pip install 'voxangle[{extra}]'
voxangle verify{model} one.wav other.wav
```
"""

_LIMITS = """\
## Limits

- The figures hold for recordings like those they were measured on; other languages, ages, microphones and codecs can
  shift them. Measure on recordings of your own before you choose a threshold.
- Replayed, synthetic and converted voices are not detected.
- A voice is personal data, in many places of a protected kind: ask the people whose voices you compare, say what for,
  and delete what you no longer need. It is not meant for finding out who somebody is without their knowledge.
"""


def model_page(said: Config, place: str | None) -> str:
    """What a card says, as Markdown.

    Args:
        said: the card, a trained model's or an exported one's.
        place: what to name the model by in a command; None for the one that comes with voxangle.

    Raises:
        pydantic.ValidationError: an exported model's card says what this voxangle does not know.
    """
    card = PlainCard.model_validate(said.model_dump(mode="json"))
    extra = "onnx" if place is None or place.lower().endswith(".onnx") else "train"
    named = "" if place is None else f" --model {shlex.quote(place)}"
    parts = [
        f"# {card.name}\n\n{_WHAT}",
        _table([("", ""), *_facts(card)]),
        _USE.format(extra=extra, model=named),
    ]
    if card.metrics:
        parts.append("## What was measured\n\n" + _measured(card.metrics))
    if decision := list(_decision(card)):
        parts.append("## Decision\n\n" + "\n".join(f"- {line}" for line in decision) + "\n")
    parts += ["## Training\n\n" + _training(card), _LIMITS, "## Licence\n\n" + _licence(card)]
    return "\n".join(parts)


def _facts(card: PlainCard) -> Iterator[tuple[str, str]]:
    yield "encoder", _settings(card.encoder)
    yield "features", _settings({key: card.filterbank[key] for key in ("definition", "bins")})
    yield "recordings", f"{card.sample_rate} Hz, mono"
    yield "embedding", f"{card.encoder['dimension']} dimensions"
    yield "made with", f"voxangle {card.voxangle}"


def _settings(settings: Mapping[str, object]) -> str:
    return ", ".join(f"`{key}: {value}`" for key, value in settings.items())


def _measured(metrics: tuple[Metric, ...]) -> str:
    head = ("trial list", "metric", "value", "95 % interval", "targets", "non-targets", "speakers")
    rows = [
        (
            one.trials,
            one.name,
            _figure(one, one.value),
            f"{_figure(one, one.low)} to {_figure(one, one.high)}",
            f"{one.targets:,}",
            f"{one.nontargets:,}",
            f"{one.speakers:,}",
        )
        for one in metrics
    ]
    definitions = dict.fromkeys(f"{one.name}: {one.definition}" for one in metrics)
    notes = dict.fromkeys(note for one in metrics for note in one.notes)
    return "\n".join([_table([head, *rows]), *(f"- {line}" for line in (*definitions, *notes)), ""])


def _figure(metric: Metric, value: float) -> str:
    return f"{100 * value:.2f} %" if metric.name == "EER" else f"{value:.3f}"


def _decision(card: DescribedCard) -> Iterator[str]:
    for limit in card.thresholds:
        yield f"`{limit.name}`: one voice from a cosine score of {limit.value:.4f} ({limit})."
    if (fit := card.calibration) is not None:
        yield f"Log-likelihood ratio: {fit.formula} ({fit.source})."


def _training(card: DescribedCard) -> str:
    if (run := card.training) is not None:
        return (
            f"Recipe `{run.recipe}`, seed {run.seed}: {run.steps:,} steps on {', '.join(run.corpora)}."
            + (" The whole recipe is in the model's description." if run.settings else "")
            + "\n"
        )
    if (origin := card.origin) is not None:
        return f"By {origin.toolkit}; the weights were taken from its `{origin.file}`, SHA-256 `{origin.sha256}`.\n"
    return "Not known.\n"


def _licence(card: DescribedCard) -> str:
    lines = [f"{card.terms or 'Not chosen yet: ask whoever made the model.'}\n"]
    if card.attributions:
        lines += [
            "With thanks to:\n",
            *(f"- {one.name}" + (f" ({one.licence})" if one.licence else "") for one in card.attributions),
            "",
        ]
    return "\n".join(lines)


def _table(rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
