"""Common Voice (Mozilla): sentences read by volunteers on their own devices, in hundreds of languages.

R. Ardila et al., "Common Voice: A Massively-Multilingual Speech Corpus", LREC 2020. Licence: CC0 1.0; whoever
downloads it agrees not to try to find out who a speaker is, and not to hand the recordings on.

To get it: choose a language at https://commonvoice.mozilla.org/datasets (which leads to
https://mozilladatacollective.com), accept the terms, and unpack the archive. Languages unpacked into one folder are
read as one corpus.

Layout: ``cv-corpus-VERSION-DATE/LANGUAGE/{clips/*.mp3, validated.tsv, clip_durations.tsv, ...}``.

One split, ``all``: the clips of ``validated.tsv``, which two listeners or more found right. The official train, dev and
test are made for speech recognition: they drop most of a speaker's clips, and a speaker may be in one of them in one
language and in another in the next. ``client_id`` is the speaker, the same one across languages; of its 128
hexadecimal digits the first 32 are kept. It is an account or a browser, not exactly a person: a family may share one,
and who comes back without logging in gets another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from voxangle.corpora.corpus import Corpus
from voxangle.corpora.genders import gender_of
from voxangle.data import Manifest, Utterance
from voxangle.errors import CorpusError, nearest

__all__ = ["NAME", "read"]

NAME = "common-voice"

_TABLE = "validated.tsv"
_HASH_DIGITS = 32
_NOTES = (
    "common-voice: a speaker is a client_id, which is an account or a browser and not exactly a person; some labels "
    "are wrong."
)


def read(root: Path) -> Corpus:
    """The validated clips of every language below ``root``; needs no network.

    Durations are those of ``clip_durations.tsv`` (releases since 16.1); without it they are left to preparing. Lines
    of ``validated.tsv`` that have not as many values as there are columns are passed over, and counted in the notes.

    Args:
        root: a language's folder, the release's that holds several, or the one above that.

    Raises:
        CorpusError: no language is there; a language is there in two releases; or a table is not as it should be.
    """
    root = Path(root).resolve()
    folders = _languages(root)
    rows: list[Utterance] = []
    notes = [_NOTES]
    for folder in folders:
        broken: list[int] = []
        rows += _clips(folder, root, broken)
        if broken:
            notes.append(
                f"Passed over: {len(broken):,} broken line(s) of {folder.name}/{_TABLE}, the first is line {broken[0]}."
            )
    if not rows:
        raise CorpusError(f"{folders[0] / _TABLE}: has no clips; unpack the archive again")
    return Corpus(NAME, {"all": Manifest.of(rows, root)}, notes=" ".join(notes))


def _languages(root: Path) -> list[Path]:
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; it should hold LANGUAGE/{_TABLE} and LANGUAGE/clips")
    for pattern in (_TABLE, f"*/{_TABLE}", f"*/*/{_TABLE}"):
        folders = sorted(path.parent for path in root.glob(pattern))
        if folders:
            break
    else:
        above = f": name {root.parent}" if (root.parent / _TABLE).is_file() else ""
        raise CorpusError(
            f"{root}: holds no LANGUAGE/{_TABLE}; name a language's folder of Common Voice (with {_TABLE} and clips in "
            f"it), or the release's that holds several{above}"
        )
    by_name: dict[str, Path] = {}
    for folder in folders:
        other = by_name.setdefault(folder.name, folder)
        if other != folder:
            raise CorpusError(
                f"{folder}: '{folder.name}' is there in another release too, {other}, and a release holds the clips of "
                "those before it; name one release's folder"
            )
    return folders


def _clips(folder: Path, root: Path, broken: list[int]) -> Iterator[Utterance]:
    """The clips of one language; the numbers of broken lines go into ``broken``."""
    seconds = _durations(folder / "clip_durations.tsv")
    clips = (folder / "clips").relative_to(root).as_posix()
    for row in _rows(folder / _TABLE, ("client_id", "path"), broken):
        # The first releases leave the suffix out.
        name = row["path"] if row["path"].endswith(".mp3") else f"{row['path']}.mp3"
        yield Utterance(
            utterance=name.removesuffix(".mp3"),
            speaker=f"cv-{row['client_id'][:_HASH_DIGITS]}",
            path=f"{clips}/{name}",
            seconds=seconds.get(name, 0.0),
            language=row.get("locale") or folder.name,
            gender=gender_of(row.get("gender", "")),
        )


def _durations(path: Path) -> Mapping[str, float]:
    if not path.is_file():
        return {}
    # clip, duration[ms]; the first column has had several names.
    broken: list[int] = []
    durations = {}
    for row in _rows(path, ("duration[ms]",), broken):
        # What is no number is left to preparing, which measures.
        with suppress(ValueError):
            durations[next(iter(row.values()))] = float(row["duration[ms]"]) / 1000
    return durations


def _rows(path: Path, required: tuple[str, ...], broken: list[int]) -> Iterator[dict[str, str]]:
    """Rows of a table as Common Voice writes it: a tab means a new value and a quotation mark nothing."""
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            columns = file.readline().rstrip("\r\n").split("\t")
            for name in required:
                if name not in columns:
                    raise CorpusError(f"{path}, line 1: has no column '{name}'{nearest(name, columns)}")
            needed = [columns.index(name) for name in required]
            for number, line in enumerate(file, start=2):
                values = line.rstrip("\r\n").split("\t")
                if len(values) != len(columns) or not all(values[i] for i in needed):
                    broken.append(number)
                    continue
                yield dict(zip(columns, values, strict=True))
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: cannot be read as a table ({error}); unpack the archive again") from error
