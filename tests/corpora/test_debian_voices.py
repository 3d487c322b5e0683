"""Debian's voices: real .deb archives of synthetic sound, a scripted apt-get, and once the real one."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxangle.corpora import corpus_folder, debian_voices
from voxangle.corpora.corpus import Corpus
from voxangle.corpora.debian_packages import fetch_packages
from voxangle.corpora.debian_voices import PACKAGES, PARTS, music, read
from voxangle.errors import CorpusError, StorageError

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb on this machine")

# --- fetching ------------------------------------------------------------------------------------------------

APT_GET = """#!/bin/bash
# A stand-in: the archive is a folder of .deb files, reachable or not, known to the machine's lists or not.
echo "$*" >> "$ARCHIVE/calls"
own=; for argument in "$@"; do
  case "$argument" in Dir::State::Lists=*) own="${argument#*=}";; esac
done
if [[ "${!#}" == update ]]; then
  if [[ -e "$ARCHIVE/offline" ]]; then
    echo "W: Failed to fetch http://mirror.example/InRelease  Temporary failure resolving 'mirror.example'" >&2
  else touch "$own/Packages"; fi
  exit 0
fi
if [[ ! -e "$ARCHIVE/lists" && ! -e "$own/Packages" ]]; then
  echo "E: Unable to locate package ${!#}" >&2; exit 100
fi
names=(); download=; for argument in "$@"; do
  [[ -n "$download" && "$argument" != -* ]] && names+=("$argument"); [[ "$argument" == download ]] && download=1
done
for name in "${names[@]}"; do
  deb=$(ls "$ARCHIVE/$name"_*.deb 2>/dev/null) || { echo "E: Unable to locate package $name" >&2; exit 100; }
  if [[ " $* " == *" --print-uris "* ]]; then
    [[ -e "$(basename "$deb")" ]] && continue  # as apt-get does
    echo "'http://mirror.example/$name' $(basename "$deb") $(stat -c %s "$deb") SHA256:0"
    continue
  fi
  [[ -e "$ARCHIVE/full" ]] && { echo "E: Write error - write (28: No space left on device)" >&2; exit 100; }
  cp "$deb" .; sleep "${DOWNLOAD_TAKES:-0}"
done
"""


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Debian archive of two packages, and an apt-get that knows it."""
    folder = tmp_path / "archive"
    for name in ("voices-one", "voices-two"):
        tree = tmp_path / "build" / name
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 1.0-1\nArchitecture: all\nMaintainer: A <a@b.example>\nDescription: voices\n"
        )
        (tree / "usr/share/sounds").mkdir(parents=True)
        soundfile.write(tree / "usr/share/sounds/a.wav", noise(name, 0.1), 16_000)
        folder.mkdir(exist_ok=True)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-b", str(tree), str(folder / f"{name}_1.0-1_all.deb")],
            check=True,
            capture_output=True,
        )
    (folder / "lists").touch()
    program = tmp_path / "bin" / "apt-get"
    program.parent.mkdir()
    program.write_text(APT_GET)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("ARCHIVE", str(folder))
    return folder


def noise(seed: str, seconds: float, rate: int = 16_000) -> np.ndarray:
    generator = np.random.default_rng([ord(letter) for letter in seed])
    return generator.normal(0, 0.1, round(seconds * rate)).astype(np.float32)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def calls(archive: Path) -> list[str]:
    return (archive / "calls").read_text().splitlines()


@needs_dpkg
def test_packages_are_unpacked_each_into_its_folder(archive: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    folders = fetch_packages(["voices-one", "voices-two"], tmp_path / "got", lambda *seen: told.append(seen))
    assert [folder.name for folder in folders] == ["voices-one", "voices-two"]
    sounds, _ = soundfile.read(folders[1] / "usr/share/sounds/a.wav")
    assert len(sounds) == 1600
    size = sum(deb.stat().st_size for deb in archive.glob("*.deb"))
    assert told[-1] == ("voices-two", size, size)
    assert names(tmp_path / "got") == ["voices-one", "voices-two"]


@needs_dpkg
def test_a_long_download_shows_how_far_it_is(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOWNLOAD_TAKES", "0.5")
    told: list[tuple[str, int, int | None]] = []
    fetch_packages(["voices-one"], tmp_path / "got", lambda *seen: told.append(seen))
    size = next(archive.glob("voices-one*.deb")).stat().st_size
    assert len(told) > 1
    assert told[-2] == ("voices-one", size, size)


@needs_dpkg
def test_a_package_that_is_there_whole_is_not_fetched_again(archive: Path, tmp_path: Path) -> None:
    fetch_packages(["voices-one"], tmp_path / "got")
    before = len(calls(archive))
    fetch_packages(["voices-one"], tmp_path / "got")
    assert len(calls(archive)) == before
    fetch_packages(["voices-one", "voices-two"], tmp_path / "got")
    assert not any("voices-one" in call for call in calls(archive)[before:])


@needs_dpkg
def test_an_archive_in_the_current_folder_is_nobody_s_business(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # apt-get tells no address, and no size, of what lies where it runs.
    monkeypatch.chdir(archive)
    fetch_packages(["voices-one"], tmp_path / "got")
    assert names(tmp_path / "got") == ["voices-one"]


@needs_dpkg
def test_a_machine_with_empty_package_lists_gets_lists_of_our_own(archive: Path, tmp_path: Path) -> None:
    (archive / "lists").unlink()
    fetch_packages(["voices-one"], tmp_path / "got")
    assert (tmp_path / "got/voices-one/usr/share/sounds/a.wav").is_file()
    (update,) = [call for call in calls(archive) if call.endswith("update")]
    assert f"Dir::State::Lists={tmp_path}/got/.lists" in update
    assert names(tmp_path / "got") == ["voices-one"]


@needs_dpkg
def test_offline_says_why_and_what_else_there_is(archive: Path, tmp_path: Path) -> None:
    (archive / "lists").unlink()
    (archive / "offline").touch()
    with pytest.raises(CorpusError) as caught:
        fetch_packages(["voices-one"], tmp_path / "got")
    message = str(caught.value)
    assert "Temporary failure resolving 'mirror.example'" in message
    assert "mini-librispeech" in message
    assert "a folder of your own" in message
    assert "`voxangle corpora list`" in message
    assert not (tmp_path / "got/voices-one").exists()


@needs_dpkg
def test_a_package_the_archive_does_not_have_is_named(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="Unable to locate package voices-three"):
        fetch_packages(["voices-three"], tmp_path / "got")


@needs_dpkg
def test_an_archive_that_cannot_be_unpacked_is_removed_and_nothing_half_stays(
    archive: Path, tmp_path: Path
) -> None:
    deb = archive / "voices-two_1.0-1_all.deb"
    whole = deb.read_bytes()
    deb.write_bytes(whole[: len(whole) - 200])
    with pytest.raises(CorpusError, match=r"voices-two_1\.0-1_all\.deb could not be unpacked and is removed"):
        fetch_packages(["voices-one", "voices-two"], tmp_path / "got")
    assert sorted(path.name for path in (tmp_path / "got").glob("[!.]*")) == ["voices-one"]
    assert not list((tmp_path / "got").rglob("*.deb"))
    deb.write_bytes(whole)
    fetch_packages(["voices-one", "voices-two"], tmp_path / "got")
    assert names(tmp_path / "got") == ["voices-one", "voices-two"]


@needs_dpkg
def test_a_full_disk_is_told_as_such(archive: Path, tmp_path: Path) -> None:
    (archive / "full").touch()
    with pytest.raises(StorageError, match="disk is full"):
        fetch_packages(["voices-one"], tmp_path / "got")


@pytest.mark.parametrize("tool", ["apt-get", "dpkg-deb"])
def test_a_machine_without_apt_hears_of_the_alternatives(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in {"apt-get", "dpkg-deb"} - {tool}:
        (tmp_path / other).write_text("#!/bin/sh\n")
        (tmp_path / other).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CorpusError, match=f"^{tool} is not on this machine.*mini-librispeech.*corpora list"):
        debian_voices.get(tmp_path / "got")


@pytest.mark.debian
def test_the_real_archive_gives_a_real_voice(tmp_path: Path) -> None:
    try:
        (folder,) = fetch_packages(["asterisk-prompt-es-co"], tmp_path)
    except CorpusError as error:
        pytest.skip(f"no Debian package to be had here: {error}")
    assert len(list(folder.glob("usr/share/asterisk/sounds/es/**/*.gsm"))) > 100
    assert "Jim" in (folder / "usr/share/doc/asterisk-prompt-es-co/copyright").read_text()


# --- reading -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages as unpacked, with a dozen synthetic recordings a voice and the files to be left out."""
    root = tmp_path_factory.mktemp("debian-voices")
    asterisk = {
        "asterisk-core-sounds-en-g722/usr/share/asterisk/sounds/en_US_f_Allison": "g722",
        "asterisk-core-sounds-es-g722/usr/share/asterisk/sounds/es_MX_f_Allison": "g722",
        "asterisk-core-sounds-es-gsm/usr/share/asterisk/sounds/es_MX_f_Allison": "gsm",
        "asterisk-core-sounds-fr-g722/usr/share/asterisk/sounds/fr_CA_f_June": "g722",
        "asterisk-core-sounds-fr-gsm/usr/share/asterisk/sounds/fr_CA_f_June": "gsm",
        "asterisk-core-sounds-it-g722/usr/share/asterisk/sounds/it_IT_m_Carlo": "g722",
        "asterisk-core-sounds-ru-g722/usr/share/asterisk/sounds/ru_RU_f_IvrvoiceRU": "g722",
        "asterisk-prompt-es-co/usr/share/asterisk/sounds/es": "gsm",
        "asterisk-prompt-fr-armelle/usr/share/asterisk/sounds/fr": "gsm",
        "asterisk-prompt-it-menardi-wav/usr/share/asterisk/sounds/it_IT_f_Menardi": "wav",
    }
    for folder, suffix in asterisk.items():
        for i in range(12):
            put(root / folder / f"prompt-{i}.{suffix}", 2.1 + i / 10)
        put(root / folder / f"digits/short.{suffix}", 0.8)
        put(root / folder / f"digits/middling.{suffix}", 1.5)
        put(root / folder / f"dictate/folder.{suffix}", 3.0)
        for left_out in ("silence/10", "beep", "beeperr", "ascending-2tone", "confbridge-join", "tt-monkeys"):
            put(root / folder / f"{left_out}.{suffix}", 5.0)
        # One prompt under two names.
        shutil.copy(root / folder / f"prompt-0.{suffix}", root / folder / f"copied.{suffix}")
    for language in ("cs", "nl"):
        sound = root / f"fillets-ng-data-{language}/usr/share/games/fillets-ng/sound"
        for i in range(12):
            put(sound / f"airplane/{language}/let-m-{i}.ogg", 2.5)
            put(sound / f"airplane/{language}/let-v-{i}.ogg", 2.5)
        put(sound / f"city/{language}/vit-hs-statue.ogg", 5.0)
    stamps = root / "tuxpaint-stamps-default/usr/share/tuxpaint/stamps"
    for language in ("be", "bg", "ca", "da", "el", "es", "fr", "ro", "ru", "lt"):
        for i in range(12):
            put(stamps / f"food/fruit/apple{i}_desc_{language}.ogg", 1.2)
        put(stamps / f"symbols/alphabets/a_desc_{language}.ogg", 1.2)
        put(stamps / f"animals/birds/duck_desc_{language}.ogg", 1.2)
    put(stamps / "animals/birds/duck.ogg", 1.2)
    put(stamps / "animals/birds/duck_desc.ogg", 1.2)
    put(root / "asterisk-moh-opsound-wav/usr/share/asterisk/moh/system.wav", 1.0)
    return root


def put(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = random.Random(str(path))
    match path.suffix:
        case ".g722":
            path.write_bytes(generator.randbytes(round(8000 * seconds)))
        case ".gsm":
            path.write_bytes(b"".join(b"\xd0" + generator.randbytes(32) for _ in range(round(seconds * 50))))
        case _:
            soundfile.write(path, noise(str(path), seconds, 8000), 8000)


@pytest.fixture(scope="module")
def corpus(tree: Path) -> Corpus:
    return read(tree)


def test_there_are_twenty_voices_in_thirteen_languages() -> None:
    assert len({part.speaker for part in PARTS}) == 20
    assert len({part.language.partition("-")[0] for part in PARTS}) == 13


def test_speakers_never_cross_splits(corpus: Corpus) -> None:
    train, evaluation = (set(corpus.splits[split].speakers()) for split in ("train", "eval"))
    assert not train & evaluation
    assert (len(train), len(evaluation)) == (13, 7)
    assert train | evaluation == {part.speaker for part in PARTS}


def test_allison_is_one_woman_in_two_languages(corpus: Corpus) -> None:
    hers = [utterance for utterance in corpus.splits["eval"] if utterance.speaker == "allison"]
    assert {utterance.language for utterance in hers} == {"en-US", "es-MX"}
    assert {utterance.gender for utterance in hers} == {"f"}


def test_every_utterance_is_a_file_with_its_seconds(corpus: Corpus) -> None:
    for manifest in corpus.splits.values():
        for utterance, file in zip(manifest, manifest.files(), strict=True):
            assert file.is_file()
            assert not any(letter.isspace() for letter in utterance.utterance)
            if utterance.path.endswith("prompt-3.gsm") or utterance.path.endswith("prompt-3.g722"):
                assert utterance.seconds == pytest.approx(2.4, abs=0.02)


def test_short_prompts_are_left_to_training_and_shorter_ones_to_nobody(corpus: Corpus) -> None:
    train = {Path(utterance.path).stem for utterance in corpus.splits["train"]}
    evaluation = {Path(utterance.path).stem for utterance in corpus.splits["eval"]}
    assert "middling" in train
    assert "middling" not in evaluation
    assert "short" not in train | evaluation


def test_tones_effects_and_other_voices_are_left_out(corpus: Corpus) -> None:
    paths = [utterance.path for manifest in corpus.splits.values() for utterance in manifest]
    for sign in (
        "silence",
        "beep",
        "2tone",
        "confbridge-join",
        "monkeys",
        "vit-hs",
        "symbols",
        "duck.ogg",
        "_desc.ogg",
    ):
        assert not [path for path in paths if sign in path], sign
    animals = {path.rpartition("_")[2] for path in paths if "/animals/" in path}
    assert animals == {"be.ogg", "bg.ogg", "el.ogg", "es.ogg", "ro.ogg", "ru.ogg"}


def test_a_recording_under_two_names_comes_once(corpus: Corpus) -> None:
    for manifest in corpus.splits.values():
        contents = Counter(file.read_bytes() for file in manifest.files())
        assert set(contents.values()) == {1}


def test_the_lists_tell_the_truth_and_have_both_classes(corpus: Corpus) -> None:
    who = {utterance.utterance: utterance for utterance in corpus.splits["eval"]}
    assert set(corpus.trials) == {"same-language", "cross-language"}
    for trials in corpus.trials.values():
        keys = trials.utterances
        pairs = set()
        for enrol, test, target in zip(trials.enrol, trials.test, trials.target, strict=True):
            a, b = who[keys[enrol]], who[keys[test]]
            assert (a.speaker == b.speaker) == target
            assert a.utterance != b.utterance
            pairs.add(frozenset((a.utterance, b.utterance)))
        assert len(pairs) == len(trials)
        assert set(trials.target) == {True, False}


def test_neither_language_nor_codec_tells_a_same_language_trial(corpus: Corpus) -> None:
    who = {utterance.utterance: utterance for utterance in corpus.splits["eval"]}
    trials = corpus.trials["same-language"]
    languages: dict[bool, set[str]] = {True: set(), False: set()}
    for enrol, test, target in zip(trials.enrol, trials.test, trials.target, strict=True):
        a, b = who[trials.utterances[enrol]], who[trials.utterances[test]]
        assert a.language[:2] == b.language[:2]
        assert a.channel.partition("/")[2] == b.channel.partition("/")[2]
        languages[bool(target)].add(a.language[:2])
    assert languages == {True: {"es", "fr", "nl"}, False: {"es", "fr", "nl"}}


def test_neither_language_nor_channel_tells_a_cross_language_trial(corpus: Corpus) -> None:
    who = {utterance.utterance: utterance for utterance in corpus.splits["eval"]}
    trials = corpus.trials["cross-language"]
    for enrol, test, target in zip(trials.enrol, trials.test, trials.target, strict=True):
        a, b = who[trials.utterances[enrol]], who[trials.utterances[test]]
        assert a.language[:2] != b.language[:2]
        assert a.channel == b.channel == "asterisk-core/g722"
        assert a.gender == b.gender == "f"
        if target:
            assert (a.speaker, {a.language, b.language}) == ("allison", {"en-US", "es-MX"})


def test_reading_twice_gives_the_same(corpus: Corpus, tree: Path) -> None:
    again = read(tree)
    for split, manifest in corpus.splits.items():
        assert again.splits[split].table.equals(manifest.table)
    for name, trials in corpus.trials.items():
        assert again.trials[name].utterances == trials.utterances
        assert np.array_equal(again.trials[name].enrol, trials.enrol)
        assert np.array_equal(again.trials[name].test, trials.test)


def test_at_most_so_many_utterances_a_voice(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian_voices, "_UTTERANCES", {"train": 5, "eval": 3})
    corpus = read(tree)
    assert set(Counter(corpus.splits["train"].column("speaker")).values()) == {5}
    assert set(Counter(corpus.splits["eval"].column("session")).values()) == {3, 6}


def test_music_is_a_folder_of_wav_files(tree: Path, tmp_path: Path) -> None:
    assert [file.name for file in music(tree).glob("*.wav")] == ["system.wav"]
    with pytest.raises(CorpusError, match="asterisk-moh-opsound-wav is not there"):
        music(tmp_path)


def test_a_missing_package_is_named_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match=r"asterisk-core-sounds-en-g722.*voxangle corpora get debian-voices"
    ):
        read(tmp_path)


def test_a_package_of_another_shape_is_named(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy/fillets-ng-data-nl/usr/share/games")
    with pytest.raises(CorpusError, match=r"fillets-ng-data-nl.*no recordings"):
        read(tmp_path / "copy")


def test_what_is_fetched_is_what_is_read() -> None:
    assert {part.package for part in PARTS} < set(PACKAGES)
    assert len(set(PACKAGES)) == len(PACKAGES)
    assert corpus_folder("debian-voices").parts[-2:] == ("corpora", "debian-voices")
