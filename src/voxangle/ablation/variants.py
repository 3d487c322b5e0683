"""Variants of a recipe: what an axis names, and the recipes that come of it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from voxangle.errors import RecipeError, nearest
from voxangle.recipe import Recipe

__all__ = ["Base", "Variant", "VariantNames", "differences", "make_variants", "read_variants"]

_SHIPPED = Path(__file__).with_name("variants.yaml")
_OWN = "own"
_TAGS = ("kind", "architecture", "definition")

VariantNames = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""What a name changes, by axis and name: values by the recipe's entries, in order."""


class Change(NamedTuple):
    """An entry of a recipe, such as ``objective.contrastive.margin``, and its new value."""

    key: str
    value: Any


@dataclass(frozen=True, eq=False)  # a change may be a section, which has no hash
class Variant:
    """A recipe with some entries changed.

    Attributes:
        name: on all its axes, in the words of the command line.
        changes: one after the other.
        previous: name of the variant that comes before it on the first axis, all else being equal; None for the
            first ones.
    """

    name: str
    changes: tuple[Change, ...]
    previous: str | None = None

    @property
    def slug(self) -> str:
        """The name as a name of a folder."""
        return re.sub(r"[^\w.-]+", "-", self.name.replace("+", "plus-")).strip("-.")


class Base:
    """The recipe that is varied.

    Args:
        path: the recipe's.
        settings: overrides ``key=value`` that all variants share.

    Raises:
        RecipeError: the recipe does not hold.
    """

    def __init__(self, path: str | Path, settings: Sequence[str] = ()) -> None:
        self._path, self._settings = path, settings
        self.recipe = Recipe.read(path, settings)
        self._plain = self.recipe.plain()
        required = ("name", "data", "features", "encoder", "schedule")
        self._defaults = Recipe.check({key: self._plain[key] for key in required}, f"{path}").plain()

    def keys(self) -> list[str]:
        """All entries of the effective recipe, sections included."""
        return list(_entries(self._plain))

    def with_variant(self, variant: Variant, seed: int) -> Recipe:
        """The recipe of a variant and seed.

        Raises:
            RecipeError: it does not hold; the message names the variant.
        """
        changes = [
            f"{key}={json.dumps(self._own(key) if value == _OWN else value, default=str)}"
            for key, value in variant.changes
        ]
        named = [f"seed={seed}", f"name={json.dumps(f'{variant.slug} seed {seed}')}"]
        try:
            return Recipe.read(self._path, [*self._settings, *changes, *named])
        except RecipeError as error:
            raise RecipeError(f"variant '{variant.name}': {error}") from error

    def _own(self, key: str) -> Any:
        for content in (self._plain, self._defaults):
            if (value := _at(content, key)) is not None:
                return value
        return None


def read_variants(path: str | Path | None = None) -> VariantNames:
    """The variants that have names: those of voxangle and, before them, those of a file of the same form.

    Raises:
        RecipeError: the file is missing, not YAML, or of another form.
    """
    shipped: dict[str, Any] = yaml.safe_load(_SHIPPED.read_text(encoding="utf-8"))
    if path is None:
        return shipped
    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: no such file of variants") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path}: cannot be read as variants: {error}") from error
    if not isinstance(given, dict) or not all(_holds(names) for names in given.values()):
        raise RecipeError(
            f"{path}: variants are YAML of the form `axis: {{name: {{optimizer.lr: 0.01}}}}`: an axis, a name on it, "
            "and the recipe's entries that it changes"
        )
    plain = {
        str(axis): {str(name): change for name, change in names.items()} for axis, names in given.items()
    }
    return {axis: {**shipped.get(axis, {}), **plain.get(axis, {})} for axis in {**shipped, **plain}}


def make_variants(axes: Sequence[str], names: VariantNames, base: Base) -> tuple[Variant, ...]:
    """The variants that axes ask for: the product of their values, the first axis slowest.

    Args:
        axes: ``AXIS=VALUE,VALUE...`` each. ``AXIS`` is one of ``names``, and each value then a name on it, or
            ``+NAME``: the value before it, changed further. Else ``AXIS`` is an entry of the recipe, or its last
            word where no other entry ends so, and each value is one of that entry, as YAML.
        names: the variants that have names.
        base: the recipe that is varied.

    Raises:
        RecipeError: an axis, entry or name is unknown (the nearest is named), stands twice, or changes what the
            variant before it has switched off.
    """
    parsed = [_axis(text, names, base) for text in axes]
    if len({key for key, _ in parsed}) < len(parsed):
        raise RecipeError("--axes: an axis stands there twice; give all its values at once")
    made = []
    for chosen in itertools.product(*(range(len(points)) for _, points in parsed)):
        points = [points[i] for i, (_, points) in zip(chosen, parsed, strict=True)]
        before = None
        if chosen[0]:
            before = _joined([parsed[0][1][chosen[0] - 1], *points[1:]])
        made.append(
            Variant(_joined(points), tuple(change for point in points for change in point.changes), before)
        )
    slugs: dict[str, Variant] = {}
    for variant in made:
        if (other := slugs.setdefault(variant.slug, variant)) is not variant:
            raise RecipeError(
                f"the variants '{other.name}' and '{variant.name}' would have one folder, {variant.slug}; leave one of "
                "them out"
            )
    return tuple(made)


def differences(one: Any, other: Any, key: str = "") -> dict[str, tuple[Any, Any]]:
    """The entries in which two plain recipes differ, with both values; a section of another kind is one entry.

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})
    {'a.c': (2, 3)}
    """
    if isinstance(one, dict) and isinstance(other, dict) and all(one.get(t) == other.get(t) for t in _TAGS):
        return {
            inner: values
            for name in {**one, **other}
            for inner, values in differences(
                one.get(name), other.get(name), f"{key}.{name}" if key else name
            ).items()
        }
    return {} if one == other else {key: (one, other)}


def _axis(text: str, names: VariantNames, base: Base) -> tuple[str, list[Variant]]:
    axis, equals, values = text.partition("=")
    given = [value.strip() for value in _split(values)]
    if not equals or not axis or not all(given):
        raise RecipeError(
            f"--axes {text}: expected AXIS=VALUE,VALUE, such as objective=aam,full or optimizer.lr=0.001,0.002"
        )
    if axis in names:
        points = _named(axis, given, names[axis])
    else:
        key = _entry(axis, names, base)
        points = [Variant(f"{axis}={value}", (Change(key, _value(text, value)),)) for value in given]
        axis = key
    twice = [point.name for i, point in enumerate(points) if point.name in {p.name for p in points[:i]}]
    if twice:
        raise RecipeError(f"--axes {text}: '{twice[0]}' stands there twice")
    return axis, points


def _named(axis: str, given: Sequence[str], known: Mapping[str, Mapping[str, Any]]) -> list[Variant]:
    points: list[Variant] = []
    for value in given:
        name = value.removeprefix("+")
        if name not in known:
            raise RecipeError(f"--axes {axis}: unknown variant '{name}'{nearest(name, known)}")
        before: tuple[Change, ...] = ()
        if name != value:
            if not points:
                raise RecipeError(f"--axes {axis}: '{value}' changes the variant before it, and is the first")
            before = points[-1].changes
        changes = tuple(Change(key, change) for key, change in known[name].items())
        for key, _ in changes:
            if before and (off := _switched_off(before, key)):
                raise RecipeError(
                    f"--axes {axis}: '{value}' changes {key}, but '{points[-1].name}' before it has {off}: null; "
                    f"let '{value}' follow a variant that has it"
                )
        points.append(Variant(value, (*before, *changes)))
    return points


def _switched_off(changes: Sequence[Change], key: str) -> str | None:
    """The section around an entry that changes have set to null, if they have."""
    off: str | None = None
    for changed, value in changes:
        if key.startswith(f"{changed}."):
            off = changed if value is None else None
        elif off and changed.startswith(f"{off}."):
            off = None
    return off


def _entry(axis: str, names: VariantNames, base: Base) -> str:
    """The recipe's entry that an axis means."""
    keys = base.keys()
    if axis in keys or axis.partition(".")[0] in keys:
        return axis  # an entry that the recipe does not have is found, with the nearest, when the recipe is checked
    ends = [key for key in keys if key.endswith(f".{axis}")]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise RecipeError(f"--axes {axis}: which one of {', '.join(ends)}? Give the whole entry")
    hint = nearest(axis, [*names, *keys])
    if not hint.startswith("; did you mean"):
        hint = f"; known: {', '.join(names)}, and every entry of the recipe, such as optimizer.lr"
    raise RecipeError(f"--axes {axis}: no axis of that name, nor an entry of the recipe{hint}")


def _value(text: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--axes {text}: '{value}' is not a YAML value") from error


def _split(values: str) -> Iterator[str]:
    """Values between commas that stand in no bracket."""
    depth, begun = 0, 0
    for place, sign in enumerate(values):
        depth += (sign in "[{") - (sign in "]}")
        if sign == "," and depth == 0:
            yield values[begun:place]
            begun = place + 1
    yield values[begun:]


def _joined(points: Sequence[Variant]) -> str:
    return ", ".join(point.name for point in points)


def _holds(names: object) -> bool:
    return isinstance(names, dict) and all(
        isinstance(change, dict) and change and all(isinstance(key, str) for key in change)
        for change in names.values()
    )


def _entries(content: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in content.items():
        yield f"{above}{name}"
        if isinstance(value, dict):
            yield from _entries(value, f"{above}{name}.")


def _at(content: Any, key: str) -> Any:
    for name in key.split("."):
        if not isinstance(content, dict):
            return None
        content = content.get(name)
    return content
