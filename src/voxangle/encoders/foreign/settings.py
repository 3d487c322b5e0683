"""What the config beside another toolkit's weights says, as plain data: no tag of it is ever acted on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from voxangle.errors import CheckpointError

__all__ = ["look_up", "read_licence", "read_settings"]

_REFERENCE = re.compile(r"<(\w+)>")
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)


class _PlainLoader(yaml.SafeLoader):
    """YAML whose tags, as ``!new:`` of HyperPyYAML, are passed over: what they stand before is plain data."""


def _plain(loader: yaml.SafeLoader, _tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)  # type: ignore[arg-type]  # no other kind of node is left


_PlainLoader.add_multi_constructor("", _plain)


def read_settings(folder: Path, names: Sequence[str]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The configs that are in a folder under these names, YAML or JSON.

    Raises:
        CheckpointError: one of them is neither.
    """
    for file in (folder / name for name in names):
        if file.is_file():
            content = _parse(file, _text(file))
            if isinstance(content, dict):
                yield file, content


def read_licence(folder: Path, settings: Sequence[Mapping[str, Any]]) -> str | None:
    """The licence that a config or the head of ``README.md`` states; None if none does."""
    readme = folder / "README.md"
    if readme.is_file() and (head := _FRONT_MATTER.match(_text(readme).replace("\r\n", "\n"))):
        content = _parse(readme, head[1])
        settings = [*settings, content] if isinstance(content, dict) else settings
    for stated in settings:
        for key in ("license", "licence"):
            if isinstance(stated.get(key), str):
                return str(stated[key])
    return None


def look_up(settings: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, whose numbers count in lists; None if there is none.

    A value ``<name>`` stands for what ``name`` is at the top, as in HyperPyYAML and in 3D-Speaker's configs.
    """
    value: Any = settings
    for part in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list | tuple) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
        if isinstance(value, str) and (reference := _REFERENCE.fullmatch(value.strip())):
            value = settings.get(reference[1])
    return value


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file}: cannot be read ({error})") from error


def _parse(file: Path, text: str) -> Any:
    try:
        return yaml.load(text, _PlainLoader)  # noqa: S506 - a SafeLoader; JSON is YAML
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(
            f"{file}: cannot be read as a config ({first}); mend it, or move the weights away from it"
        ) from error
