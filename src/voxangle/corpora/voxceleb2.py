"""VoxCeleb2: 6,112 celebrities in 150,480 videos from YouTube, 2,442 h; what most published systems train on.

``train`` is the dev part (5,994 speakers, none of them in VoxCeleb1), ``eval`` the test part (118 speakers; the field
evaluates on VoxCeleb1's lists instead, so it has no trial list here). J. S. Chung, A. Nagrani, A. Zisserman,
"VoxCeleb2: deep speaker recognition", Interspeech 2018. Licence: CC BY 4.0 for the annotation; the recordings belong
to their owners, and are of people who did not agree to be recorded for this: see the privacy notice at the address
below.

Layout: ``.../idNNNNN/VIDEO/SEGMENT.m4a`` as released (``dev/aac``), or wav, flac or opus as converted, beside or
instead of it. Where an utterance is there in several formats wav is read, then flac, then m4a; m4a needs the
``media`` extra. A video is a session. Which speakers are the test part ``vox2_meta.csv`` says; without it, folders
called ``test`` or ``vox2_test...``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from voxangle.corpora.completeness import Completeness, Published, Tally, inspect
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.notes import notes_of
from voxangle.corpora.tree import Layout
from voxangle.corpora.voxceleb import (
    ADDRESS,
    META,
    SpeakerRow,
    is_voxceleb2,
    manifests_of,
    meta_found,
    speaker_table,
    voxceleb_layout,
)
from voxangle.corpora.walk import place_of_corpus
from voxangle.data import Manifest
from voxangle.errors import CorpusError

__all__ = ["HOW_TO_GET", "NAME", "PUBLISHED", "check", "read"]

NAME = "voxceleb2"

_SOURCE = "Chung et al. 2018; hours by PaddleSpeech's examples/voxceleb"
PUBLISHED = {
    "train": Published(5_994, 1_092_009, 2_360.2, _SOURCE),
    "eval": Published(118, 36_237, 79.9, _SOURCE),
}
"""PaddleSpeech has 36,273 test utterances: digits exchanged, the paper's total is 1,128,246."""

HOW_TO_GET = f"""\
VoxCeleb2 is given on request. Ask at {ADDRESS} with an institution's mail address.
The mail that answers has a link with your key for each file. Then, in an empty folder with about 240 GB free (the
pieces, the archive they make, the audio; remove the first two when all is unpacked):

  for part in a b c d e f g h; do wget -c -O vox2_dev_aac_parta$part "LINK&file=vox2_dev_aac_parta$part"; done
  wget -c -O vox2_test_aac.zip "LINK&file=vox2_test_aac.zip"
  cat vox2_dev_aac_parta? > vox2_aac.zip
  md5sum vox2_aac.zip vox2_test_aac.zip    # bbc063c46078a602ca71605645c2a402, 0d2b3ea430a821c33263b5ea37ede312
  unzip -q vox2_aac.zip && unzip -q vox2_test_aac.zip -d test    # dev/aac/ and test/
  wget {META}vox2_meta.csv

m4a is read as it is (pip install 'voxangle[media]'). To convert it once, 280 GB, to wav beside each m4a:

  find . -name '*.m4a' -print0 | xargs -0 -P 8 -I@ sh -c \\
    'ffmpeg -nostdin -v error -n -i "$1" -ac 1 -ar 16000 "${{1%.m4a}}.wav"' sh @"""

_META_FILE = "vox2_meta.csv"


def read(root: Path) -> Corpus:
    """VoxCeleb2 as it is on disk; the dev part is enough.

    ``root`` is the folder of the speakers, or one up to five folders above, which may hold VoxCeleb1 as well.

    Raises:
        CorpusError: no speaker of VoxCeleb2 is there.
    """
    tally = Tally()
    _, splits, _, remarks = _found(place_of_corpus(root), tally)
    return Corpus(
        NAME,
        splits,
        notes=notes_of(NAME, splits, PUBLISHED, tally, remarks),
    )


def check(root: Path, *, headers: bool = False) -> Completeness:
    """Whether VoxCeleb2 is all there.

    Args:
        root: as for ``read``.
        headers: read every file's header too, for hours and unreadable files.

    Raises:
        CorpusError: no speaker of VoxCeleb2 is there.
    """
    tally = Tally()
    layout, splits, table, _ = _found(place_of_corpus(root), tally)
    layout.report_archives(tally)
    speakers = sum(part.speakers for part in PUBLISHED.values())
    found = meta_found(layout, _META_FILE, table, speakers, is_voxceleb2)
    report = inspect(NAME, layout.root, splits, PUBLISHED, tally, headers=headers)
    return replace(report, lists=(found,))


def _found(root: Path, tally: Tally) -> tuple[Layout, dict[str, Manifest], dict[str, SpeakerRow], list[str]]:
    layout = voxceleb_layout(root, HOW_TO_GET, tally)
    speakers = layout.of(is_voxceleb2)
    table = speaker_table(layout, _META_FILE)
    split_of = {
        speaker: "eval" if _is_test(speaker, folders, root, table) else "train"
        for speaker, folders in speakers.items()
    }
    splits = manifests_of(speakers, layout, NAME, split_of, table, tally)
    if not splits:
        raise CorpusError(
            f"{root}: expected recordings of id00012 to id09272, found {layout.contents()}.\n{HOW_TO_GET}"
        )
    remarks = []
    if len(set(split_of.values())) == 1 and len(speakers) > PUBLISHED["train"].speakers:
        remarks.append(
            f"'train' has {len(speakers):,} speakers, so those of the test part are among them: put "
            f"vox2_meta.csv ({META}vox2_meta.csv) beside, which tells them apart."
        )
    return layout, splits, table, remarks


def _is_test(speaker: str, folders: Sequence[Path], root: Path, table: Mapping[str, SpeakerRow]) -> bool:
    if speaker in table:
        return table[speaker].part == "test"
    above = ((root.name, *folder.relative_to(root).parts) for folder in folders)
    return all(any(part == "test" or part.startswith("vox2_test") for part in parts) for parts in above)
