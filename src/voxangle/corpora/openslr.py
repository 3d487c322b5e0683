"""OpenSLR (https://openslr.org), where many free corpora lie: its mirrors, and what is fetched from them."""

from __future__ import annotations

import os
from pathlib import Path

from voxangle.corpora.download import OnProgress, fetch

__all__ = ["MIRRORS", "fetch_archive"]

MIRRORS = (
    "https://www.openslr.org/resources",
    "https://openslr.trmal.net/resources",
    "https://openslr.elda.org/resources",
)


def fetch_archive(
    resource: int,
    file: str,
    folder: Path,
    *,
    md5: str,
    on_progress: OnProgress | None = None,
    base: str | None = None,
) -> Path:
    """Download ``RESOURCE/FILE`` into ``folder``: resumed, checked, and not fetched again once there.

    Args:
        resource: the number of the corpus on OpenSLR.
        file: the archive's name.
        folder: where it goes.
        md5: its checksum.
        on_progress: told the archive and its bytes.
        base: the ``resources`` folder of a mirror; by default ``$VOXANGLE_OPENSLR``, else ``MIRRORS``.

    Raises:
        CorpusError: no mirror can be reached, or the checksum is wrong.
        StorageError: the disk is full.
    """
    own = base or os.environ.get("VOXANGLE_OPENSLR")
    urls = [f"{mirror.rstrip('/')}/{resource}/{file}" for mirror in ([own] if own else MIRRORS)]
    return fetch(urls, folder / file, md5=md5, on_progress=on_progress)
