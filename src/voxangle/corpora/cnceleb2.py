"""CN-Celeb2: 1,996 Chinese celebrities in 11 genres, 524,787 utterances; for training, with CN-Celeb1.

All is one split ``train``; its speakers are none of CN-Celeb1's. L. Li, R. Liu, J. Kang, Y. Fan, H. Cui, Y. Cai,
R. Vipperla, T. F. Zheng, D. Wang, "CN-Celeb: multi-genre speaker recognition", Speech Communication 137, 2022
(arXiv 2012.12468). Licence: CC BY-SA 4.0.

Layout: ``CN-Celeb2_flac/data/idNNNNN/GENRE-SESSION-NUMBER.flac`` with ``CN-Celeb2_flac/spk.lst``. ``GENRE-SESSION`` is
the session, the genre the channel (see ``voxangle.corpora.cnceleb``). Many utterances are shorter than 2 s.
"""

from __future__ import annotations

from pathlib import Path

from voxangle.corpora.cnceleb import add_data, cnceleb_layout, is_cnceleb2, no_speakers
from voxangle.corpora.columns import Columns
from voxangle.corpora.completeness import ABSENT_SPEAKERS, Completeness, Published, Tally, inspect
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.notes import notes_of
from voxangle.corpora.openslr import Archive, Release
from voxangle.corpora.tree import Layout, beside, lines_of
from voxangle.corpora.walk import place_of_corpus
from voxangle.data import Manifest

__all__ = ["HOW_TO_GET", "NAME", "PUBLISHED", "RELEASE", "check", "get", "read"]

NAME = "cnceleb2"

PUBLISHED = {
    "train": Published(1_996, 524_787, None, "the release of OpenSLR 82, as systems trained on it report")
}
"""The first paper on it rounds to 2,000 speakers. The utterances are from one kind of source only: take a small
difference for no fault before the release's own README is compared."""

RELEASE = Release(
    NAME,
    82,
    {
        NAME: Archive(
            "cn-celeb2_v2.tar.gz",
            "55c47cf0b6d0bf793e88bf79d5dfc660",
            "CN-Celeb2_flac",
            bytes=None,
            pieces={
                "cn-celeb2_v2.tar.gzaa": "4cdf738cff565ce35ad34274848659c3",
                "cn-celeb2_v2.tar.gzab": "4ff59a7009b79ef7043498ad3882b81b",
                "cn-celeb2_v2.tar.gzac": "3aa8e6e7f7ec4382f9926b1b31498228",
            },
        )
    },
)
"""OpenSLR publishes no checksums of it. The whole's is in WeSpeaker's recipe (whence 3D-Speaker has it) only, the
pieces' in kiwano's only. No source for the sizes was found: the server is asked."""
get = RELEASE.get

HOW_TO_GET = """\
CN-Celeb2 is free (https://www.openslr.org/82/, CC BY-SA 4.0), some 75 to 90 GB to download and twice that of disk until
it is unpacked (`get` asks the server and tells exactly):

  voxangle corpora get cnceleb2 --root FOLDER    # goes on where it was cut off; --mirror URL for another server

or by hand, without joining the pieces on the disk:

  for part in a b c; do wget -c https://www.openslr.org/resources/82/cn-celeb2_v2.tar.gza$part; done
  cat cn-celeb2_v2.tar.gza[abc] | md5sum    # 55c47cf0b6d0bf793e88bf79d5dfc660
  cat cn-celeb2_v2.tar.gza[abc] | tar xz    # CN-Celeb2_flac/"""


def read(root: Path) -> Corpus:
    """CN-Celeb2 as it is on disk.

    ``root`` is ``CN-Celeb2_flac`` (or ``CN-Celeb2_wav``, converted), its ``data``, or up to four folders above, which
    may hold CN-Celeb1 as well.

    Raises:
        CorpusError: no speaker of CN-Celeb2 is there.
    """
    tally = Tally()
    _, train = _found(place_of_corpus(root), tally)
    notes = notes_of(NAME, {"train": train}, PUBLISHED, tally)
    return Corpus(NAME, {"train": train}, notes=notes)


def check(root: Path, *, headers: bool = False) -> Completeness:
    """Whether CN-Celeb2 is all there; the speakers of ``spk.lst`` are looked for one by one.

    Args:
        root: as for ``read``.
        headers: read every file's header too, for hours and unreadable files.

    Raises:
        CorpusError: no speaker of CN-Celeb2 is there.
    """
    tally = Tally()
    layout, train = _found(place_of_corpus(root), tally)
    layout.report_archives(tally)
    return inspect(NAME, layout.root, {"train": train}, PUBLISHED, tally, headers=headers)


def _found(root: Path, tally: Tally) -> tuple[Layout, Manifest]:
    layout = cnceleb_layout(root, tally)
    speakers = layout.of(is_cnceleb2)
    columns = Columns()
    add_data(columns, speakers, layout.root, NAME, tally)
    if not columns:
        raise no_speakers(root, layout, "id10000 and up", HOW_TO_GET)
    if path := beside(layout, "spk.lst"):
        for speaker in lines_of(path):
            if speaker not in speakers:
                tally.add(ABSENT_SPEAKERS, speaker)
    return layout, columns.manifest(layout.root)
