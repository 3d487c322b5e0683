"""Views and features of crops: batched against one at a time, and as a share of a training step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import nn

from benchmarks.ratio import Measurement, in_turns
from benchmarks.simulated import simulated_voxceleb2
from voxangle.audio import SAMPLE_RATE
from voxangle.augment import AugmentConfig, Augmenter, Banks, KindWeights, build_banks
from voxangle.encoders import ECAPATDNNConfig, build_encoder
from voxangle.features import Filterbank
from voxangle.objectives import Objective, ObjectiveConfig, backward_balanced
from voxangle.training.loop import _use_bf16
from voxangle.training.plan import MadeUpRecordings

__all__ = ["augmentation"]

_CROPS, _VIEWS, _SECONDS = 32, 5, 2.0
_SPEAKERS = 5994
_EVERY_KIND = KindWeights(clean=1.0)


def augmentation(rounds: int) -> Iterator[Measurement]:
    """Views/s of each kind and crops/s of the filterbank, then what both cost of a step; on a GPU where one is."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    waveforms = 0.1 * torch.randn(_CROPS * _VIEWS, round(_SECONDS * SAMPLE_RATE), device=device)
    labels = torch.arange(_CROPS * _VIEWS) // (2 * _VIEWS)
    with tempfile.TemporaryDirectory() as name:
        banks = _banks(Path(name)).to(device)
    of_kind = {
        kind: KindWeights(**{other: float(other == kind) for other in KindWeights.model_fields})
        for kind in KindWeights.model_fields
    }
    with torch.no_grad():
        for kind, weights in {**of_kind, "all kinds": KindWeights()}.items():
            augmenter = Augmenter(AugmentConfig(views=1, clean_first=False, kinds=weights), banks)

            def views(rows: slice, augmenter: Augmenter = augmenter) -> None:
                augmenter(waveforms[rows], _generator(), labels[rows])

            yield from _batched(f"augmentation, {kind}", "views/s", views, device, rounds)
        filterbank = Filterbank().to(device)
        yield from _batched("filterbank", "crops/s", lambda rows: filterbank(waveforms[rows]), device, rounds)
    augmenter = Augmenter(AugmentConfig(views=_VIEWS), banks)
    yield from _shares(augmenter, filterbank, waveforms[:_CROPS], labels[:_CROPS], rounds)


def _batched(
    name: str, unit: str, call: Callable[[slice], object], device: torch.device, rounds: int
) -> Iterator[Measurement]:
    """How many a second, all rows in one call, and each in a call of its own."""
    rows = _CROPS * _VIEWS

    def alone() -> None:
        for row in range(rows):
            call(slice(row, row + 1))

    together, one_by_one = in_turns(
        _finished(lambda: call(slice(rows)), device), _finished(alone, device), rounds=3 * rounds
    )
    low, ratio, high = np.quantile(one_by_one / together, [0.25, 0.5, 0.75])
    detail = f"crops of {_SECONDS:g} s, {device.type}"
    yield Measurement.of(
        f"{name}, {rows} at once",
        rows / together,
        unit,
        f"{detail}; {ratio:.2f} [{low:.2f}, {high:.2f}] times as many as one by one",
    )
    yield Measurement.of(f"{name}, one by one", rows / one_by_one, unit, detail)


def _shares(
    augmenter: Augmenter, filterbank: Filterbank, crops: torch.Tensor, labels: torch.Tensor, rounds: int
) -> Iterator[Measurement]:
    device = crops.device
    torch.manual_seed(0)
    encoder = build_encoder(ECAPATDNNConfig(architecture="ecapa_tdnn", channels=512)).to(device).train()
    objective = Objective(ObjectiveConfig(), speakers=_SPEAKERS, dimension=encoder.dimension).to(device)
    balancer = objective.balancer(encoder)
    parameters = [*encoder.parameters(), *objective.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    repeated = labels.repeat_interleave(_VIEWS).to(device)

    @torch.no_grad()
    def front() -> torch.Tensor:
        features: torch.Tensor = filterbank(augmenter(crops, _generator(), labels).flatten(0, 1))[0]
        return features

    features = front()

    def step(*, bf16: bool) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            embeddings = encoder(features)
        embeddings = embeddings.float()
        losses = objective(embeddings, repeated)
        optimizer.zero_grad(set_to_none=True)
        backward_balanced(list(losses.values()), embeddings, balancer)
        nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()

    precisions = {"fp32": False} | ({"bf16": True} if _use_bf16("auto", device) else {})
    steps = [_finished(partial(step, bf16=bf16), device) for bf16 in precisions.values()]
    front_seconds, *step_seconds = in_turns(_finished(front, device), *steps, rounds=rounds, warm_up=1)
    for precision, seconds in zip(precisions, step_seconds, strict=True):
        yield Measurement.of(
            f"augmentation + features / step of ECAPA-512, {precision}",
            100 * front_seconds / seconds,
            "%",
            f"{_CROPS} crops x {_VIEWS} views x {_SECONDS:g} s, {device.type}: {1e3 * np.median(front_seconds):.1f} ms "
            f"beside {1e3 * np.median(seconds):.1f} ms of encoder, objective ({_SPEAKERS:,} prototypes), optimiser",
            most=15,
        )


def _finished(call: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """The call, and what it has left the GPU to do."""

    def whole() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return whole


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _banks(folder: Path) -> Banks:
    """Every kind: synthetic noises, made-up voices and chords, simulated rooms."""
    random = np.random.default_rng(0)
    time = np.arange(30 * SAMPLE_RATE) / SAMPLE_RATE
    (folder / "music").mkdir()
    for number in range(64):
        pitches = 110 * 2 ** (random.integers(36, size=4) / 12)
        chord = sum(np.sin(2 * np.pi * pitch * time) for pitch in pitches)
        soundfile.write(folder / "music" / f"{number}.wav", 0.2 * chord, SAMPLE_RATE)
    recordings = MadeUpRecordings.of(simulated_voxceleb2(share=0.1))
    config = AugmentConfig(kinds=_EVERY_KIND, music=folder / "music")
    return build_banks(config, recordings, seed=0, cache=folder)
