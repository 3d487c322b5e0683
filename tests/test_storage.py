from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from voxangle.errors import StorageError
from voxangle.storage import append_line, atomic_write, cache_folder, writable_folder

FILLERS = {
    "text": "temporary.write_text('x' * 10**6)",
    "bytes": "temporary.write_bytes(bytes(10**6))",
    "numpy": "file = temporary.open('wb'); np.save(file, np.zeros(10**6))",
    "parquet": "pq.write_table(pa.table({'x': np.random.default_rng(0).random(10**5)}), temporary)",
}
SAVE = """
    import signal, sys
    import numpy as np, pyarrow as pa, pyarrow.parquet as pq
    from pathlib import Path
    from voxangle.errors import StorageError
    from voxangle.storage import atomic_write
    path = Path(sys.argv[1])
    {before}
    try:
        with atomic_write(path) as temporary:
            {fill}
    except StorageError as error:
        print(error)
        sys.exit(2)
"""


def save(
    path: Path, fill: str, before: str = "", wrap: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    script = textwrap.dedent(SAVE).format(fill=fill, before=before)
    return subprocess.run(
        [*wrap, sys.executable, "-W", "ignore::ResourceWarning", "-c", script, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_what_is_written_takes_the_place_of_the_old_file(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    for content in ("old", "new"):
        with atomic_write(path) as temporary:
            temporary.write_text(content)
            assert temporary.parent == path.parent
        assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


def test_the_old_file_stays_while_the_new_one_is_written_and_when_writing_fails(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail_half_way():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            assert path.read_text() == "old"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_file_gets_the_rights_that_any_new_file_would_get(mask, tmp_path):
    before = os.umask(mask)
    try:
        with atomic_write(tmp_path / "file") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("filler", FILLERS)
def test_a_full_disk_leaves_the_old_file_and_says_so(filler, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    # A file system of 64 kB, in a mount namespace that ends with the command.
    mount = f"mount -t tmpfs -o size=64k tmpfs '{disk}'"
    wrap = ("unshare", "--mount", "--map-root-user", "sh", "-c")
    if not shutil.which("unshare") or subprocess.run([*wrap, mount], capture_output=True).returncode:
        pytest.skip("this user cannot mount a small file system")
    keep = f"cp -a '{disk}'/. '{tmp_path}/kept'"
    command = (*wrap, f"{mount} && echo old > '{disk}/file' && \"$@\"; code=$?; {keep}; exit $code", "sh")
    result = save(disk / "file", FILLERS[filler], wrap=command)
    assert result.returncode == 2, result.stderr
    assert f"{disk / 'file'}: the disk is full; what was there before is untouched" in result.stdout
    assert {path.name: path.read_text() for path in (tmp_path / "kept").iterdir()} == {"file": "old\n"}


@pytest.mark.parametrize("filler", FILLERS)
def test_a_file_beyond_the_limit_leaves_the_old_file_and_says_so(filler, tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"
    result = save(path, FILLERS[filler], before=limit)
    assert result.returncode == 2, result.stderr
    assert "the disk is full; what was there before is untouched" in result.stdout
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    kill = "import os; temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    assert save(path, kill).returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "full").mkdir(parents=True)
    for path in (tmp_path / "file" / "a", tmp_path / "file" / "a" / "b", tmp_path / "folder"):
        with (
            pytest.raises(StorageError, match="cannot be written") as caught,
            atomic_write(path) as temporary,
        ):
            temporary.write_bytes(np.zeros(3).tobytes())
        assert str(path) in str(caught.value)


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("VOXANGLE_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.delenv("VOXANGLE_CACHE")
    assert cache_folder() == tmp_path / "b" / "voxangle"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "voxangle"


def test_a_link_s_target_is_written_and_a_device_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with atomic_write(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="not a regular file"), atomic_write(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_is_tried_by_writing(tmp_path: Path) -> None:
    assert writable_folder(tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="choose another folder"):
        writable_folder(tmp_path / "file" / "b")


def test_a_line_that_cannot_be_appended_names_the_file(tmp_path: Path) -> None:
    append_line(tmp_path / "log", "one")
    append_line(tmp_path / "log", "two")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
    with pytest.raises(StorageError, match="log"):
        append_line(tmp_path / "no" / "log", "three")
