"""The examples are run as a stranger would run them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.data import DataLoader

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> ModuleType:
    sys.path.insert(0, str(EXAMPLES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture
def plain() -> ModuleType:
    return example("plain_pytorch")


def test_the_plain_loop_lowers_its_loss_and_moves_encoder_and_prototypes(
    plain: ModuleType, voices: Path
) -> None:
    torch.manual_seed(1)
    speakers = plain.Speakers(voices)
    encoder, prototypes = plain.Encoder(), torch.nn.Parameter(torch.randn(len(speakers), 64))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    at_first = prototypes.detach().clone()
    loader = DataLoader(speakers, batch_size=6, shuffle=True)

    losses = list(plain.train(encoder, prototypes, (batch for _ in range(12) for batch in loader)))

    assert losses[-1] < 0.2 * losses[0]
    for name, parameter in encoder.named_parameters():
        assert not torch.equal(parameter, before[name]), f"{name} stood still"
    assert (prototypes - at_first).norm(dim=1).min() > 0


def test_every_sample_of_the_plain_loop_has_a_positive(plain: ModuleType, voices: Path) -> None:
    crops, speaker = plain.Speakers(voices)[3]
    assert crops.shape == (2, plain.CROP)
    assert speaker == 3
    assert not torch.equal(*crops)


def test_the_plain_example_runs_from_the_command_line(
    voices: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["plain_pytorch.py", str(voices), "20"])
    runpy.run_path(str(EXAMPLES / "plain_pytorch.py"), run_name="__main__")
    first, last = re.findall(r"loss (\d+\.\d+)", capsys.readouterr().out)
    assert float(last) < float(first)


# Lightning takes seconds to import and warns about torch's own deprecations: it gets a process to itself.
LIGHTNING = """
import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from torch import distributed
from torch.utils.data import DataLoader

sys.path.insert(0, sys.argv[2])
from lightning_module import Encoder, SpeakerTraining, Speakers


class Watch(Callback):
    def on_train_start(self, trainer, module):
        self.before = [parameter.detach().clone() for parameter in module.parameters()]
        self.losses = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.losses.append(float(trainer.callback_metrics["loss"]))

    def on_train_end(self, trainer, module):
        moved = [not torch.equal(a, b) for a, b in zip(module.parameters(), self.before)]
        names = [name for name, _ in module.named_parameters()]
        alike = True
        if trainer.world_size > 1:
            for parameter in module.parameters():
                mine = parameter.detach().clone()
                distributed.broadcast(mine, src=0)
                alike = alike and torch.equal(mine, parameter)
            votes = torch.tensor(int(alike))
            distributed.all_reduce(votes, op=distributed.ReduceOp.MIN)
            alike = bool(votes)
        if trainer.is_global_zero:
            falls = self.losses[-1] < 0.5 * self.losses[0]
            print(f"processes {trainer.world_size}: falls {falls}, moved {all(moved)}, alike {alike}", flush=True)


if __name__ == "__main__":
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    for devices, strategy in ((1, "auto"), (2, "ddp_fork")):
        torch.manual_seed(1)
        speakers = Speakers(Path(sys.argv[1]))
        module = SpeakerTraining(Encoder(), len(speakers), 64)
        loader = DataLoader(speakers, batch_size=6 // devices, shuffle=True)
        Trainer(
            accelerator="cpu", devices=devices, strategy=strategy, max_steps=12, callbacks=Watch(), **quiet
        ).fit(module, loader)
"""


def test_the_lightning_module_trains_in_one_process_and_alike_in_two(voices: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("lightning") is None:
        pytest.skip("lightning is not installed")
    script = tmp_path / "train.py"
    script.write_text(LIGHTNING)
    result = subprocess.run(
        [sys.executable, str(script), str(voices), str(EXAMPLES)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    reports = [line for line in result.stdout.splitlines() if line.startswith("processes")]
    assert reports == [
        "processes 1: falls True, moved True, alike True",
        "processes 2: falls True, moved True, alike True",
    ], result.stdout + result.stderr
