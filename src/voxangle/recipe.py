"""A recipe: one YAML file that is the whole truth of a training run."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import yaml
from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from voxangle.augment import AugmentConfig
from voxangle.config import Config
from voxangle.encoders import EncoderConfig
from voxangle.errors import RecipeError, nearest
from voxangle.features import AnyFilterbankConfig, FilterbankConfig
from voxangle.objectives import ObjectiveConfig
from voxangle.storage import atomic_write
from voxangle.training.config import LoopConfig, OptimizerConfig, ScheduleConfig

__all__ = ["BatchConfig", "DataConfig", "PlaceConfig", "Recipe", "Source", "as_yaml"]

_TAGGED_BY = ("kind", "architecture", "definition")  # the entry that tells one kind of a section from another
_PATHS = re.compile(r"start_from|data\.(corpora\..+\.)?root|data\.shards|augment\.(musan|rirs|music)")


def _speeds(speeds: tuple[float, ...]) -> tuple[float, ...]:
    if 1.0 not in speeds:
        raise ValueError("1.0, the speed of the recordings themselves, must be among them")
    if len(set(speeds)) < len(speeds):
        raise ValueError("a speed stands there twice")
    if any((100 * Fraction(str(speed))).denominator > 1 for speed in speeds):
        raise ValueError("speeds are multiples of 0.01")
    return speeds


class PlaceConfig(Config):
    """Where one of several corpora lies and which split of it to take; null as in ``DataConfig``."""

    root: Path | None = None
    split: str | None = None


class Source(NamedTuple):
    """A corpus to train on: its name, where it lies and its split, where they are said."""

    corpus: str
    root: Path | None
    split: str | None


class DataConfig(Config):
    """What to train on.

    Attributes:
        corpus: a name of ``voxangle corpora list``.
        corpora: several of them instead, by name, each with a ``root`` and a ``split`` of its own, or those below.
            Who has one name in two of them is one speaker.
        root: where it lies; null for the cache that ``voxangle corpora get`` fills. A relative path is relative
            to the recipe's file (on the command line, to the working folder).
        shards: read the corpus from here instead: a folder or URL with the split's shards, as ``voxangle corpora
            shard`` wrote them. Batches then come in the shards' order, through a buffer.
        buffer: recordings of the shards that wait to be drawn from, in each process; the more, the better mixed.
        split: the split to train on; null for ``train``, or all there is where the corpus has no splits.
        join_seconds: recordings shorter than this are joined with the next ones of the same speaker and channel
            until they are not (CN-Celeb: within the genre, to 5 s); null to leave them as they are. It comes before
            all that follows, and counts for validation too.
        speeds: each speaker played at another speed, pitch and all, is a speaker of its own: three speeds make three
            times the classes.
        validation_speakers: speakers of the split held out of training, for the validation error rate and the
            decision threshold. The same ones whatever the seed.
        validation_recordings: recordings a validation speaker, at most.
        minimum_seconds: shorter recordings are left out, and counted.
        minimum_recordings: speakers with fewer are left out, and counted.
        swapped_labels: share of the training recordings that are said to be of another speaker, for experiments with
            wrong labels: they exchange their speakers among themselves. The same ones whatever the seed; those of a
            smaller share are among those of a greater. Validation keeps its labels.
    """

    corpus: str | None = None
    corpora: dict[str, PlaceConfig] | None = Field(None, min_length=1)
    root: Path | None = None
    shards: str | None = Field(None, min_length=1)
    buffer: int = Field(4096, gt=0)
    split: str | None = None
    join_seconds: float | None = Field(None, gt=0)
    speeds: Annotated[tuple[Annotated[float, Field(ge=0.5, le=2)], ...], AfterValidator(_speeds)] = (1.0,)
    validation_speakers: int = Field(0, ge=0)
    validation_recordings: int = Field(8, ge=2)
    minimum_seconds: float = Field(0.5, ge=0)
    minimum_recordings: int = Field(1, ge=1)
    swapped_labels: float = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if (self.corpus is None) == (self.corpora is None):
            raise ValueError("name what to train on, by corpus, or by corpora where there are several")
        if self.shards is not None and (self.corpora or self.join_seconds is not None):
            raise ValueError(
                "shards are read in their order: corpora and join_seconds need the recordings themselves; leave them "
                "out, or leave out shards"
            )
        if self.shards is not None and self.swapped_labels:
            raise ValueError(
                "shards hold their labels: swapped_labels needs the recordings themselves; leave out one"
            )
        return self

    @property
    def sources(self) -> tuple[Source, ...]:
        """The corpora to train on, in order."""
        places = self.corpora or {self.corpus or "": PlaceConfig()}
        return tuple(
            Source(name, place.root or self.root, place.split or self.split) for name, place in places.items()
        )


class BatchConfig(Config):
    """The global batch, over all ranks: ``speakers`` x ``recordings`` crops of ``seconds``.

    With ``alike`` its speakers are alike in these columns of the manifest, such as ``[language, channel]``, as far as
    there are enough: harder negatives, which nothing but the voice tells apart.
    """

    speakers: int = Field(32, ge=2, le=100_000)
    recordings: int = Field(2, ge=1, le=1000)
    seconds: float = Field(2.0, gt=0.1, le=60)
    alike: tuple[Literal["gender", "language", "channel"], ...] = ()


class Recipe(Config):
    """Everything that decides the weights that come out, and how the run is watched.

    Attributes:
        start_from: the folder of another run, whose encoder and prototypes this one begins with (large-margin
            fine-tuning; speakers are matched by name), or of a model, whose encoder alone it begins with; null to
            begin at random.
        features: what the encoder reads; ``definition`` names one of ``FILTERBANKS``, Kaldi's where none is named.
    """

    name: str = Field(pattern=r"^\w[\w. -]*$")
    seed: int = Field(1, ge=0, lt=2**63)
    start_from: Path | None = None
    data: DataConfig
    batch: BatchConfig = BatchConfig()
    augment: AugmentConfig = AugmentConfig()
    features: AnyFilterbankConfig = FilterbankConfig()
    encoder: EncoderConfig
    objective: ObjectiveConfig = ObjectiveConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig
    training: LoopConfig = LoopConfig()

    @model_validator(mode="after")
    def _features_fit(self) -> Self:
        if self.encoder.bins != self.features.bins:
            raise ValueError(
                f"encoder.bins ({self.encoder.bins}) and features.bins ({self.features.bins}) differ: --set "
                f"features.bins={self.encoder.bins} makes them alike"
            )
        if self.batch.alike and self.data.shards is not None:
            raise ValueError(
                "shards are read in their order: batch.alike needs the recordings themselves; leave out one"
            )
        if self.objective.contrastive is not None and self.batch.recordings * self.augment.views < 2:
            raise ValueError(
                "no anchor has a positive with batch.recordings 1 and augment.views 1: raise one of them, or set "
                "objective.contrastive to null"
            )
        return self

    @classmethod
    def read(cls, path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
        """Read a recipe, with ``key.of.it=value`` overrides (values as YAML).

        Raises:
            RecipeError: no such file, not YAML, an unknown key (the nearest one is named), or a value out of
                range.
        """
        path = Path(path)
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RecipeError(f"{path}: no such recipe") from error
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path}: cannot be read as a recipe ({error})") from error
        except yaml.YAMLError as error:
            raise RecipeError(f"{path}: not YAML: {error}") from error
        if not isinstance(content, dict):
            raise RecipeError(
                f"{path}: a recipe is a YAML mapping of sections, such as 'data:' and 'encoder:'"
            )
        content.setdefault("name", path.stem)
        for override in overrides:
            _set(content, override)
        recipe = cls.check(content, str(path))
        return recipe._with_absolute_paths(path.resolve().parent)

    @classmethod
    def check(cls, content: dict[str, Any], where: str) -> Recipe:
        """A recipe from plain data; ``where`` it came from begins the message of an error."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            problems = "\n".join(f"  {line}" for line in _explain(error))
            raise RecipeError(f"{where}: the recipe does not hold:\n{problems}") from error

    def plain(self) -> dict[str, Any]:
        """The effective recipe, defaults filled in, as plain data."""
        return self.model_dump(mode="json")

    def published(self) -> dict[str, Any]:
        """As ``plain``, with no more than the names of files and folders: where they lie is its owner's business."""
        names = self._with_places(
            lambda path: Path(path.name), lambda url: url.rstrip("/").rpartition("/")[2]
        )
        return names.plain()

    def write(self, path: Path) -> None:
        """Write the effective recipe as YAML, atomically."""
        with atomic_write(path) as temporary:
            temporary.write_text(yaml.safe_dump(self.plain(), sort_keys=False), encoding="utf-8")

    def _with_absolute_paths(self, folder: Path) -> Recipe:
        return self._with_places(
            lambda path: (folder / path.expanduser()).resolve(), lambda url: _absolute_url(url, folder)
        )

    def _with_places(self, of_path: Callable[[Path], Path], of_url: Callable[[str], str]) -> Recipe:
        """The recipe with every file and folder that it names said in another way."""

        def changed(path: Path | None) -> Path | None:
            return path and of_path(path)

        places = self.data.corpora and {
            name: place.model_copy(update={"root": changed(place.root)})
            for name, place in self.data.corpora.items()
        }
        shards = self.data.shards and of_url(self.data.shards)
        banks = {name: changed(getattr(self.augment, name)) for name in ("musan", "rirs", "music")}
        return self.model_copy(
            update={
                "start_from": changed(self.start_from),
                "data": self.data.model_copy(
                    update={"root": changed(self.data.root), "shards": shards, "corpora": places}
                ),
                "augment": self.augment.model_copy(update=banks),
            }
        )


def as_yaml(content: Mapping[str, Any]) -> str:
    """Sections in YAML, each on one line where it is flat."""
    return yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=None, width=10_000)


def _set(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override}: expected key.of.it=value, such as optimizer.lr=0.1")
    *sections, last = key.split(".")
    target = content
    for section in sections:
        if target.get(section) is None:
            target[section] = {}
        target = target[section]
        if not isinstance(target, dict):
            raise RecipeError(f"--set {override}: '{section}' is a value, not a section")
    try:
        target[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: '{value}' is not a YAML value") from error
    if _PATHS.fullmatch(key) and isinstance(target[last], str):
        target[last] = _absolute_url(target[last], Path())


def _absolute_url(place: str, folder: Path) -> str:
    return place if "://" in place or "::" in place else str((folder / Path(place).expanduser()).resolve())


def _explain(error: ValidationError) -> Iterable[str]:
    for problem in error.errors():
        if problem["type"] == "extra_forbidden":
            section, unknown = _Section.at(problem["loc"][:-1]), str(problem["loc"][-1])
            known = nearest(unknown, {name for model in section.models for name in model.model_fields})
            yield f"unknown key '{'.'.join([*section.keys, unknown])}'{known}{section.of_another_kind(unknown)}"
            continue
        section = _Section.at(problem["loc"])
        key = ".".join(section.keys)
        if problem["type"] == "missing":
            yield f"'{key}' is missing"
        elif problem["type"] in {"dict_type", "model_type", "model_attributes_type"}:
            yield f"'{key}': expected a section with entries of its own (given: {problem['input']!r})"
        elif problem["type"] == "union_tag_not_found":
            yield f"'{key}.{section.tagged_by}' is missing; known: {', '.join(sorted(section.tags))}"
        elif problem["type"] == "union_tag_invalid":
            tag = problem["ctx"]["tag"]
            yield f"'{key}.{section.tagged_by}': unknown '{tag}'{nearest(tag, section.tags)}"
        else:
            given = "" if isinstance(problem["input"], dict) else f" (given: {problem['input']!r})"
            message = problem["msg"].removeprefix("Value error, ")
            yield f"'{key}': {message}{given}" if key else message


class _Section(NamedTuple):
    """A place in a recipe.

    Attributes:
        keys: that lead there in the file. Tags of unions stand in pydantic's locations but not in the file.
        models: what may stand there.
        others: what else might stand there were its tag another.
        tag: of its kind; none where there are no kinds.
    """

    keys: tuple[str, ...] = ()
    models: tuple[type[BaseModel], ...] = ()
    others: tuple[type[BaseModel], ...] = ()
    tag: str = ""

    @classmethod
    def at(cls, location: Iterable[int | str]) -> _Section:
        section = cls(models=(Recipe,))
        for part in map(str, location):
            section = section._inner(part)
        return section

    def _inner(self, part: str) -> _Section:
        chosen = tuple(model for model in self.models if part in _tags_of(model))
        if chosen:
            return _Section(self.keys, chosen, tuple(m for m in self.models if m not in chosen), part)
        fields = [model.model_fields[part] for model in self.models if part in model.model_fields]
        if not fields:  # a name that the user gave, as of a corpus
            return _Section((*self.keys, part), self.models)
        inner = [model for field in fields for model in _models_in(field.annotation)]
        return _Section((*self.keys, part), tuple(inner))

    @property
    def tagged_by(self) -> str:
        return _tagged_by(self.models[0])

    @property
    def tags(self) -> list[str]:
        return [tag for model in self.models for tag in _tags_of(model)]

    def of_another_kind(self, key: str) -> str:
        """How to leave behind the keys of another kind, where this key is one of them."""
        if not any(key in model.model_fields for model in self.others):
            return ""
        entry, place = self.tagged_by, ".".join(self.keys)
        whole = f"--set {place}='{{{entry}: {self.tag}}}'"
        return f"; the {entry} is {self.tag}: {whole} leaves out what belongs to another"


def _tagged_by(model: type[BaseModel]) -> str:
    return next((entry for entry in _TAGGED_BY if entry in model.model_fields), "")


def _tags_of(model: type[BaseModel]) -> tuple[str, ...]:
    entry = _tagged_by(model)
    return typing.get_args(model.model_fields[entry].annotation) if entry else ()


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models_in(part)]
