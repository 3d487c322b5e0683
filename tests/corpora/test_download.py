"""Downloads against a real server on the loopback that misbehaves on request."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from voxangle.corpora.download import extract_tar, fetch
from voxangle.errors import CorpusError, StorageError

CONTENT = bytes(range(256)) * 4000  # about 1 MB, every block different from its neighbour's shift
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """What the server does, and what it was asked."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: {"/speech.tar": CONTENT})
    ranges: bool = True
    drop_after: list[int] = field(
        default_factory=list
    )  # bytes after which each of the next answers breaks off
    statuses: list[int] = field(default_factory=list)  # error status of each of the next answers
    shift: int = 0  # how far the served range is off the one asked for
    chunked: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site = self.site
        wanted = self.headers.get("Range")
        site.asked.append((self.path, wanted))
        self.close_connection = True
        if site.statuses:
            return self.send_error(site.statuses.pop(0))
        if self.path not in site.files:
            return self.send_error(404)
        content = site.files[self.path]
        first = 0
        if wanted and site.ranges:
            first = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if first >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            first += site.shift
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[first:]
        if site.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            return None
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: site.drop_after.pop(0)] if site.drop_after else body)
        return None

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"site": site}))
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


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
