"""Downloads against a real server on the loopback that misbehaves on request."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpora.site import Site, serving
from voxangle.corpora.download import BrokenArchiveError, extract_tar, extract_zip, fetch, remote_bytes
from voxangle.errors import CorpusError, StorageError

CONTENT = bytes(range(256)) * 4000  # about 1 MB, every block different from its neighbour's shift
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving({"/speech.tar": CONTENT}) as site:
        yield site


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "speech.tar"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def part(target: Path) -> Path:
    return target.with_name("speech.tar.part")


def test_a_file_arrives_whole_with_progress_up_to_its_size(site: Site, target: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    fetch(f"{site.address}/speech.tar", target, md5=MD5, on_progress=lambda *seen: told.append(seen))
    assert target.read_bytes() == CONTENT
    assert told[-1] == ("speech.tar", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert names(target.parent) == ["speech.tar"]


def test_a_dropped_connection_is_taken_up_where_it_broke_off(site: Site, target: Path) -> None:
    site.drop_after = [400_000, 300_000]
    fetch(f"{site.address}/speech.tar", target, md5=MD5, pause=0)
    assert target.read_bytes() == CONTENT
    assert [wanted for _, wanted in site.asked] == [None, "bytes=400000-", "bytes=700000-"]


def test_progress_counts_what_was_there_before(site: Site, target: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    site.drop_after = [len(CONTENT) - 10]
    fetch(f"{site.address}/speech.tar", target, on_progress=lambda *seen: told.append(seen), pause=0)
    assert told[-1] == ("speech.tar", len(CONTENT), len(CONTENT))


def test_any_new_byte_resets_the_count_of_failures(site: Site, target: Path) -> None:
    site.drop_after = [100_000] * 6
    fetch(f"{site.address}/speech.tar", target, md5=MD5, attempts=2, pause=0)
    assert target.read_bytes() == CONTENT


def test_a_connection_that_never_brings_a_byte_is_given_up_and_the_partial_file_kept(
    site: Site, target: Path
) -> None:
    site.drop_after = [400_000] + [0] * 10
    with pytest.raises(CorpusError, match=r"lost after 400000 of 1024000 bytes.*corpora list"):
        fetch(f"{site.address}/speech.tar", target, attempts=3, pause=0)
    assert not target.exists()
    assert part(target).read_bytes() == CONTENT[:400_000]


def test_an_interrupted_download_goes_on_in_the_next_call(site: Site, target: Path) -> None:
    target.parent.mkdir()
    part(target).write_bytes(CONTENT[:123_456])
    fetch(f"{site.address}/speech.tar", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert site.asked == [("/speech.tar", "bytes=123456-")]


def test_a_server_without_ranges_is_read_from_the_beginning(site: Site, target: Path) -> None:
    site.ranges = False
    site.drop_after = [400_000]
    fetch(f"{site.address}/speech.tar", target, md5=MD5, pause=0)
    assert target.read_bytes() == CONTENT


def test_a_range_other_than_the_one_asked_for_is_not_appended(site: Site, target: Path) -> None:
    target.parent.mkdir()
    part(target).write_bytes(CONTENT[:1000])
    site.shift = 7
    fetch(f"{site.address}/speech.tar", target, pause=0)
    assert target.read_bytes() == CONTENT


def test_a_partial_file_that_is_already_whole_is_only_renamed(site: Site, target: Path) -> None:
    target.parent.mkdir()
    part(target).write_bytes(CONTENT)
    fetch(f"{site.address}/speech.tar", target, md5=MD5)
    assert target.read_bytes() == CONTENT


def test_a_partial_file_longer_than_the_server_s_is_dropped(site: Site, target: Path) -> None:
    target.parent.mkdir()
    part(target).write_bytes(CONTENT + b"of another file")
    fetch(f"{site.address}/speech.tar", target, md5=MD5, pause=0)
    assert target.read_bytes() == CONTENT


def test_a_body_without_length_is_read_to_its_end(site: Site, target: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    site.chunked = True
    fetch(f"{site.address}/speech.tar", target, md5=MD5, on_progress=lambda *seen: told.append(seen))
    assert target.read_bytes() == CONTENT
    assert told[-1] == ("speech.tar", len(CONTENT), None)


@pytest.mark.parametrize(
    "checksum", [{"md5": "0" * 32}, {"sha256": "0" * 64}, {"md5": MD5, "sha256": "0" * 64}]
)
def test_a_wrong_checksum_removes_the_partial_file_and_says_so(
    site: Site, target: Path, checksum: dict[str, str]
) -> None:
    with pytest.raises(CorpusError, match=r"wrong (md5|sha256).*expected 0000.*partial file is removed"):
        fetch(f"{site.address}/speech.tar", target, **checksum)
    assert names(target.parent) == []


def test_a_partial_file_of_other_content_cannot_slip_through(site: Site, target: Path) -> None:
    target.parent.mkdir()
    part(target).write_bytes(b"x" * 1000)
    with pytest.raises(CorpusError, match="wrong md5"):
        fetch(f"{site.address}/speech.tar", target, md5=MD5)
    fetch(f"{site.address}/speech.tar", target, md5=MD5)
    assert target.read_bytes() == CONTENT


def test_a_file_in_place_is_not_fetched_again(site: Site, target: Path) -> None:
    fetch(f"{site.address}/speech.tar", target, md5=MD5)
    fetch(f"{site.address}/speech.tar", target, md5=MD5)
    fetch(f"{site.address}/speech.tar", target)
    assert len(site.asked) == 1


def test_a_broken_file_in_place_is_fetched_again(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT[:-1])
    fetch(f"{site.address}/speech.tar", target, md5=MD5)
    assert target.read_bytes() == CONTENT


def test_a_missing_file_is_not_asked_for_twice_and_the_mirror_helps_out(site: Site, target: Path) -> None:
    fetch([f"{site.address}/gone.tar", f"{site.address}/speech.tar"], target, md5=MD5)
    assert [path for path, _ in site.asked] == ["/gone.tar", "/speech.tar"]
    assert target.read_bytes() == CONTENT


def test_a_mirror_with_wrong_content_is_passed_over(site: Site, target: Path) -> None:
    site.files["/wrong/speech.tar"] = CONTENT[::-1]
    fetch([f"{site.address}/wrong/speech.tar", f"{site.address}/speech.tar"], target, md5=MD5)
    assert target.read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(site: Site, target: Path) -> None:
    site.statuses = [503, 429]
    fetch(f"{site.address}/speech.tar", target, md5=MD5, pause=0)
    assert target.read_bytes() == CONTENT


def test_each_mirror_s_failure_is_told_and_the_alternatives_with_it(site: Site, target: Path) -> None:
    nowhere = "http://no-such-host.invalid/speech.tar"
    with pytest.raises(CorpusError, match=r"speech\.tar could not be downloaded") as caught:
        fetch([f"{site.address}/gone.tar", nowhere, "ftp://old.example/speech.tar"], target, pause=0)
    message = str(caught.value)
    assert "gone.tar: HTTP 404" in message
    assert "cannot be resolved" in message
    assert "ftp://old.example/speech.tar: not an http or https address" in message
    assert "a folder of your own" in message


def test_the_pauses_between_tries_double(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("voxangle.corpora.download.time.sleep", pauses.append)
    site.statuses = [503] * 4
    with pytest.raises(CorpusError, match="503"):
        fetch(f"{site.address}/speech.tar", target, attempts=4, pause=0.5)
    assert pauses == [0.5, 1.0, 2.0]


def test_a_name_that_is_not_known_is_asked_again_once_bytes_have_come(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("voxangle.corpora.download.time.sleep", pauses.append)
    for known in (b"", CONTENT[:1000]):
        target.parent.mkdir(exist_ok=True)
        part(target).write_bytes(known)
        with pytest.raises(CorpusError, match="cannot be resolved"):
            fetch("http://no-such-host.invalid/speech.tar", target, attempts=3, pause=1)
    assert pauses == [1, 2]


def test_a_server_that_is_not_there_is_a_corpus_error(target: Path) -> None:
    with pytest.raises(CorpusError, match="refused"):
        fetch("http://127.0.0.1:9/speech.tar", target, attempts=2, pause=0)


def test_a_full_disk_is_told_as_such(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match="disk is full"):
        fetch(f"{site.address}/speech.tar", target)


def archive(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_an_archive_unpacks_into_a_folder_of_its_own(tmp_path: Path) -> None:
    made = archive(tmp_path / "a.tar.gz", {"LibriSpeech/a/1.txt": b"one", "LibriSpeech/README": b"two"})
    folder = extract_tar(made, tmp_path / "out")
    assert (folder / "LibriSpeech/a/1.txt").read_bytes() == b"one"
    assert (folder / "LibriSpeech/README").read_bytes() == b"two"
    assert names(tmp_path) == ["a.tar.gz", "out"]


@pytest.mark.parametrize("name", ["../outside.txt", "in/../../outside.txt"])
def test_a_member_that_would_be_written_outside_is_refused(tmp_path: Path, name: str) -> None:
    made = archive(tmp_path / "a.tar.gz", {"fine.txt": b"fine", name: b"evil"})
    with pytest.raises(CorpusError, match="unsafe"):
        extract_tar(made, tmp_path / "deep" / "out")
    assert names(tmp_path / "deep") == []
    assert not (tmp_path / "outside.txt").exists()


def test_a_truncated_archive_leaves_no_folder(tmp_path: Path) -> None:
    made = archive(tmp_path / "a.tar.gz", {"one": os.urandom(50_000), "two": os.urandom(50_000)})
    made.write_bytes(made.read_bytes()[:60_000])
    with pytest.raises(CorpusError, match=r"a\.tar\.gz: broken archive"):
        extract_tar(made, tmp_path / "out")
    assert names(tmp_path) == ["a.tar.gz"]


def test_what_is_no_archive_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_text("<html>not found</html>")
    with pytest.raises(CorpusError, match="broken archive"):
        extract_tar(tmp_path / "a.tar.gz", tmp_path / "out")


def test_a_web_page_in_place_of_the_file_is_refused_before_a_byte_is_written(
    site: Site, target: Path
) -> None:
    site.page = True
    target.parent.mkdir()
    part(target).write_bytes(CONTENT[:1000])
    with pytest.raises(CorpusError, match="a web page came instead of the file"):
        fetch(f"{site.address}/speech.tar", target, md5=MD5)
    assert part(target).read_bytes() == CONTENT[:1000]


def test_a_dead_mirror_is_told_of_and_the_next_goes_on_where_it_broke_off(site: Site, target: Path) -> None:
    told: list[str] = []
    site.drop_after = [400_000, 0]
    with serving({"/speech.tar": CONTENT}) as other:
        fetch(
            [f"{site.address}/speech.tar", f"{other.address}/speech.tar"],
            target,
            md5=MD5,
            tell=told.append,
            attempts=2,
            pause=0,
        )
        assert other.asked == [("/speech.tar", "bytes=400000-")]
    assert target.read_bytes() == CONTENT
    (sentence,) = told
    assert "lost after 400000 of 1024000 bytes; now from" in sentence


def room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr("voxangle.corpora.download.shutil.disk_usage", lambda _: usage)


def test_a_disk_without_room_for_the_rest_is_told_before_it_is_full(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.parent.mkdir()
    part(target).write_bytes(CONTENT[:24_000])
    room(monkeypatch, 999_999)
    with pytest.raises(
        StorageError, match=r"1 MB are still to come.*room for 1 MB.*what was fetched is kept"
    ):
        fetch(f"{site.address}/speech.tar", target, md5=MD5)
    assert part(target).read_bytes() == CONTENT[:24_000]
    room(monkeypatch, 1_000_000)
    fetch(f"{site.address}/speech.tar", target, md5=MD5)


def test_two_processes_do_not_write_one_file(site: Site, target: Path) -> None:
    target.parent.mkdir()
    part(target).write_bytes(CONTENT[:1000])
    code = (
        "import fcntl, os, sys; h = os.open(sys.argv[1], os.O_RDONLY); fcntl.flock(h, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(part(target))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(CorpusError, match=r"speech\.tar\.part: another process is writing it"):
            fetch(f"{site.address}/speech.tar", target, md5=MD5)
        assert part(target).read_bytes() == CONTENT[:1000]
        other.communicate()
    fetch(f"{site.address}/speech.tar", target, md5=MD5)


def test_a_server_tells_the_size_or_another_does(site: Site) -> None:
    address = f"{site.address}/speech.tar"
    assert remote_bytes([f"{site.address}/gone", "http://no-such-host.invalid/x", address]) == len(CONTENT)
    site.page = True
    assert remote_bytes([address]) is None
    site.page, site.sizes = False, False
    assert remote_bytes([address]) is None


def test_pieces_are_unpacked_without_being_joined_and_the_whole_is_judged(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.tar.gz", {"one": os.urandom(50_000), "two": os.urandom(50_000)})
    content = whole.read_bytes()
    pieces = [tmp_path / f"a.tar.gza{letter}" for letter in "abc"]
    for piece, (first, last) in zip(pieces, [(0, 30_000), (30_000, 30_001), (30_001, None)], strict=True):
        piece.write_bytes(content[first:last])
    whole.unlink()
    judged: list[str] = []
    told: list[tuple[str, int, int | None]] = []
    extract_tar(pieces, tmp_path / "out", judge=judged.append, on_progress=lambda *seen: told.append(seen))
    assert judged == [hashlib.md5(content).hexdigest()]
    assert told[-1] == ("the files in a.tar.gzaa", len(content), len(content))
    assert names(tmp_path / "out") == ["one", "two"]
    with pytest.raises(BrokenArchiveError, match=r"a\.tar\.gzaa: broken archive"):
        extract_tar(pieces[:2], tmp_path / "half")
    assert names(tmp_path) == ["a.tar.gzaa", "a.tar.gzab", "a.tar.gzac", "out"]


def test_what_the_judge_refuses_leaves_no_folder(tmp_path: Path) -> None:
    def refuse(_: str) -> None:
        raise CorpusError("not this")

    made = archive(tmp_path / "a.tar.gz", {"one": b"1"})
    with pytest.raises(CorpusError, match="not this"):
        extract_tar(made, tmp_path / "out", judge=refuse)
    assert names(tmp_path) == ["a.tar.gz"]


def test_a_fault_behind_the_last_file_is_found(tmp_path: Path) -> None:
    made = archive(tmp_path / "a.tar.gz", {"one": os.urandom(50_000)})
    content = bytearray(made.read_bytes())
    content[-8] ^= 1  # gzip's own checksum
    made.write_bytes(content)
    with pytest.raises(BrokenArchiveError, match="CRC check failed"):
        extract_tar(made, tmp_path / "out")
    assert names(tmp_path) == ["a.tar.gz"]


def test_a_folder_of_the_same_name_is_not_put_into_another(tmp_path: Path) -> None:
    extract_tar(archive(tmp_path / "a.tar.gz", {"musan/noise/1.txt": b"one"}), tmp_path / "musan")
    assert names(tmp_path / "musan") == ["noise"]
    extract_tar(archive(tmp_path / "b.tar.gz", {"got/1.txt": b"one", "README": b"two"}), tmp_path / "got")
    assert names(tmp_path / "got") == ["README", "got"]


def test_what_a_killed_process_left_half_unpacked_goes(tmp_path: Path) -> None:
    left = tmp_path / ".out.unpacking"
    (left / "deep").mkdir(parents=True)
    (left / "deep" / "half").write_text("half")
    (left / "link").symlink_to(tmp_path)
    made = archive(tmp_path / "a.tar.gz", {"one": b"1"})
    extract_tar(made, tmp_path / "out")
    assert names(tmp_path) == ["a.tar.gz", "out"]
    assert names(tmp_path / "out") == ["one"]


def test_a_full_disk_while_unpacking_keeps_the_archive_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = archive(tmp_path / "a.tar.gz", {"one": b"1", "two": b"2"})

    def full(self: tarfile.TarFile, member: tarfile.TarInfo, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extract", full)
        with pytest.raises(StorageError, match="disk is full"):
            extract_tar(made, tmp_path / "out")
    assert names(tmp_path) == ["a.tar.gz"]
    extract_tar(made, tmp_path / "out")


def test_what_is_no_zip_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("<html>not found</html>")
    with pytest.raises(BrokenArchiveError, match="broken archive"):
        extract_zip(tmp_path / "a.zip", tmp_path / "out")
