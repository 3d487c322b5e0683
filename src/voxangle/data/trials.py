"""Trials: pairs of an enrolment and a test utterance, each with the truth about whether one person speaks in both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from voxangle.data.trial_files import TrialLines, read_models, read_trial_lines
from voxangle.errors import TrialError
from voxangle.storage import atomic_write

__all__ = ["Trials"]

_LINES_A_BLOCK = 1 << 16

Indices = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Trials:
    """Pairs of utterances by key; the enrolment may also be a model, made of several utterances.

    Attributes:
        name: what to call the list in a table.
        utterances: the keys that are to be embedded, each once, in order of appearance; those that only models
            name come last.
        enrol: shape (trials,), int64 indices into ``keys``: of an utterance, or of a model.
        test: shape (trials,), int64 indices into ``utterances``.
        target: shape (trials,), bool; true where both sides are one speaker.
        models: by name, int64 indices into ``utterances``, at least one each; empty where every enrolment is one
            utterance. A model's embedding is the mean of its utterances' embeddings, before these are brought to
            unit length (CN-Celeb's rule ``average``).
        concatenated: whether each enrolment is one recording that the corpus joined from several (CN-Celeb's rule
            ``concatenated``).
    """

    name: str
    utterances: tuple[str, ...]
    enrol: Indices
    test: Indices
    target: np.ndarray[Any, np.dtype[np.bool_]]
    models: Mapping[str, Indices] = field(default_factory=dict)
    concatenated: bool = False

    @property
    def enrolment(self) -> Literal["one utterance", "average", "concatenated"]:
        """The rule of enrolment; results under different ones do not compare."""
        if self.models:
            return "average"
        return "concatenated" if self.concatenated else "one utterance"

    @property
    def keys(self) -> tuple[str, ...]:
        """The utterances, then the names of the models: what ``enrol`` and ``test`` index."""
        return (*self.utterances, *self.models)

    @classmethod
    def of(
        cls,
        name: str,
        pairs: Iterable[tuple[bool, str, str]],
        *,
        models: Mapping[str, Sequence[str]] | None = None,
    ) -> Trials:
        """Trials from (target, enrolment key, test key).

        Args:
            name: what to call the list.
            pairs: the trials.
            models: utterances by name of a model; an enrolment key that stands here is that model, any other is
                an utterance. Models that no trial enrols are left out.

        Raises:
            TrialError: a model has no utterance, names one twice, or is called like an utterance of the list.
        """
        number: dict[str, int] = {}
        rows = [
            (target, number.setdefault(a, len(number)), number.setdefault(b, len(number)))
            for target, a, b in pairs
        ]
        table = np.array(rows, dtype=np.int64).reshape(-1, 3)
        return cls.numbered(name, list(number), table[:, 1], table[:, 2], table[:, 0].astype(bool), models)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        known: Container[str] | None = None,
        models: Mapping[str, Sequence[str]] | str | Path | None = None,
        repeated: bool = False,
    ) -> Trials:
        """Read a list; the file's stem is the name.

        All lines have one of three forms, found from the whole file:

        - ``1 KEY KEY`` (target) and ``0 KEY KEY`` (non-target), as VoxCeleb's lists, and what ``write`` writes;
        - ``KEY KEY 1`` and ``KEY KEY 0``, as CN-Celeb's ``trials.lst``;
        - ``KEY KEY target`` and ``KEY KEY nontarget``, as Kaldi's.

        The enrolment is the first key. Where keys are themselves ``0`` or ``1`` so that a whole file fits two
        forms, it is the first of them. White space separates the three; where a key contains some, tabs do.

        Args:
            path: of the list.
            known: the utterances that may occur; None for any.
            models: utterances by name of a model (see ``of``), or a file of lines ``MODEL KEY KEY ...`` (Kaldi's
                ``spk2utt``; CN-Celeb's ``enroll.map``).
            repeated: allow that a trial stands there several times, as in lists that were published so; it then
                counts as often.

        Raises:
            TrialError: a file is missing or empty, or a line has another form or names an unknown utterance (its
                number is named); a trial stands there twice, or as target and as non-target; or as ``of``.
        """
        lines = read_trial_lines(Path(path))
        _require_distinct(lines, repeated)
        source = f"{models}" if isinstance(models, str | Path) else f"{path}, models"
        given = read_models(models) if isinstance(models, str | Path) else models or {}
        if known is not None:
            _require_known(lines, given, source, known)
        return cls.numbered(lines.path.stem, lines.words, lines.enrol, lines.test, lines.target, given)

    @classmethod
    def numbered(
        cls,
        name: str,
        words: Sequence[str],
        enrol: np.ndarray[Any, np.dtype[Any]],
        test: np.ndarray[Any, np.dtype[Any]],
        target: np.ndarray[Any, np.dtype[np.bool_]],
        models: Mapping[str, Sequence[str]] | None = None,
    ) -> Trials:
        """Trials from numbers of keys, as where there are too many for a pair of strings each.

        Args:
            name: what to call the list.
            words: keys, each once; those that no trial has are left out.
            enrol: shape (trials,), indices into ``words``: of utterances, or of names of models.
            test: shape (trials,), indices into ``words``.
            target: shape (trials,), bool.
            models: as in ``of``.

        Raises:
            TrialError: as in ``of``.
        """
        models = models or {}
        is_model = np.array([word in models for word in words], dtype=bool)
        enrolled = _in_order_of_appearance(len(words), enrol)
        named = [words[i] for i in enrolled if is_model[i]]
        spoken = _in_order_of_appearance(len(words), enrol, test, without=is_model)
        index = {words[i]: position for position, i in enumerate(spoken)}
        for model in named:
            members = models[model]
            if not members or len(set(members)) < len(members):
                wrong = "names an utterance twice" if members else "has no utterance"
                raise TrialError(f"{name}: the model '{model}' {wrong}")
            for key in members:
                index.setdefault(key, len(index))
        if both := [model for model in named if model in index]:
            raise TrialError(
                f"{name}: '{both[0]}' is a model and also an utterance of the list ({len(both)} such name(s)); a "
                "model stands first in a trial, and its name is no utterance's"
            )
        place = np.full(len(words), -1)
        place[spoken] = np.arange(len(spoken))
        side = place.copy()
        side[[i for i in enrolled if is_model[i]]] = len(index) + np.arange(len(named))
        members_of = {model: np.array([index[key] for key in models[model]], np.int64) for model in named}
        return cls(name, tuple(index), side[enrol], place[test], target, members_of)

    def write(self, path: str | Path, *, models: str | Path | None = None) -> None:
        """Write the list as ``1 KEY KEY`` and ``0 KEY KEY``, and its models to another file, both atomically.

        Raises:
            TrialError: a key is empty, contains a tab or a line break, or has white space at its ends; or the
                list has models, and no file is given for them, or a key has white space within.
        """
        for key in self.keys:
            if not key or key != key.strip() or set(key) & set("\t\n\r"):
                raise TrialError(
                    f"{path}: the key {key!r} cannot stand in a trial list; keys are not empty, have no tab "
                    "or line break, and no white space at their ends"
                )
        spaced = next((key for key in self.keys if len(key.split()) > 1), None)
        if self.models and (models is None or spaced):
            why = "no file is given for them" if models is None else f"the key {spaced!r} has white space"
            raise TrialError(f"{path}: the list has models that cannot be written: {why}")
        if models is not None:
            with atomic_write(models) as temporary:
                temporary.write_text("".join(self._lines_of_models()), encoding="utf-8")
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            file.writelines(self._lines("\t" if spaced else " "))

    def sha256(self) -> str:
        """SHA-256 of the list's content, whatever its name.

        It is that of the file ``write`` writes, with a space between keys; where there are models, an empty line
        and the file of models follow.
        """
        digest = hashlib.sha256()
        for block in self._lines(" "):
            digest.update(block)
        if self.models:
            digest.update("".join(["\n", *self._lines_of_models()]).encode())
        return digest.hexdigest()

    def renamed(self, key_of: Callable[[str], str]) -> Trials:
        """The same trials with other keys for the utterances, as where a corpus's list leaves out a folder.

        Raises:
            TrialError: two utterances get one key.
        """
        utterances = tuple(key_of(key) for key in self.utterances)
        if len(set(utterances)) < len(utterances):
            twice = next(key for key in utterances if utterances.count(key) > 1)
            raise TrialError(f"{self.name}: two utterances would be called '{twice}'")
        return replace(self, utterances=utterances)

    def __len__(self) -> int:
        return len(self.target)

    def _lines(self, between: str) -> Iterator[memoryview]:
        label = pa.array([f"0{between}", f"1{between}"])
        enrol = pa.array([f"{key}{between}" for key in self.keys], pa.string())
        test = pa.array([f"{key}\n" for key in self.utterances], pa.string())
        for first in range(0, len(self), _LINES_A_BLOCK):
            block = slice(first, first + _LINES_A_BLOCK)
            lines = pc.binary_join_element_wise(
                label.take(pa.array(self.target[block].astype(np.int8))),
                enrol.take(pa.array(self.enrol[block])),
                test.take(pa.array(self.test[block])),
                "",
            )
            _, ends, text = lines.buffers()
            yield memoryview(text)[: np.frombuffer(ends, np.int32)[len(lines)]]

    def _lines_of_models(self) -> list[str]:
        return [
            " ".join([model, *(self.utterances[i] for i in members)]) + "\n"
            for model, members in self.models.items()
        ]


def _in_order_of_appearance(
    words: int,
    *columns: np.ndarray[Any, np.dtype[Any]],
    without: np.ndarray[Any, np.dtype[np.bool_]] | None = None,
) -> Indices:
    """Numbers of the words that stand in the columns (in the first, not those ``without``), row by row."""
    never = len(columns) * len(columns[0])
    first = np.full(words, never)
    for place, column in enumerate(columns):
        appearance = np.full(words, never)
        # Of several values for one index the last stays: the first row's.
        appearance[column[::-1]] = np.arange(len(column))[::-1] * len(columns) + place
        if without is not None and place == 0:
            appearance[without] = never
        np.minimum(first, appearance, out=first)
    order = np.argsort(first, kind="stable")
    return order[: int(np.count_nonzero(first < never))]


def _require_distinct(lines: TrialLines, repeated: bool) -> None:
    pair = lines.enrol.astype(np.int64) * len(lines.words) + lines.test
    ordered = np.sort(pair)
    if (ordered[1:] != ordered[:-1]).all():
        return
    order = np.argsort(pair, kind="stable")
    again = np.flatnonzero(pair[order[1:]] == pair[order[:-1]])
    unlike = lines.target[order[again + 1]] != lines.target[order[again]]
    if repeated and not unlike.any():
        return
    at = again[int(np.argmax(unlike))]
    first, other = order[at], order[at + 1]
    where = f"{lines.path}, lines {lines.line[first]} and {lines.line[other]}"
    who = f"'{lines.words[lines.enrol[first]]}' and '{lines.words[lines.test[first]]}'"
    if unlike.any():
        raise TrialError(
            f"{where}: {who} are a target and also a non-target trial ({np.count_nonzero(unlike):,} such); correct the "
            "list"
        )
    raise TrialError(
        f"{where}: the trial of {who} stands there twice ({again.size:,} lines repeat an earlier one) and would count "
        "twice; remove them, or allow it (--repeated-trials) where the list was published so"
    )


def _require_known(
    lines: TrialLines, models: Mapping[str, Sequence[str]], source: str, known: Container[str]
) -> None:
    utterance = np.array([word in known for word in lines.words], dtype=bool)
    enrolment = utterance | np.array([word in models for word in lines.words], dtype=bool)
    bad = ~(enrolment[lines.enrol] & utterance[lines.test])
    if bad.any():
        trial = int(np.argmax(bad))
        side = lines.test if enrolment[lines.enrol[trial]] else lines.enrol
        cure = (
            "none is, so it is the list of another corpus or release"
            if bad.all()
            else "correct the list, or add the recording"
        )
        raise TrialError(
            f"{lines.path}, line {lines.line[trial]}: there is no utterance '{lines.words[side[trial]]}' "
            f"({np.count_nonzero(bad):,} of {len(bad):,} trials have such); {cure}"
        )
    used = {lines.words[i] for i in np.unique(lines.enrol)}
    for model, members in models.items():
        missing = [key for key in members if key not in known]
        if missing and model in used:
            raise TrialError(
                f"{source}: there is no utterance '{missing[0]}' of the model '{model}'; correct the models, or add "
                "the recording"
            )
