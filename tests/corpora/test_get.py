"""``corpora get``: what is said before it begins, subsets, mirrors, and that the same command always goes on."""

from __future__ import annotations

import hashlib
import random
import shutil
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.corpora import miniature
from tests.corpora.site import Site, serving
from voxangle import cli
from voxangle.corpora import CORPORA, cnceleb1, cnceleb2, debian_voices
from voxangle.corpora.openslr import MIRRORS, Archive, Release
from voxangle.errors import CorpusError, StorageError

PIECES = tuple(f"cn-celeb2_v2.tar.gza{letter}" for letter in "abc")


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def packed(folder: Path, arcname: str, scratch: Path) -> bytes:
    with tarfile.open(scratch / "made.tar.gz", "w:gz") as tar:
        tar.add(folder, arcname=arcname)
    content = (scratch / "made.tar.gz").read_bytes()
    (scratch / "made.tar.gz").unlink()
    return content


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A miniature of CN-Celeb2's archive."""
    folder = tmp_path_factory.mktemp("packed")
    miniature.cnceleb2(folder / "CN-Celeb2_flac")
    return packed(folder / "CN-Celeb2_flac", "CN-Celeb2_flac", folder)


@pytest.fixture
def site(whole: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A mirror with the archive in three pieces, published as CN-Celeb2."""
    third = len(whole) // 3
    contents = [whole[:third], whole[third : 2 * third], whole[2 * third :]]
    publish(dict(zip(PIECES, map(md5, contents), strict=True)), md5(whole), monkeypatch)
    monkeypatch.setattr("voxangle.corpora.download.time.sleep", lambda _: None)
    files = {f"/82/{piece}": content for piece, content in zip(PIECES, contents, strict=True)}
    with serving(files) as site:
        monkeypatch.setenv("VOXANGLE_OPENSLR", site.address)
        yield site


def publish(pieces: dict[str, str], whole: str, monkeypatch: pytest.MonkeyPatch) -> None:
    published = replace(cnceleb2.RELEASE.archives["cnceleb2"], md5=whole, pieces=pieces)
    monkeypatch.setitem(cnceleb2.RELEASE.archives, "cnceleb2", published)


def room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr("voxangle.corpora.download.shutil.disk_usage", lambda _: usage)


def test_three_pieces_become_the_corpus_and_go(site: Site, whole: bytes, tmp_path: Path) -> None:
    told: list[str] = []
    seen: dict[str, int] = {}
    cnceleb2.get(tmp_path / "got", lambda what, done, _: seen.update({what: done}), tell=told.append)
    assert names(tmp_path / "got") == ["CN-Celeb2_flac"]
    assert names(tmp_path / "got" / "CN-Celeb2_flac") == ["data", "spk.lst"]
    assert len(cnceleb2.read(tmp_path / "got").splits["train"]) > 0
    assert list(seen) == [*PIECES, "the files in cn-celeb2_v2.tar.gzaa"]
    assert seen["the files in cn-celeb2_v2.tar.gzaa"] == len(whole)
    cnceleb2.get(tmp_path / "got", tell=told.append)
    first, second = told
    assert first.startswith("CN-Celeb2_flac: ")
    assert "to download" in first
    assert "of disk needed until all is unpacked" in first
    assert second == f"all of it is in {tmp_path / 'got'}"
    assert len(site.asked) == 3, "what is there is not fetched again"


def test_the_size_that_nobody_publishes_is_asked_of_the_server(
    site: Site, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room(monkeypatch, 2 * len(whole))  # the pieces, as much unpacked, and a twentieth more
    with pytest.raises(StorageError, match=r"are needed until all is unpacked.*another folder with --root"):
        cnceleb2.get(tmp_path / "got")
    assert site.asked == []
    room(monkeypatch, 2 * len(whole) + len(whole) // 20 + 1)
    cnceleb2.get(tmp_path / "got")


def test_where_no_server_tells_a_size_the_disk_is_watched_on_the_way(
    site: Site, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    site.sizes = False
    room(monkeypatch, len(whole) // 3 - 1)
    with pytest.raises(StorageError, match=r"gzaa\.part: .* are still to come"):
        cnceleb2.get(tmp_path / "got", tell=told.append)
    assert "of unknown size" in told[0]


def test_cut_off_in_any_piece_the_same_command_goes_on(site: Site, whole: bytes, tmp_path: Path) -> None:
    size = len(whole) // 3
    site.drop_after = [size, 100, *[0] * 4]
    with pytest.raises(CorpusError, match=r"gzab could not be downloaded.*lost after 100 of"):
        cnceleb2.get(tmp_path / "got")
    assert names(tmp_path / "got") == [PIECES[0], f"{PIECES[1]}.part"]
    del site.asked[:]
    cnceleb2.get(tmp_path / "got")
    assert site.asked == [(f"/82/{PIECES[1]}", "bytes=100-"), (f"/82/{PIECES[2]}", None)]
    assert names(tmp_path / "got") == ["CN-Celeb2_flac"]


def test_killed_while_unpacking_the_same_command_begins_the_unpacking_anew(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extract", killed)
        with pytest.raises(KeyboardInterrupt):
            cnceleb2.get(tmp_path / "got")
    assert names(tmp_path / "got") == list(PIECES)
    left = tmp_path / "got" / ".CN-Celeb2_flac.unpacking" / "CN-Celeb2_flac" / "data" / "id10000"
    left.mkdir(parents=True)  # as kill -9 leaves it
    (left / "half.flac").write_bytes(b"fLaC")
    cnceleb2.get(tmp_path / "got")
    assert len(site.asked) == 3
    assert names(tmp_path / "got") == ["CN-Celeb2_flac"]
    assert not list((tmp_path / "got").rglob("half.flac"))


@pytest.mark.parametrize("where", [0, 1, 2])
def test_the_piece_at_fault_is_named_removed_and_alone_fetched_again(
    site: Site, tmp_path: Path, where: int
) -> None:
    address = f"/82/{PIECES[where]}"
    sound = site.files[address]
    site.files[address] = sound[:1000] + bytes(byte ^ 255 for byte in sound[1000:1020]) + sound[1020:]
    with pytest.raises(CorpusError, match=rf"{PIECES[where]} came with another MD5.*same command again"):
        cnceleb2.get(tmp_path / "got")
    assert names(tmp_path / "got") == [piece for piece in PIECES if piece != PIECES[where]]
    site.files[address] = sound
    del site.asked[:]
    cnceleb2.get(tmp_path / "got")
    assert site.asked == [(address, None)]


def test_a_wrong_sum_of_the_whole_does_not_hold_up_what_is_sound(
    site: Site, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sums have one source each: where they contradict one another, no one downloads for ever."""
    told: list[str] = []
    pieces = dict(cnceleb2.RELEASE.archives["cnceleb2"].pieces)
    publish(pieces, "0" * 32, monkeypatch)
    cnceleb2.get(tmp_path / "one", tell=told.append)
    assert f"the MD5 of the whole is {md5(whole)}, published is {'0' * 32}" in told[-1]
    publish(dict.fromkeys(pieces, "0" * 32), md5(whole), monkeypatch)
    cnceleb2.get(tmp_path / "other")
    assert names(tmp_path / "one") == names(tmp_path / "other") == ["CN-Celeb2_flac"]


def test_sound_pieces_of_a_broken_whole_are_told_of(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files[f"/82/{PIECES[2]}"] = b"something else"
    pieces = {piece: md5(site.files[f"/82/{piece}"]) for piece in PIECES}
    publish(pieces, "0" * 32, monkeypatch)
    with pytest.raises(CorpusError, match=r"broken archive"):
        cnceleb2.get(tmp_path / "got")
    assert names(tmp_path / "got") == list(PIECES)


def test_cn_celeb1_lies_beside_cn_celeb2(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = miniature.cnceleb1(tmp_path / "own" / "CN-Celeb_flac")
    content = packed(release, "CN-Celeb_flac", tmp_path)
    site.files["/82/cn-celeb_v2.tar.gz"] = content
    published = replace(
        cnceleb1.RELEASE.archives["cnceleb1"], md5=md5(content), bytes=len(content), unpacked=10**6
    )
    monkeypatch.setitem(cnceleb1.RELEASE.archives, "cnceleb1", published)
    for corpus in (cnceleb1, cnceleb2):
        corpus.get(tmp_path / "got")
    assert names(tmp_path / "got") == ["CN-Celeb2_flac", "CN-Celeb_flac"]
    assert set(cnceleb1.read(tmp_path / "got").trials) == {"cnceleb-average", "cnceleb-concatenated"}
    assert list(cnceleb2.read(tmp_path / "got").splits) == ["train"]


@pytest.fixture
def release(tmp_path: Path) -> Iterator[tuple[Release, Site]]:
    """Two subsets and where they lie."""
    files, archives = {}, {}
    for subset in ("dev-clean", "train-clean"):
        (tmp_path / "made" / subset).mkdir(parents=True)
        (tmp_path / "made" / subset / "sound").write_bytes(random.Random(subset).randbytes(10_000))
        content = packed(tmp_path / "made" / subset, f"Speech/{subset}", tmp_path)
        files[f"/99/{subset}.tar.gz"] = content
        archives[subset] = Archive(f"{subset}.tar.gz", md5(content), subset, len(content))
    with serving(files) as site:
        yield Release("speech", 99, archives), site


def get(release: Release, root: Path, mirrors: Sequence[str], *subsets: str) -> list[str]:
    told: list[str] = []
    release.get(root, subsets=subsets, mirrors=mirrors, tell=told.append)
    return told


def test_a_subset_is_fetched_alone_and_the_rest_later(release: tuple[Release, Site], tmp_path: Path) -> None:
    speech, site = release
    (told,) = get(speech, tmp_path / "got", [site.address], "dev-clean")
    assert told.startswith("dev-clean: 1 MB to download, 1 MB of disk needed")
    assert [path for path, _ in site.asked] == ["/99/dev-clean.tar.gz"]
    (told,) = get(speech, tmp_path / "got", [site.address])
    assert told.startswith("train-clean: ")
    assert names(tmp_path / "got") == ["dev-clean", "train-clean"]


def test_an_unknown_subset_is_answered_with_the_nearest_and_with_all(
    release: tuple[Release, Site], tmp_path: Path
) -> None:
    speech, site = release
    with pytest.raises(
        CorpusError,
        match=r"unknown subset 'dev-clan'; did you mean 'dev-clean'\? It has dev-clean, train-clean",
    ):
        get(speech, tmp_path / "got", [site.address], "train-clean", "dev-clan")
    with pytest.raises(CorpusError, match=r"unknown subset 'x'; known: dev-clean, train-clean$"):
        get(speech, tmp_path / "got", [site.address], "x")
    assert site.asked == []


def test_mirrors_are_asked_in_their_order_and_before_the_others(
    release: tuple[Release, Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech, site = release
    monkeypatch.setenv("VOXANGLE_OPENSLR", site.address)
    with serving({}) as first, serving({"/deep/99/train-clean.tar.gz": b"of another release"}) as second:
        told = get(speech, tmp_path / "got", [f"{first.address}/", f"{second.address}/deep"], "train-clean")
        assert [path for path, _ in first.asked] == ["/99/train-clean.tar.gz"]
        assert [path for path, _ in second.asked] == ["/deep/99/train-clean.tar.gz"]
    assert f"{first.address}/99/train-clean.tar.gz: HTTP 404" in told[1]
    assert "wrong md5" in told[2]
    assert told[2].endswith(f"now from {site.address}/99/train-clean.tar.gz")
    assert names(tmp_path / "got") == ["train-clean"]


@pytest.mark.parametrize(
    "mirror", ["ftp://old.example/resources", "/mnt/archives", "openslr.elda.org", "http://"]
)
def test_what_is_no_address_is_no_mirror(release: tuple[Release, Site], tmp_path: Path, mirror: str) -> None:
    with pytest.raises(CorpusError, match=rf"'{mirror}' is no mirror.*{MIRRORS[0]}.*put it into --root"):
        get(release[0], tmp_path / "got", [mirror])


def test_an_archive_that_one_has_is_checked_and_unpacked_without_a_network(
    release: tuple[Release, Site], tmp_path: Path
) -> None:
    speech, site = release
    (tmp_path / "got").mkdir()
    for path, content in site.files.items():
        (tmp_path / "got" / Path(path).name).write_bytes(content)
    (told,) = get(speech, tmp_path / "got", ["http://127.0.0.1:9"])
    assert told.startswith("dev-clean, train-clean: nothing to download, ")
    assert site.asked == []
    assert names(tmp_path / "got") == ["dev-clean", "train-clean"]


def test_an_empty_folder_is_no_subset(release: tuple[Release, Site], tmp_path: Path) -> None:
    speech, site = release
    (tmp_path / "got" / "dev-clean").mkdir(parents=True)
    get(speech, tmp_path / "got", [site.address], "dev-clean")
    assert (tmp_path / "got" / "dev-clean" / "Speech").is_dir()


def test_the_room_counts_what_goes_again_and_what_is_there(
    release: tuple[Release, Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech, site = release
    first, second = (len(content) for content in site.files.values())
    # The first archive is gone when the second comes; of the second 1,000 bytes are there.
    need = first * 21 // 20 + second - 1000 + second * 21 // 20
    (tmp_path / "got").mkdir()
    (tmp_path / "got" / "train-clean.tar.gz.part").write_bytes(site.files["/99/train-clean.tar.gz"][:1000])
    room(monkeypatch, need - 1)
    with pytest.raises(StorageError, match="take less with --subset"):
        get(speech, tmp_path / "got", [site.address])
    room(monkeypatch, need)
    get(speech, tmp_path / "got", [site.address])
    assert site.asked[1] == ("/99/train-clean.tar.gz", "bytes=1000-")


def test_a_folder_that_cannot_be_made_is_told(release: tuple[Release, Site], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="choose another folder"):
        get(release[0], tmp_path / "file" / "got", [release[1].address])


def test_debian_s_packages_come_from_where_apt_is_told_to() -> None:
    with pytest.raises(CorpusError, match=r"--mirror has no say here: enter the mirror in /etc/apt/sources"):
        debian_voices.get(Path("nowhere"), mirrors=["http://mirror.example"])
    with pytest.raises(CorpusError, match=r"leave --subset out"):
        debian_voices.get(Path("nowhere"), subsets=["allison"])


def test_what_is_free_is_fetched_and_what_is_published_is_well_formed() -> None:
    fetched = {name for name, reader in CORPORA.items() if reader.get}
    assert fetched == {
        "cnceleb1",
        "cnceleb2",
        "debian-voices",
        "librispeech",
        "mini-librispeech",
        "musan",
        "rirs-noises",
    }
    assert len(set(MIRRORS)) == len(MIRRORS) > 2
    for name in fetched - {"debian-voices"}:
        release = sys.modules[CORPORA[name].read.__module__].RELEASE
        assert release.corpus == name
        for archive in release.archives.values():
            assert all(
                len(int(sum_, 16).to_bytes(16)) == 16 for sum_ in (archive.md5, *archive.pieces.values())
            )
            assert archive.file.endswith((".tar.gz", ".zip"))


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["voxangle", "corpora", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


def test_the_command_says_what_it_gets_and_under_which_licence(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "get", "cnceleb2", "--root", tmp_path / "got", "--mirror", site.address) == 0
    licence, plan, *_, last = capsys.readouterr().out.splitlines()
    assert licence.startswith("cnceleb2: ")
    assert licence.endswith("Licence: CC BY-SA 4.0")
    assert plan.startswith("CN-Celeb2_flac: ")
    assert last == f"cnceleb2 is in {tmp_path / 'got'}"
    assert run(monkeypatch, "get", "librispeech", "--subset", "dev-clan", "--subset", "x") == 2
    assert "did you mean 'dev-clean'" in capsys.readouterr().err
    assert run(monkeypatch, "get", "voxceleb1", "--mirror", site.address) == 2
    assert "voxangle does not fetch 'voxceleb1'" in capsys.readouterr().err


def test_the_list_shows_what_can_be_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, "list") == 0
    lines = {
        line.split()[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines() if line.strip()
    }
    assert lines["cnceleb1"] == lines["cnceleb2"] == lines["musan"] == "get"
