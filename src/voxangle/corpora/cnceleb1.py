"""CN-Celeb1: 997 Chinese celebrities in 11 genres, 126,532 utterances; with the evaluation CN-Celeb.E.

``train`` is what ``dev/dev.lst`` lists (797 speakers), ``eval`` the evaluation (196 enrolled speakers, 17,777 test
utterances of these and of 4 more). Y. Fan, J. Kang, L. Li, K. Li, H. Chen, S. Cheng, P. Zhang, Z. Zhou, Y. Cai, D.
Wang, "CN-Celeb: a challenging Chinese speaker recognition dataset", ICASSP 2020. Licence: CC BY-SA 4.0.

Layout: ``CN-Celeb_flac/data/idNNNNN/GENRE-SESSION-NUMBER.flac``, ``dev/dev.lst``, ``eval/enroll/idNNNNN-enroll.flac``,
``eval/test/idNNNNN-GENRE-SESSION-NUMBER.flac`` and ``eval/lists/``. ``GENRE-SESSION`` is the session, the genre the
channel (see ``voxangle.corpora.cnceleb``).

One list of 3,484,292 trials (196 x 17,777; 17,755 targets), and two rules of enrolment that give different error
rates, so two trial lists that a result always names:

- ``cnceleb-average``: a model is the mean of the embeddings of its utterances, those in ``data`` that
  ``eval/lists/enroll.map`` lists (WeSpeaker, sunine ``CNC-Eval-Avg``);
- ``cnceleb-concatenated``: a model is the embedding of the recording in ``eval/enroll``, these utterances in one
  (``CNC-Eval-Concat``; 3D-Speaker).

Keys are ``enroll/...`` and ``test/...`` as in the lists, ``idNNNNN/...`` for what is in ``data``, always with ``.wav``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from voxangle.corpora.cnceleb import (
    LANGUAGE,
    add_data,
    cnceleb_layout,
    genre_of,
    is_cnceleb1,
    key_of,
    no_speakers,
    session_of,
)
from voxangle.corpora.columns import Columns
from voxangle.corpora.completeness import (
    ABSENT_SPEAKERS,
    MISSING,
    STRAY,
    UNLISTED,
    Completeness,
    ListFound,
    Published,
    Tally,
    inspect,
)
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.notes import notes_of
from voxangle.corpora.openslr import Archive, Release
from voxangle.corpora.own_lists import Named, length_fault, state_of
from voxangle.corpora.tree import Layout, beside, lines_of, recordings
from voxangle.corpora.walk import place_of_corpus
from voxangle.data import Manifest, Trials
from voxangle.data.trial_files import read_models
from voxangle.errors import CorpusError, TrialError

__all__ = [
    "AVERAGE",
    "CONCATENATED",
    "HOW_TO_GET",
    "MODELS",
    "NAME",
    "PUBLISHED",
    "RELEASE",
    "TARGETS",
    "TRIALS",
    "check",
    "get",
    "read",
]

NAME = "cnceleb1"

AVERAGE, CONCATENATED = "cnceleb-average", "cnceleb-concatenated"
TRIALS, TARGETS = 3_484_292, 17_755
"""Of ``trials.lst`` in the release of OpenSLR 82: every one of 196 models against every test utterance."""
MODELS = 196
"""Of ``enroll.map`` and ``enroll.lst``."""

PUBLISHED = {
    "train": Published(
        797, 107_953, None, "dev.lst of the release of OpenSLR 82, as counted by public recipes"
    ),
    "eval": Published(
        200,
        17_973,
        None,
        "enroll (196) and test (17,777) of the release of OpenSLR 82; what enroll.map takes from data comes on top",
    ),
}
"""The ICASSP paper has 1,000 speakers and over 130,000 utterances: before the release was cleaned to 997 and 126,532.
Of 200 speakers in ``eval`` 196 are enrolled."""

RELEASE = Release(
    NAME,
    82,
    {
        NAME: Archive(
            "cn-celeb_v2.tar.gz",
            "7ab1b214028a7439e26608b2d5a0336c",
            "CN-Celeb_flac",
            bytes=22_264_439_915,
        )
    },
)
"""OpenSLR publishes no checksum of it. This one is in the recipes of WeSpeaker (whence 3D-Speaker has it) and, on their
own, of kiwano; the size is from a server's Content-Length, told by one source."""
get = RELEASE.get

HOW_TO_GET = """\
CN-Celeb1 is free (https://www.openslr.org/82/, CC BY-SA 4.0), 22 GB to download and 46 GB of disk until unpacked:

  voxangle corpora get cnceleb1 --root FOLDER    # goes on where it was cut off; --mirror URL for another server

or by hand:

  wget -c https://www.openslr.org/resources/82/cn-celeb_v2.tar.gz
  md5sum cn-celeb_v2.tar.gz    # 7ab1b214028a7439e26608b2d5a0336c
  tar xzf cn-celeb_v2.tar.gz    # CN-Celeb_flac/"""

_TRIALS_FILE, _MODELS_FILE, _RECORDINGS_FILE = _FILES = ("trials.lst", "enroll.map", "enroll.lst")
_Read = TypeVar("_Read")

_EVALUATED = re.compile(r"id\d{5}-")


@dataclass(frozen=True)
class _Lists:
    """What stands in ``eval/lists``.

    Attributes:
        trials: what ``trials.lst`` has, None where it is not there or cannot be read.
        models: utterances by model, of ``enroll.map``.
        recordings: a recording by model, of ``enroll.lst``.
        broken: by name of a file, why it cannot be read.
        absent: the files that are not there.
    """

    trials: Trials | None
    models: Mapping[str, Sequence[str]]
    recordings: Mapping[str, str]
    broken: Mapping[str, str]
    absent: frozenset[str]

    @cached_property
    def enrolled(self) -> list[str]:
        """The models that trials name."""
        read = self.trials
        return [read.utterances[index] for index in np.unique(read.enrol)] if read else []

    @cached_property
    def tested(self) -> list[str]:
        """The keys of the test utterances that trials name."""
        read = self.trials
        return [key_of(read.utterances[index]) for index in np.unique(read.test)] if read else []


def read(root: Path) -> Corpus:
    """CN-Celeb1 as it is on disk; its evaluation alone, or its training part alone, is enough.

    ``root`` is ``CN-Celeb_flac`` (or ``CN-Celeb_wav``, converted), its ``data`` or ``eval``, or up to four folders
    above, which may hold CN-Celeb2 as well. A copy in which short utterances were joined must not lie beside the
    release under it. A trial list is read where all that it names is on disk; where not, or where a line of a file has
    another form, it is left out. Where it has another length than published, its note says so.

    Raises:
        CorpusError: no speaker of CN-Celeb1 is there; or ``dev.lst`` is missing or names speakers of the evaluation.
    """
    tally = Tally()
    _, splits, lists = _found(place_of_corpus(root), tally)
    trials, left_out = _usable(lists, _keys(splits))
    length = lists.trials and length_fault(lists.trials, TRIALS, TARGETS)
    return Corpus(
        NAME,
        splits,
        trials,
        notes_of(NAME, _as_published(splits), PUBLISHED, tally),
        dict.fromkeys(trials, f"{NAME}: {_TRIALS_FILE} is {length}.") if length else {},
        left_out,
    )


def check(root: Path, *, headers: bool = False) -> Completeness:
    """Whether CN-Celeb1 is all there.

    What ``dev.lst`` and the lists of the evaluation name is looked for one by one, and each list of the evaluation is
    held against what was published.

    Args:
        root: as for ``read``.
        headers: read every file's header too, for hours and unreadable files.

    Raises:
        CorpusError: as for ``read``.
    """
    tally = Tally()
    layout, splits, lists = _found(place_of_corpus(root), tally)
    layout.report_archives(tally)
    named = _named(lists, _keys(splits))
    for key in dict.fromkeys(key for one in named.values() if not one.foreign for key in one.missing):
        tally.add(MISSING, key)
    report = inspect(NAME, layout.root, _as_published(splits), PUBLISHED, tally, headers=headers)
    return replace(report, lists=tuple(_state(file, lists, named[file]) for file in _FILES))


def _found(root: Path, tally: Tally) -> tuple[Layout, dict[str, Manifest], _Lists]:
    layout = cnceleb_layout(root, tally)
    speakers = layout.of(is_cnceleb1)
    lists = _lists(layout)
    splits = {"train": Columns(), "eval": Columns()}
    evaluated = _add_evaluation(splits["eval"], layout, tally)
    enrolling = {key for keys in lists.models.values() for key in keys}
    of_models = {speaker: speakers[speaker] for speaker in sorted(evaluated & speakers.keys())}
    add_data(splits["eval"], of_models, layout.root, NAME, tally, enrolling.__contains__)
    if speakers.keys() - evaluated:
        listed = _listed_for_training(root, layout)
        for speaker in listed:
            if speaker in evaluated:
                raise CorpusError(
                    f"{root}: dev.lst lists {speaker}, who is in eval too; speakers must not cross splits, so fetch "
                    "dev.lst again"
                )
            if speaker not in speakers:
                tally.add(ABSENT_SPEAKERS, speaker)
        for speaker in sorted(speakers.keys() - evaluated - listed.keys()):
            tally.add(UNLISTED, speaker)
        train = {speaker: folders for speaker, folders in speakers.items() if speaker in listed}
        add_data(splits["train"], train, layout.root, NAME, tally)
    manifests = {split: columns.manifest(layout.root) for split, columns in splits.items() if columns}
    if not manifests:
        raise no_speakers(root, layout, "id00000 to id00999", HOW_TO_GET)
    return layout, manifests, lists


def _listed_for_training(root: Path, layout: Layout) -> dict[str, None]:
    path = beside(layout, "dev.lst")
    if path is None:
        raise CorpusError(
            f"{root}: dev/dev.lst is missing, so nothing says who trains and who is evaluated; unpack the corpus "
            f"again, or name its folder CN-Celeb_flac.\n{HOW_TO_GET}"
        )
    return dict.fromkeys(lines_of(path))


def _add_evaluation(columns: Columns, layout: Layout, tally: Tally) -> set[str]:
    """Add what lies in ``eval/enroll`` and ``eval/test``, of the release or a converted copy; its speakers."""
    evaluated: set[str] = set()
    for part in ("enroll", "test"):
        folders = [folder for folder in layout.seen if (folder.parent.name, folder.name) == ("eval", part)]
        found = []
        for _, name, path in recordings(folders, layout.root, tally, sessions=False):
            if _EVALUATED.match(name):
                found.append((name, path))
            else:
                tally.add(STRAY, path)
        speakers = [name[: name.index("-")] for name, _ in found]
        sessions = [session_of(name.partition("-")[2]) for name, _ in found]
        columns.add(
            [f"{part}/{name}.wav" for name, _ in found],
            [path for _, path in found],
            speaker=[f"{NAME}-{speaker}" for speaker in speakers],
            session=sessions,
            language=LANGUAGE,
            channel=[genre_of(session) for session in sessions],
        )
        evaluated.update(speakers)
    return evaluated


def _keys(splits: Mapping[str, Manifest]) -> set[str]:
    return set(splits["eval"].table["utterance"].to_pylist()) if "eval" in splits else set()


def _as_published(splits: Mapping[str, Manifest]) -> dict[str, Manifest]:
    """What the published counts are of: ``eval`` without the single utterances in ``data`` that enrol."""
    return {
        split: manifest if split == "train" else manifest.where(~_is_data(manifest))
        for split, manifest in splits.items()
    }


def _is_data(manifest: Manifest) -> NDArray[np.bool_]:
    """Which utterances are from ``data``, shape (utterances,)."""
    return np.array([key.startswith("id") for key in manifest.table["utterance"].to_pylist()], dtype=bool)


def _lists(layout: Layout) -> _Lists:
    found = {file: path for file in _FILES if (path := beside(layout, file))}
    broken: dict[str, str] = {}

    def read(file: str, how: Callable[[Path], _Read]) -> _Read | None:
        try:
            return how(found[file]) if file in found else None
        except TrialError as error:
            broken[file] = str(error)
            return None

    models, recordings = read(_MODELS_FILE, read_models) or {}, read(_RECORDINGS_FILE, read_models) or {}
    return _Lists(
        read(_TRIALS_FILE, Trials.read),
        {model: [key_of(key) for key in keys] for model, keys in models.items()},
        {model: key_of(keys[0]) for model, keys in recordings.items()},
        broken,
        frozenset(_FILES) - found.keys(),
    )


def _named(lists: _Lists, known: Container[str]) -> dict[str, Named]:
    """By list, the utterances that it names."""
    members = dict.fromkeys(key for keys in lists.models.values() for key in keys)
    return {
        _TRIALS_FILE: Named.of(list(dict.fromkeys(lists.tested)), known),
        _MODELS_FILE: Named.of(list(members), known),
        _RECORDINGS_FILE: Named.of(list(dict.fromkeys(lists.recordings.values())), known),
    }


def _state(file: str, lists: _Lists, named: Named) -> ListFound:
    """Whether a list is there, whole, and of this release."""
    if file in lists.absent:
        return ListFound(file, "absent: it is in the archive, eval/lists; unpack it again to be evaluated")
    if file in lists.broken:
        return ListFound(file, f"cannot be read: {lists.broken[file]}", sound=False)
    if lists.trials and file == _TRIALS_FILE:
        size, length = f"{len(lists.trials):,} trials", length_fault(lists.trials, TRIALS, TARGETS)
    else:
        count = len(lists.models if file == _MODELS_FILE else lists.recordings)
        verdict = "cut off" if count < MODELS else "another list than the published one"
        size = f"{count:,} models"
        length = "" if count == MODELS else f"{verdict}: it has {size}; published are {MODELS:,}"
    return ListFound(file, state_of(size, length, named.fault), sound=not (length or named.missing))


def _usable(lists: _Lists, known: Container[str]) -> tuple[dict[str, Trials], dict[str, str]]:
    """The trials under both rules of enrolment, as far as all that they need is there; why not, where not."""
    if broken := lists.broken.get(_TRIALS_FILE):
        return {}, dict.fromkeys((AVERAGE, CONCATENATED), broken)
    if lists.trials is None:
        return {}, {}
    usable: dict[str, Trials] = {}
    left_out: dict[str, str] = {}
    for name, file, models in (
        (AVERAGE, _MODELS_FILE, lists.models),
        (CONCATENATED, _RECORDINGS_FILE, lists.recordings),
    ):
        if file in lists.broken:
            left_out[name] = lists.broken[file]
            continue
        if file in lists.absent:
            left_out[name] = f"eval/lists/{file} is missing"
            continue
        if unlisted := [model for model in lists.enrolled if model not in models]:
            left_out[name] = (
                f"eval/lists/{file} has not the model {unlisted[0]} ({len(unlisted):,} such) that trials.lst names: "
                "one of the two was cut off, or is another release's"
            )
            continue
        try:
            trials = (
                _averaged(lists.trials, lists) if name == AVERAGE else _of_recordings(lists.trials, lists)
            )
        except TrialError as error:
            left_out[name] = str(error)
            continue
        named = Named.of(trials.utterances, known)
        if named.missing:
            left_out[name] = named.fault
        else:
            usable[name] = trials
    return usable, left_out


def _of_recordings(read: Trials, lists: _Lists) -> Trials:
    """The trials, each model being one recording."""
    trials = read.renamed(lambda key: lists.recordings.get(key) or key_of(key))
    return replace(trials, name=CONCATENATED, concatenated=True)


def _averaged(read: Trials, lists: _Lists) -> Trials:
    """The trials, each model being the mean of several utterances: what ``Trials.read(models=)`` would read."""
    members = [key for model in lists.enrolled for key in lists.models[model]]
    index = {key: place for place, key in enumerate(dict.fromkeys([*lists.tested, *members]))}
    place = np.zeros(len(read.utterances), dtype=np.int64)
    place[np.unique(read.test)] = [index[key] for key in lists.tested]
    test = place[read.test]
    place[np.unique(read.enrol)] = len(index) + np.arange(len(lists.enrolled))
    return Trials(
        AVERAGE,
        tuple(index),
        place[read.enrol],
        test,
        read.target,
        {
            model: np.array([index[key] for key in lists.models[model]], dtype=np.int64)
            for model in lists.enrolled
        },
    )
