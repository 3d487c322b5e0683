"""A checkpoint comes back as it went, or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from voxangle.errors import CheckpointError
from voxangle.training.checkpoint import CHECKPOINT, Checkpoint


def checkpoint(step: int = 3, size: int = 4) -> Checkpoint:
    layer = torch.nn.Linear(size, size)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, size)).sum().backward()
    optimizer.step()
    return Checkpoint(
        step=step,
        recipe={"name": "x", "data": {"root": None}},
        speakers=["a", "b"],
        encoder=layer.state_dict(),
        objective={"prototypes": torch.randn(2, size)},
        optimizer=optimizer.state_dict(),
        random={"cpu": torch.get_rng_state()},
    )


def test_it_comes_back_whole(tmp_path: Path) -> None:
    written = checkpoint()
    written.write(tmp_path)
    read = Checkpoint.read(tmp_path)
    assert read is not None
    assert (read.step, read.recipe, read.speakers) == (written.step, written.recipe, written.speakers)
    for name, value in written.encoder.items():
        assert torch.equal(read.encoder[name], value)
    assert torch.equal(read.random["cpu"], written.random["cpu"])
    moments = read.optimizer["state"][0]
    assert torch.equal(moments["exp_avg"], written.optimizer["state"][0]["exp_avg"])


def test_where_there_is_none_there_is_none(tmp_path: Path) -> None:
    assert Checkpoint.read(tmp_path) is None
    assert Checkpoint.read(tmp_path / "missing") is None


@pytest.mark.parametrize("damage", ["half", "text", "empty", "stranger"])
def test_a_damaged_one_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    checkpoint().write(tmp_path)
    path = tmp_path / CHECKPOINT
    content = path.read_bytes()
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        path.write_text("not a checkpoint")
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        torch.save({"model": {}}, path)
    with pytest.raises(CheckpointError, match=CHECKPOINT):
        Checkpoint.read(tmp_path)


def test_one_flipped_bit_in_the_weights_is_noticed(tmp_path: Path) -> None:
    checkpoint(size=64).write(tmp_path)
    path = tmp_path / CHECKPOINT
    content = bytearray(path.read_bytes())
    weight = checkpoint(size=64).encoder["weight"]
    assert weight.nbytes > 10_000
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoint.read(tmp_path)


def test_a_checkpoint_that_lacks_entries_is_refused(tmp_path: Path) -> None:
    torch.save({"format": 1, "step": 3}, tmp_path / CHECKPOINT)
    with pytest.raises(CheckpointError, match="not a checkpoint of this version"):
        Checkpoint.read(tmp_path)


def test_a_pickle_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(tmp_path / "run"),))

    torch.save({"format": 1, "step": Bomb()}, tmp_path / CHECKPOINT)
    with pytest.raises(CheckpointError):
        Checkpoint.read(tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_full_disk_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoint(step=1).write(tmp_path)
    script = """
import resource, signal, sys
from pathlib import Path
import torch
from voxangle.errors import StorageError
from voxangle.training.checkpoint import Checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
big = Checkpoint(2, {}, [], {"w": torch.zeros(100_000)}, {}, {}, {})
try:
    big.write(Path(sys.argv[1]))
except StorageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "disk is full" in done.stdout
    assert CHECKPOINT in done.stdout
    kept = Checkpoint.read(tmp_path)
    assert kept is not None
    assert kept.step == 1
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    checkpoint().write(tmp_path)
    (tmp_path / f".{CHECKPOINT}.abc.tmp").write_bytes(b"half")
    Checkpoint.read(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]
