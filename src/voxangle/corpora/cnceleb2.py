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
from voxangle.corpora.tree import Layout, beside, lines_of
from voxangle.data import Manifest

__all__ = ["HOW_TO_GET", "NAME", "PUBLISHED", "check", "read"]

NAME = "cnceleb2"

PUBLISHED = {
    "train": Published(1_996, 524_787, None, "the release of OpenSLR 82, as systems trained on it report")
}
"""The first paper on it rounds to 2,000 speakers. The utterances are from one kind of source only: take a small
difference for no fault before the release's own README is compared."""

HOW_TO_GET = """\
CN-Celeb2 is free to fetch (https://www.openslr.org/82/). In an empty folder with about 220 GB free (the pieces, the
archive they make, the audio; remove the first two when all is unpacked):

  for part in a b c; do wget -c https://www.openslr.org/resources/82/cn-celeb2_v2.tar.gza$part; done
  cat cn-celeb2_v2.tar.gza? > cn-celeb2_v2.tar.gz
  md5sum cn-celeb2_v2.tar.gz    # 55c47cf0b6d0bf793e88bf79d5dfc660
  tar xzf cn-celeb2_v2.tar.gz    # CN-Celeb2_flac/

Mirrors: https://openslr.trmal.net/resources/82/ and https://openslr.elda.org/resources/82/."""


def read(root: Path) -> Corpus:
    """CN-Celeb2 as it is on disk.

    ``root`` is ``CN-Celeb2_flac`` (or ``CN-Celeb2_wav``, converted), its ``data``, or up to four folders above, which
    may hold CN-Celeb1 as well.

    Raises:
        CorpusError: no speaker of CN-Celeb2 is there.
    """
    tally = Tally()
    _, train = _found(Path(root).resolve(), tally)
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
    layout, train = _found(Path(root).resolve(), tally)
    layout.report_archives(tally)
    return inspect(NAME, layout.root, {"train": train}, PUBLISHED, tally, headers=headers)


def _found(root: Path, tally: Tally) -> tuple[Layout, Manifest]:
    layout = cnceleb_layout(root)
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
