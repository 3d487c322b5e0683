"""The contrastive loss against pytorch-metric-learning: time of forward and backward, and memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import torch
from pytorch_metric_learning.losses import SupConLoss

from benchmarks.ratio import Measurement, in_turns
from voxangle.objectives import supervised_contrastive_loss

__all__ = ["contrast"]

_DIMENSION, _PER_SPEAKER = 192, 4

# The peak belongs to a process: each way gets a fresh one, warmed up by a small batch. It is reset before it is asked,
# for a process begins with its parent's.
_PEAK = """
from pathlib import Path
import torch
from pytorch_metric_learning.losses import SupConLoss
from voxangle.objectives import supervised_contrastive_loss

ways = {{
    "ours": lambda z, y: supervised_contrastive_loss(z, y, temperature=0.07),
    "everything": lambda z, y: supervised_contrastive_loss(
        z, y, margin=0.1, margin_form="positive", attention=torch.rand(len(z)), attention_form="log_weight"
    ),
    "dense": lambda z, y: supervised_contrastive_loss(z, y, temperature=0.07, block_size=len(z)),
    "theirs": SupConLoss(temperature=0.07),
}}

def peak(samples):
    Path("/proc/self/clear_refs").write_text("5")
    z = torch.randn(samples, {dimension}, requires_grad=True)
    ways["{way}"](z, torch.arange(samples) // {per_speaker}).backward()
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

print(-peak(512) + peak({samples}))
"""


def contrast(rounds: int) -> Iterator[Measurement]:
    """Ratios of time at four sizes, then the peaks of memory."""
    theirs = SupConLoss(temperature=0.07)
    for samples in (256, 1024, 4096, 8192):
        z = torch.randn(samples, _DIMENSION, requires_grad=True)
        y = torch.arange(samples) // _PER_SPEAKER
        belief = torch.rand(samples)

        def plain(z: torch.Tensor = z, y: torch.Tensor = y) -> None:
            z.grad = None
            torch.autograd.backward(supervised_contrastive_loss(z, y, temperature=0.07))

        def everything(z: torch.Tensor = z, y: torch.Tensor = y, belief: torch.Tensor = belief) -> None:
            z.grad = None
            loss = supervised_contrastive_loss(
                z, y, margin=0.1, attention=belief, attention_form="log_weight"
            )
            torch.autograd.backward(loss)

        def peer(z: torch.Tensor = z, y: torch.Tensor = y) -> None:
            z.grad = None
            torch.autograd.backward(theirs(z, y))

        ours, full, peers = in_turns(plain, everything, peer, rounds=rounds, warm_up=1)
        detail = (
            f"D = {_DIMENSION}, {_PER_SPEAKER} a speaker, fp32: ours {1e3 * np.median(ours):.1f} ms, with margin and "
            f"attention {1e3 * np.median(full):.1f} ms, theirs {1e3 * np.median(peers):.1f} ms"
        )
        name = f"SupCon, N = {samples}: ours / pytorch-metric-learning"
        yield Measurement.of(name, ours / peers, "", detail, most=1)
    compared = ", ".join(
        f"{name} {_peak(way, 8192):.0f} MB"
        for name, way in (("one block of all rows", "dense"), ("pytorch-metric-learning", "theirs"))
    )
    yield _memory(8192, 300, f"plain {_peak('ours', 8192):.0f} MB; {compared}")
    yield _memory(32_768, 1000, "two processes")


def _memory(samples: int, goal: int, detail: str) -> Measurement:
    peaks = [_peak("everything", samples) for _ in range(2)]
    name = f"margin + attention, N = {samples}: extra memory"
    return Measurement.of(name, peaks, "MB", detail, most=goal)


def _peak(way: str, samples: int) -> float:
    """Megabytes that one forward and backward pass adds to the peak of a fresh process."""
    script = _PEAK.format(way=way, samples=samples, dimension=_DIMENSION, per_speaker=_PER_SPEAKER)
    return float(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    )
