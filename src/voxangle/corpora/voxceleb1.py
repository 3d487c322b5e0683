"""VoxCeleb1: 1,251 celebrities in 22,496 interviews from YouTube, 352 h; with the trial lists O, E and H.

``train`` is the dev part (1,211 speakers), ``eval`` the test part (id10270 to id10309, 40 speakers). A. Nagrani,
J. S. Chung, A. Zisserman, "VoxCeleb: a large-scale speaker identification dataset", Interspeech 2017; the lists E
and H: J. S. Chung, A. Nagrani, A. Zisserman, "VoxCeleb2: deep speaker recognition", Interspeech 2018. Licence: CC BY
4.0 for the annotation; the recordings belong to their owners, and are of people who did not agree to be recorded
for this: see the privacy notice at the address below.

Layout: ``.../idNNNNN/VIDEO/SEGMENT.wav``, both parts in one ``wav`` folder or in two, at any of the depths people have
it. A video is a session. The trial lists are read where they are there under their official names:

=================  ====================  =======  ============================
name               file                  trials   utterances of
=================  ====================  =======  ============================
vox1-O             veri_test.txt         37,720   eval
vox1-O-cleaned     veri_test2.txt        37,611   eval
vox1-E             list_test_all.txt     581,480  train and eval
vox1-E-cleaned     list_test_all2.txt    579,818  train and eval
vox1-H             list_test_hard.txt    552,536  train and eval
vox1-H-cleaned     list_test_hard2.txt   550,894  train and eval
=================  ====================  =======  ============================

The cleaned lists are the ones to report; on the same scores O differs by about 0.1 % EER absolute. E and H name
speakers of ``train``: a model scored on them must not have been trained on VoxCeleb1's dev part.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from voxangle.corpora.completeness import (
    MISSING,
    Completeness,
    ListFound,
    Published,
    Tally,
    inspect,
)
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.notes import notes_of
from voxangle.corpora.own_lists import Named, length_fault, state_of
from voxangle.corpora.tree import Layout, beside, lines_of, speaker_number
from voxangle.corpora.voxceleb import (
    ADDRESS,
    META,
    SpeakerRow,
    is_voxceleb1,
    manifests_of,
    meta_found,
    speaker_table,
    voxceleb_layout,
)
from voxangle.corpora.walk import place_of_corpus
from voxangle.data import Manifest, Trials
from voxangle.errors import CorpusError, TrialError

__all__ = ["HOW_TO_GET", "NAME", "PUBLISHED", "TRIAL_LISTS", "TrialList", "check", "read"]

NAME = "voxceleb1"

_SOURCE = "mm.kaist.ac.kr/datasets/voxceleb, hours by PaddleSpeech's examples/voxceleb"
PUBLISHED = {
    "train": Published(1_211, 148_642, 340.4, _SOURCE),
    "eval": Published(40, 4_874, 11.2, _SOURCE),
}

HOW_TO_GET = f"""\
VoxCeleb1 is given on request. Ask at {ADDRESS} with an institution's mail address.
The mail that answers has a link with your key for each file. Then, in an empty folder with about 120 GB free (the
pieces, the archive they make, the audio; remove the first two when all is unpacked):

  for part in a b c d; do wget -c -O vox1_dev_wav_parta$part "LINK&file=vox1_dev_wav_parta$part"; done
  wget -c -O vox1_test_wav.zip "LINK&file=vox1_test_wav.zip"
  cat vox1_dev_wav_parta? > vox1_dev_wav.zip
  md5sum vox1_dev_wav.zip vox1_test_wav.zip    # ae63e55b951748cc486645f532ba230b, 185fdc63c3c739954633d50379a3d102
  unzip -q vox1_dev_wav.zip && unzip -q vox1_test_wav.zip    # both into wav/
  for list in veri_test veri_test2 list_test_all list_test_all2 list_test_hard list_test_hard2; do
    wget {META}$list.txt; done
  wget {META}vox1_meta.csv"""

_FIRST_OF_TEST, _LAST_OF_TEST = 10_270, 10_309
_META_FILE, _ALL_FILE = "vox1_meta.csv", "iden_split.txt"


@dataclass(frozen=True)
class TrialList:
    """An official list.

    Attributes:
        name: what it is called in results, for good.
        file: what it is called where it is published.
        targets: how many of its trials are targets.
        nontargets: how many are not.
    """

    name: str
    file: str
    targets: int
    nontargets: int


TRIAL_LISTS = (
    TrialList("vox1-O", "veri_test.txt", 18_860, 18_860),
    TrialList("vox1-O-cleaned", "veri_test2.txt", 18_802, 18_809),
    TrialList("vox1-E", "list_test_all.txt", 290_743, 290_737),
    TrialList("vox1-E-cleaned", "list_test_all2.txt", 289_921, 289_897),
    TrialList("vox1-H", "list_test_hard.txt", 276_270, 276_266),
    TrialList("vox1-H-cleaned", "list_test_hard2.txt", 275_488, 275_406),
)
"""The counts are those in PaddleSpeech's ``examples/voxceleb/README.md``; the sums are in the papers."""


def read(root: Path) -> Corpus:
    """VoxCeleb1 as it is on disk; one part of it is enough.

    ``root`` is the folder of the speakers, or one up to five folders above, which may hold VoxCeleb2 as well. A trial
    list is read where all that it names is on disk; where not, or where a line of it has another form, it is left out.
    Where it has another length than published, its note says so.

    Raises:
        CorpusError: no speaker of VoxCeleb1 is there, or ``vox1_meta.csv`` is no such table.
    """
    tally = Tally()
    layout, splits, _ = _found(place_of_corpus(root), tally)
    lists = _official_lists(layout, _keys(splits))
    return Corpus(
        NAME,
        splits,
        lists.trials,
        notes_of(NAME, splits, PUBLISHED, tally),
        {name: f"{NAME}: {note}." for name, note in lists.notes.items()},
        lists.left_out,
    )


def check(root: Path, *, headers: bool = False) -> Completeness:
    """Whether VoxCeleb1 is all there.

    Beside the counts, the utterances that ``iden_split.txt`` (all of them) and the trial lists name are looked for,
    where these files are there, and each list is held against what was published.

    Args:
        root: as for ``read``.
        headers: read every file's header too, for hours and unreadable files.

    Raises:
        CorpusError: as for ``read``.
    """
    tally = Tally()
    layout, splits, table = _found(place_of_corpus(root), tally)
    layout.report_archives(tally)
    known = _keys(splits)
    lists = _official_lists(layout, known)
    all_named, state = _all_utterances(layout, known)
    for key in dict.fromkeys(key for named in (all_named, *lists.named) for key in named.missing):
        tally.add(MISSING, key)
    speakers = sum(part.speakers for part in PUBLISHED.values())
    found = (*lists.found, meta_found(layout, _META_FILE, table, speakers, is_voxceleb1), *state)
    return replace(inspect(NAME, layout.root, splits, PUBLISHED, tally, headers=headers), lists=found)


def _found(root: Path, tally: Tally) -> tuple[Layout, dict[str, Manifest], dict[str, SpeakerRow]]:
    layout = voxceleb_layout(root, HOW_TO_GET, tally)
    speakers = layout.of(is_voxceleb1)
    split_of = {
        speaker: "eval" if _FIRST_OF_TEST <= speaker_number(speaker) <= _LAST_OF_TEST else "train"
        for speaker in speakers
    }
    table = speaker_table(layout, _META_FILE)
    splits = manifests_of(speakers, layout, NAME, split_of, table, tally)
    if not splits:
        raise CorpusError(
            f"{root}: expected recordings of id10001 to id11251, found {layout.contents()}.\n{HOW_TO_GET}"
        )
    return layout, splits, table


def _keys(splits: Mapping[str, Manifest]) -> set[str]:
    return {key for manifest in splits.values() for key in manifest.table["utterance"].to_pylist()}


@dataclass
class _Lists:
    """What the official lists on disk are good for.

    Attributes:
        trials: the lists whose utterances are all there, by name.
        notes: by name, what is to be said of one that is used all the same.
        left_out: by name, why one is not used.
        found: every official list, on disk or not.
        named: what those name of which something is there.
    """

    trials: dict[str, Trials] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    found: list[ListFound] = field(default_factory=list)
    named: list[Named] = field(default_factory=list)


def _official_lists(layout: Layout, known: Container[str]) -> _Lists:
    lists = _Lists()
    for one in TRIAL_LISTS:
        label, path = f"{one.name} ({one.file})", beside(layout, one.file)
        if path is None:
            lists.found.append(ListFound(label, f"absent: get it from {META}{one.file}"))
            continue
        try:
            trials = replace(Trials.read(path, repeated=True), name=one.name)  # as it was published
        except TrialError as error:
            lists.left_out[one.name] = f"{error}. Get it again from {META}{one.file}"
            lists.found.append(ListFound(label, f"cannot be read: {error}", sound=False))
            continue
        named = Named.of(trials.utterances, known)
        length = length_fault(trials, one.targets + one.nontargets, one.targets)
        if not named.foreign:
            lists.named.append(named)
        if named.missing:
            lists.left_out[one.name] = "; ".join(filter(None, (f"{one.file}: {named.fault}", length)))
        else:
            lists.trials[one.name] = trials
            if length:
                lists.notes[one.name] = f"{label} is {length}"
        state = state_of(f"{len(trials):,} trials", length, named.fault)
        lists.found.append(ListFound(label, state, sound=not (length or named.missing)))
    return lists


def _all_utterances(layout: Layout, known: Container[str]) -> tuple[Named, tuple[ListFound, ...]]:
    """What ``iden_split.txt`` lists: every utterance of both parts, after the number of its identification split.

    Without it, which is no fault, nothing.
    """
    path = beside(layout, _ALL_FILE)
    if path is None:
        return Named((), ()), ()
    try:
        named = Named.of([line.split()[-1] for line in lines_of(path)], known)
    except CorpusError as error:
        return Named((), ()), (ListFound(_ALL_FILE, str(error), sound=False),)
    count, published = len(named.keys), sum(part.utterances for part in PUBLISHED.values())
    length = "" if count == published else f"it has {count:,} utterances; published are {published:,}"
    if named.foreign:
        state = ListFound(_ALL_FILE, state_of("", length, named.fault), sound=False)
        return Named((), ()), (state,)
    return named, (ListFound(_ALL_FILE, state_of(f"{count:,} utterances", length), sound=not length),)
