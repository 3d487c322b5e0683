"""Two real processes over gloo give the gradient of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from voxangle.training.distributed import Ranks, agree, joined_ranks


def test_two_processes_give_the_gradient_of_one() -> None:
    script = Path(__file__).with_name("joint_gradient.py")
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "compared 4 on 2" in done.stderr


def test_one_process_stands_alone() -> None:
    with joined_ranks() as ranks:
        assert ranks.world_size == 1
        assert ranks.leads
        assert agree(True, Ranks(0, 1, ranks.device))
