"""Twenty real voices in thirteen languages, out of Debian packages: small, free, and an ``apt-get`` away.

====================================================== ================== ===== ======= ========= ==========
package                                                voice              sex   speech  channel   licence
====================================================== ================== ===== ======= ========= ==========
asterisk-core-sounds-{en,es}-g722, -es-gsm             Allison Smith      f     en, es  g722/gsm  BY-SA 3.0
asterisk-core-sounds-fr-{g722,gsm}                     June Wallack       f     fr-CA   g722/gsm  BY-SA 3.0
asterisk-core-sounds-ru-g722                           ivrvoice.ru        f     ru      g722      BY 3.0
asterisk-core-sounds-it-g722                           Carlo Flora        m     it      g722      BY 3.0
asterisk-prompt-es-co                                  July E. Jiménez    f     es-CO   gsm       GPL-2
asterisk-prompt-fr-armelle                             Armelle Desjardins f     fr      gsm       BSD-like
asterisk-prompt-it-menardi-wav                         Paola Dal Zot      f     it      8 kHz wav BY-SA 3.0
fillets-ng-data-cs (the small and the large fish)      two actors         f, m  cs      vorbis    GPL-2
fillets-ng-data-nl (the small and the large fish)      two actors         f, m  nl      vorbis    GPL-2
tuxpaint-stamps-default                                nine amateurs      f, m  below   vorbis    GPL-2
====================================================== ================== ===== ======= ========= ==========

Tux Paint's stamps are described by one amateur a language: be, bg, ca, da, el, es, fr, ro, ru. The music of
``asterisk-moh-opsound-wav`` (CC BY-SA 3.0; Macroform, Manolo Camp, Reno Project) comes along for augmentation.
Who publishes a model trained on these must keep the attributions; each package's own text is in
``PACKAGE/usr/share/doc/PACKAGE/copyright``.

**What is left out.** Tones, silence, monkeys and prompts of other purposes; Tux Paint's sound effects, its letters,
numbers and coins (``symbols``: partly other voices, from Schoolsplay) and, in ca, da and fr, its animals (partly an
older collection by other readers); fillets' supporting roles (several actors behind a file-name prefix); recordings
that are copies of one another byte by byte. A sample of 120 recordings a voice
was checked with an independent encoder (Resemblyzer 0.1.4): each voice that is kept is one cluster.
Prompts are short: training takes recordings of 1 s and more (at most 300 a voice, drawn with a fixed seed),
evaluation of 2 s and more (40 a package).

**Splits.** No speaker is in both. ``eval`` has the voices that make honest pairs, ``train`` all others.

**Trial lists.** A non-target pair across languages or codecs is told apart by these, not by the voice. Hence:

- ``same-language`` (the main list): both sides in one language *and* through one codec: the two Spanish
  women in GSM, the two French-speaking women in GSM (Allison and June are taken from Debian's GSM packages for
  that), the Dutch man and woman of one game in Vorbis. Targets: two prompts of one voice.
- ``cross-language``: the two sides always in different languages, all of one family and codec (Asterisk's
  core sounds, G.722). Targets: Allison in English against Allison in Spanish; non-targets: two different women.

That encoder, trained elsewhere, has an EER of 7.4 % on the first list and 30 % on the second (``python -m
benchmarks.resemblyzer``).

**Limits,** to be said wherever a figure is shown: six voices (three pairs) in the first list and three in the second,
so intervals over speakers are very wide; studio prompts of one session a voice, so targets share microphone and day
and error rates are optimistic (rooms and microphones differ between voices even where codecs agree); the Dutch
pair differs in sex; the cross-language targets are one woman.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from voxangle import audio
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.debian_packages import fetch_packages
from voxangle.corpora.download import OnProgress, Tell
from voxangle.corpora.draw import draw
from voxangle.data import Manifest, Trials, Utterance
from voxangle.errors import AudioError, CorpusError

__all__ = ["NAME", "PACKAGES", "PARTS", "Part", "get", "music", "read"]

NAME = "debian-voices"

_SECONDS = {"train": 1.0, "eval": 2.0}
_UTTERANCES = {"train": 300, "eval": 40}
_TARGETS_A_PART, _NONTARGETS_A_PAIR = 300, 600
_CROSS_TARGETS_A_PAIR, _CROSS_NONTARGETS_A_PAIR = 600, 200

Gender: TypeAlias = Literal["f", "m"]
TrialList: TypeAlias = Literal["", "same-language", "cross-language"]

# Raw codecs have a constant rate and no header: bytes a second.
_RAW = {".g722": 8000.0, ".gsm": 33 / 0.020}
_NOT_SPEECH = re.compile(r"/silence/|/beep(err)?\.|-2tone\.|/confbridge-(join|leave)\.|/tt-monkeys\.")


@dataclass(frozen=True, slots=True)
class Part:
    """The recordings of one voice in one package.

    Attributes:
        speaker: who speaks; one person in several packages is one speaker.
        package: the Debian package.
        files: pattern of the recordings below the package's ``usr/share``.
        language: BCP 47 tag.
        gender: ``f`` or ``m``, as the package or the changelog names the voice (the pitch agrees).
        channel: family of packages and codec.
        trials: the trial list that the part is for; empty for training.
        without: names of folders whose recordings are left out.
    """

    speaker: str
    package: str
    files: str
    language: str
    gender: Gender
    channel: str
    trials: TrialList = ""
    without: frozenset[str] = frozenset()

    @property
    def split(self) -> str:
        """``eval`` where the part is for trials, else ``train``."""
        return "eval" if self.trials else "train"


def _core(speaker: str, language: str, gender: Gender, codec: str, trials: TrialList) -> Part:
    code = language.partition("-")[0]
    return Part(
        speaker,
        f"asterisk-core-sounds-{code}-{codec}",
        f"asterisk/sounds/{code}_*/**/*.{codec}",
        language,
        gender,
        f"asterisk-core/{codec}",
        trials,
    )


def _fish(speaker: str, letter: str, language: str, gender: Gender, trials: TrialList) -> Part:
    return Part(
        speaker,
        f"fillets-ng-data-{language}",
        f"games/fillets-ng/sound/*/{language}/*-{letter}-*.ogg",
        language,
        gender,
        "fillets/vorbis",
        trials,
    )


def _stamps(language: str, gender: Gender, *without: str) -> Part:
    return Part(
        f"tuxpaint-{language}",
        "tuxpaint-stamps-default",
        f"tuxpaint/stamps/**/*_desc_{language}.ogg",
        language,
        gender,
        "tuxpaint/vorbis",
        without=frozenset({"symbols", *without}),
    )


PARTS: tuple[Part, ...] = (
    _core("allison", "en-US", "f", "g722", "cross-language"),
    _core("allison", "es-MX", "f", "g722", "cross-language"),
    _core("june", "fr-CA", "f", "g722", "cross-language"),
    _core("ivrvoice-ru", "ru", "f", "g722", "cross-language"),
    _core("allison", "es-MX", "f", "gsm", "same-language"),
    Part(
        "july",
        "asterisk-prompt-es-co",
        "asterisk/sounds/es/**/*.gsm",
        "es-CO",
        "f",
        "asterisk-prompt/gsm",
        "same-language",
    ),
    _core("june", "fr-CA", "f", "gsm", "same-language"),
    Part(
        "armelle",
        "asterisk-prompt-fr-armelle",
        "asterisk/sounds/fr/**/*.gsm",
        "fr",
        "f",
        "asterisk-prompt/gsm",
        "same-language",
    ),
    _fish("fillets-nl-small", "m", "nl", "f", "same-language"),
    _fish("fillets-nl-large", "v", "nl", "m", "same-language"),
    _fish("fillets-cs-small", "m", "cs", "f", ""),
    _fish("fillets-cs-large", "v", "cs", "m", ""),
    _core("carlo", "it", "m", "g722", ""),
    Part(
        "paola",
        "asterisk-prompt-it-menardi-wav",
        "asterisk/sounds/it_*/**/*.wav",
        "it",
        "f",
        "asterisk-prompt/wav",
    ),
    _stamps("be", "f"),
    _stamps("bg", "m"),
    _stamps("ca", "m", "animals"),
    _stamps("da", "m", "animals"),
    _stamps("el", "f"),
    _stamps("es", "f"),
    _stamps("fr", "m", "animals"),
    _stamps("ro", "f"),
    _stamps("ru", "m"),
)

_MUSIC = "asterisk-moh-opsound-wav"
PACKAGES: tuple[str, ...] = (*sorted({part.package for part in PARTS}), _MUSIC)

_NOTES = (
    "debian-voices is tiny: 7 eval voices (6 in same-language, 3 women in cross-language), studio prompts of one "
    "session a voice. Intervals over speakers are very wide and error rates optimistic."
)


def get(
    root: Path,
    on_progress: OnProgress | None = None,
    *,
    subsets: Sequence[str] = (),
    mirrors: Sequence[str] = (),
    tell: Tell | None = None,
) -> None:
    """Download and unpack the packages under ``root``; what is already there is not fetched again.

    Args:
        root: where the packages' folders go.
        on_progress: told the package, and the bytes of all downloads.
        subsets: none; the trial lists need all packages.
        mirrors: none; apt takes packages from where the machine is set up to.
        tell: told what is about to be fetched.

    Raises:
        CorpusError: a subset or a mirror is asked for, this machine has no apt-get, or the packages cannot be
            reached.
        StorageError: the disk is full.
    """
    if subsets:
        raise CorpusError(f"{NAME} is one whole, its trial lists need every package: leave --subset out")
    if mirrors:
        raise CorpusError(
            f"{NAME} comes by apt-get from the archives that this machine is set up for, so --mirror has no say "
            "here: enter the mirror in /etc/apt/sources.list or a file in /etc/apt/sources.list.d, or get "
            "mini-librispeech instead, which takes --mirror"
        )
    missing = [package for package in PACKAGES if not (Path(root) / package).is_dir()]
    if tell:
        tell(
            f"{len(missing)} of {len(PACKAGES)} Debian packages (320 MB all together) by apt-get, into {root}"
            if missing
            else f"all of it is in {root}"
        )
    fetch_packages(PACKAGES, root, on_progress)


def music(root: Path) -> Path:
    """The folder of the music for augmentation (five wav files, 8 kHz).

    Raises:
        CorpusError: the package is not there.
    """
    return _share(root, _MUSIC) / "asterisk" / "moh"


def read(root: Path) -> Corpus:
    """Read what ``get`` fetched; needs no network.

    Raises:
        CorpusError: a package is missing, or has no recordings where they are expected.
    """
    root = Path(root)
    utterances = {part: _utterances(root, part) for part in PARTS}
    splits = {
        split: Manifest.of(
            itertools.chain.from_iterable(u for part, u in utterances.items() if part.split == split), root
        )
        for split in ("train", "eval")
    }
    keys = {part: [utterance.utterance for utterance in rows] for part, rows in utterances.items()}
    trials = {name: Trials.of(name, pairs(keys)) for name, pairs in _LISTS.items()}
    return Corpus(NAME, splits, trials, (_NOTES,))


def _share(root: Path, package: str) -> Path:
    folder = Path(root) / package / "usr" / "share"
    if not folder.is_dir():
        raise CorpusError(
            f"{root}: the package {package} is not there; fetch it with `voxangle corpora get {NAME}`"
        )
    return folder


def _utterances(root: Path, part: Part) -> list[Utterance]:
    share = _share(root, part.package)
    files = [file for file in sorted(share.glob(part.files)) if _is_speech(file, share, part)]
    by_luck = draw(_distinct(files), len(files), seed=NAME, key=lambda file: _key(file, share, part))
    long_enough = ((file, seconds) for file in by_luck if (seconds := _seconds(file)) >= _SECONDS[part.split])
    drawn = list(itertools.islice(long_enough, _UTTERANCES[part.split]))
    if not drawn:
        raise CorpusError(
            f"{share / part.files}: no recordings; the package may be of another release than expected. "
            f"Remove {root / part.package} and run `voxangle corpora get {NAME}`"
        )
    return sorted(
        (
            Utterance(
                utterance=_key(file, share, part),
                speaker=part.speaker,
                path=str(file.relative_to(root)),
                seconds=seconds,
                session=part.package,
                language=part.language,
                gender=part.gender,
                channel=part.channel,
            )
            for file, seconds in drawn
        ),
        key=lambda utterance: utterance.utterance,
    )


def _key(file: Path, share: Path, part: Part) -> str:
    return f"{part.package}/{file.relative_to(share)}"


def _is_speech(file: Path, share: Path, part: Part) -> bool:
    below = file.relative_to(share)
    return not (_NOT_SPEECH.search(f"/{below}") or part.without & set(below.parts))


def _distinct(files: list[Path]) -> Iterator[Path]:
    """Each recording once: a prompt under two names would make a target pair of one recording with itself."""
    same_size: dict[int, list[Path]] = defaultdict(list)
    for file in files:
        same_size[file.stat().st_size].append(file)
    for alike in same_size.values():
        seen = set()
        for file in alike:
            content = hashlib.blake2b(file.read_bytes()).digest() if len(alike) > 1 else b""
            if content not in seen:
                seen.add(content)
                yield file


def _seconds(file: Path) -> float:
    if rate := _RAW.get(file.suffix):
        return file.stat().st_size / rate
    try:
        return audio.probe(file).seconds
    except AudioError:
        return 0.0


def _same_language(keys: dict[Part, list[str]]) -> Iterator[tuple[bool, str, str]]:
    parts = [part for part in PARTS if part.trials == "same-language"]
    for part in parts:
        yield from _pairs(True, itertools.combinations(keys[part], 2), _TARGETS_A_PART)
    for a, b in itertools.combinations(parts, 2):
        if _language(a) == _language(b):
            yield from _pairs(False, itertools.product(keys[a], keys[b]), _NONTARGETS_A_PAIR)


def _cross_language(keys: dict[Part, list[str]]) -> Iterator[tuple[bool, str, str]]:
    parts = [part for part in PARTS if part.trials == "cross-language"]
    for a, b in itertools.combinations(parts, 2):
        same = a.speaker == b.speaker
        count = _CROSS_TARGETS_A_PAIR if same else _CROSS_NONTARGETS_A_PAIR
        yield from _pairs(same, itertools.product(keys[a], keys[b]), count)


def _pairs(
    target: bool,
    pairs: itertools.combinations[tuple[str, str]] | itertools.product[tuple[str, str]],
    count: int,
) -> Iterator[tuple[bool, str, str]]:
    for enrol, test in draw(pairs, count, seed=NAME, key=" ".join):
        yield target, enrol, test


def _language(part: Part) -> str:
    return part.language.partition("-")[0]


_LISTS = {"same-language": _same_language, "cross-language": _cross_language}
