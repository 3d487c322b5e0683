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
from dataclasses import dataclass, replace
from pathlib import Path

from voxangle.corpora.completeness import (
    MISSING,
    UNUSABLE_LISTS,
    Completeness,
    Published,
    Tally,
    inspect,
)
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.notes import notes_of
from voxangle.corpora.tree import Layout, beside, lines_of, speaker_number
from voxangle.corpora.voxceleb import (
    ADDRESS,
    META,
    is_voxceleb1,
    manifests_of,
    speaker_table,
    voxceleb_layout,
)
from voxangle.corpora.walk import place_of_corpus
from voxangle.data import Manifest, Trials
from voxangle.errors import CorpusError

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
    list is read where all that it names is on disk; where not, or where it has another length than published, the
    notes say so.

    Raises:
        CorpusError: no speaker of VoxCeleb1 is there.
        TrialError: an official list has a line of another form.
    """
    tally = Tally()
    layout, splits = _found(place_of_corpus(root), tally)
    trials, remarks = _usable(_official_lists(layout), _keys(splits), tally)
    return Corpus(
        NAME,
        splits,
        trials,
        notes_of(NAME, splits, PUBLISHED, tally, remarks),
    )


def check(root: Path, *, headers: bool = False) -> Completeness:
    """Whether VoxCeleb1 is all there.

    Beside the counts, the utterances that ``iden_split.txt`` (all of them) and the trial lists name are looked for,
    where these files are there.

    Args:
        root: as for ``read``.
        headers: read every file's header too, for hours and unreadable files.

    Raises:
        CorpusError: no speaker of VoxCeleb1 is there.
        TrialError: an official list has a line of another form.
    """
    tally = Tally()
    layout, splits = _found(place_of_corpus(root), tally)
    layout.report_archives(tally)
    known, lists = _keys(splits), _official_lists(layout)
    named = dict.fromkeys(_all_utterances(layout))
    for trials in lists.values():
        named.update(dict.fromkeys(trials.utterances))
    for key in named:
        if key not in known:
            tally.add(MISSING, key)
    _usable(lists, known, tally)
    return inspect(NAME, layout.root, splits, PUBLISHED, tally, headers=headers)


def _found(root: Path, tally: Tally) -> tuple[Layout, dict[str, Manifest]]:
    layout = voxceleb_layout(root, HOW_TO_GET, tally)
    speakers = layout.of(is_voxceleb1)
    split_of = {
        speaker: "eval" if _FIRST_OF_TEST <= speaker_number(speaker) <= _LAST_OF_TEST else "train"
        for speaker in speakers
    }
    splits = manifests_of(speakers, layout, NAME, split_of, speaker_table(layout, "vox1_meta.csv"), tally)
    if not splits:
        raise CorpusError(
            f"{root}: expected recordings of id10001 to id11251, found {layout.contents()}.\n{HOW_TO_GET}"
        )
    return layout, splits


def _keys(splits: Mapping[str, Manifest]) -> set[str]:
    return {key for manifest in splits.values() for key in manifest.table["utterance"].to_pylist()}


def _official_lists(layout: Layout) -> dict[TrialList, Trials]:
    found = {one: beside(layout, one.file) for one in TRIAL_LISTS}
    return {one: replace(Trials.read(path), name=one.name) for one, path in found.items() if path}


def _usable(
    lists: Mapping[TrialList, Trials], known: Container[str], tally: Tally
) -> tuple[dict[str, Trials], list[str]]:
    """The lists whose utterances are all there, and what is to be said about all of them."""
    usable, remarks = {}, []
    for one, trials in lists.items():
        targets = int(trials.target.sum())
        if (targets, len(trials) - targets) != (one.targets, one.nontargets):
            remarks.append(
                f"{one.name} ({one.file}) has {len(trials):,} trials, {targets:,} of them targets; published are "
                f"{one.targets + one.nontargets:,} and {one.targets:,}: it was cut off, filtered, or is another list."
            )
        missing = [key for key in trials.utterances if key not in known]
        if not missing:
            usable[one.name] = trials
            continue
        tally.add(UNUSABLE_LISTS, f"{one.name} ({one.file})")
        another = ", so it is the list of another release" if len(missing) == len(trials.utterances) else ""
        remarks.append(
            f"{one.name} ({one.file}) is left out: {len(missing):,} of its {len(trials.utterances):,} utterances are "
            f"not on disk, the first is {missing[0]}{another}."
        )
    return usable, remarks


def _all_utterances(layout: Layout) -> list[str]:
    """What ``iden_split.txt`` lists: every utterance of both parts, after the number of its identification split."""
    path = beside(layout, "iden_split.txt")
    return [] if path is None else [line.split()[-1] for line in lines_of(path)]
