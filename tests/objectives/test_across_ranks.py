"""Two and three real processes over gloo: what is claimed of them in joint_batch.py holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("joint_batch.py")


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_ranks_are_as_one_process(ranks: int, tmp_path: Path) -> None:
    verdicts = tmp_path / "verdicts.json"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    done = subprocess.run(
        [*launcher, str(SCRIPT), str(verdicts)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(verdicts.read_text(encoding="utf-8"))
    assert len(found) == SCRIPT.read_text(encoding="utf-8").count("\n@claim(")
    failed = {words: said for words, said in found.items() if said}
    assert not failed, "\n\n".join(f"NOT TRUE: {words}\n{said}" for words, said in failed.items())
