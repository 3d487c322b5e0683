"""The whole road of training against the bare encoder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import torch
from rich.console import Console

from benchmarks.ratio import Measurement, in_turns
from voxangle.recipe import Recipe
from voxangle.training.distributed import joined_ranks
from voxangle.training.loop import Run
from voxangle.training.material import gather_material

__all__ = ["road"]

_SPEAKERS, _RECORDINGS, _SECONDS = 8, 2, 2.0


@contextmanager
def _run(folder: Path) -> Iterator[Run]:
    """A run of ECAPA-512 on noise: 8 speakers x 2 recordings x 2 views of 2 s, the full objective."""
    noise = np.random.default_rng(0)
    for speaker in range(2 * _SPEAKERS):
        (folder / "corpus" / str(speaker)).mkdir(parents=True)
        for recording in range(4):
            wave = 0.1 * noise.standard_normal(5 * 16_000)
            soundfile.write(folder / "corpus" / str(speaker) / f"{recording}.wav", wave, 16_000)
    recipe = Recipe.check(
        {
            "name": "benchmark",
            "data": {"corpus": "folder", "root": folder / "corpus", "split": "all"},
            "batch": {"speakers": _SPEAKERS, "recordings": _RECORDINGS, "seconds": _SECONDS},
            "augment": {"views": 2},
            "encoder": {"architecture": "ecapa_tdnn", "channels": 512},
            "schedule": {"steps": 100_000},
        },
        "benchmark",
    )
    with joined_ranks() as ranks:
        yield Run(
            recipe, folder / "run", gather_material(recipe.data), ranks, Console(quiet=True), fresh=True
        )


def road(rounds: int) -> Measurement:
    """Crops a second of read + 2 views + features + encoder + objective + optimiser, over the bare encoder's."""
    with tempfile.TemporaryDirectory() as folder, _run(Path(folder)) as run:
        batches = run.feed.stream(0, 10_000)
        crops = _SPEAKERS * _RECORDINGS * run.recipe.augment.views
        waveforms = torch.randn(crops, round(_SECONDS * 16_000))
        features, _ = run.filterbank(waveforms)
        device = run.ranks.device

        def whole() -> None:
            run.take(next(batches))
            run.step += 1

        def bare() -> None:
            run.encoder.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=run.bf16):
                embeddings = run.encoder(features)
            torch.autograd.backward(embeddings.float().square().mean())

        run.encoder.train()
        bare_seconds, whole_seconds = in_turns(bare, whole, rounds=rounds)
        batches.close()
    rates = crops / np.median(bare_seconds), crops / np.median(whole_seconds)
    detail = (
        f"ECAPA-512, {crops} crops of {_SECONDS:g} s, {'bf16' if run.bf16 else 'fp32'}: "
        f"bare {rates[0]:.1f}, whole {rates[1]:.1f} crops/s"
    )
    return Measurement.of(
        "training throughput, whole road / bare encoder", bare_seconds / whole_seconds, "", detail, least=0.85
    )
