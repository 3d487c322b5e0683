"""ECAPA-TDNN against SpeechBrain's: inference and training, by batch, precision and threads, in one run.

A process each for one or two threads, and for the C library's memory as it is or as ``voxangle`` tunes it for
training (``keep_freed_memory``), because neither can be changed later. Within a process ours and theirs take turns.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.peers import speechbrain_ecapa
from benchmarks.ratio import Measurement, in_turns
from voxangle.encoders import ECAPATDNN, ECAPATDNNConfig
from voxangle.training.allocator import keep_freed_memory

__all__ = ["encoders"]

_CHANNELS, _FRAMES = 512, 200
_BATCHES = (1, 16, 32)
_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def encoders(rounds: int) -> Iterator[Measurement]:
    """SpeechBrain's seconds over ours; training also with our memory tuned and theirs as it comes."""
    for threads in (1, 2):
        plain, tuned = (_in_a_process(threads, way, rounds) for way in ("plain", "tuned"))
        for case, (ours, theirs) in plain.items():
            detail = f"ECAPA-{_CHANNELS}, {_FRAMES} frames; ours {1000 * np.median(ours):.1f} ms"
            goal = {"least": 1.1} if case.startswith("inference") else {}
            name = f"SpeechBrain / ours, {case}, {threads} thread{'s' * (threads > 1)}"
            yield Measurement.of(name, np.divide(theirs, ours), "", f"{detail}; memory as it comes", **goal)
            if case.startswith("training"):
                mine, also = tuned[case]
                detail = f"ECAPA-{_CHANNELS}, {_FRAMES} frames; ours {1000 * np.median(mine):.1f} ms"
                yield Measurement.of(name, np.divide(also, mine), "", f"{detail}; both with the memory tuned")
                yield Measurement.of(
                    name, np.divide(theirs, mine), "", f"{detail}; ours with the memory tuned", least=1.3
                )


def _in_a_process(threads: int, way: str, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.encoders", str(threads), way, str(rounds)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, tuple[list[float], list[float]]] = json.loads(run.stdout)
    return found


def _measure(rounds: int) -> dict[str, Any]:
    torch.manual_seed(0)
    ours, theirs = ECAPATDNN(ECAPATDNNConfig(channels=_CHANNELS)), speechbrain_ecapa(_CHANNELS)
    found: dict[str, Any] = {}
    for batch in _BATCHES:
        features = torch.randn(batch, _FRAMES, 80)
        for precision, dtype in _PRECISIONS.items():
            for kind in ("inference", *(["training"] if batch > 1 else [])):
                calls = [_call(encoder, features, dtype, kind) for encoder in (ours, theirs)]
                seconds = in_turns(*calls, rounds=rounds, warm_up=2)
                found[f"{kind}, batch {batch}, {precision}"] = [each.tolist() for each in seconds]
    return found


def _call(encoder: nn.Module, features: torch.Tensor, dtype: torch.dtype, kind: str) -> Callable[[], object]:
    autocast = torch.autocast("cpu", dtype, enabled=dtype != torch.float32)

    def infer() -> None:
        encoder.eval()
        with torch.inference_mode(), autocast:
            encoder(features)

    def train() -> None:
        encoder.train()
        encoder.zero_grad(set_to_none=True)
        with autocast:
            embeddings = encoder(features)
        torch.autograd.backward(embeddings.float().square().mean())

    return infer if kind == "inference" else train


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    if sys.argv[2] == "tuned":
        keep_freed_memory()
    json.dump(_measure(int(sys.argv[3])), sys.stdout)
