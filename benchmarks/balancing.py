"""A balanced step against a plain sum: at the embedding, at the parameters, and by TorchJD's own engine."""

from __future__ import annotations

import numpy as np
import torch
from torchjd.aggregation import MGDA
from torchjd.autojac import jac_to_grad, mtl_backward

from benchmarks.ratio import Measurement, in_turns
from voxangle.encoders import ECAPATDNNConfig, build_encoder
from voxangle.objectives import Objective, ObjectiveConfig, backward_balanced, mgda, mgda_parameters

__all__ = ["balancing"]

_CROPS, _SPEAKERS = 32, 1211


def balancing(rounds: int) -> list[Measurement]:
    """Time of a step balanced by MGDA in three ways, over the same step with a plain sum of the losses."""
    torch.manual_seed(0)
    encoder = build_encoder(ECAPATDNNConfig(architecture="ecapa_tdnn"))
    objective = Objective(ObjectiveConfig(), speakers=_SPEAKERS, dimension=encoder.dimension)
    features = torch.randn(_CROPS, 198, 80)
    labels = torch.arange(_CROPS // 2).repeat_interleave(2)
    shared = list(encoder.parameters())

    def losses() -> tuple[list[torch.Tensor], torch.Tensor]:
        encoder.zero_grad(set_to_none=True)
        objective.zero_grad(set_to_none=True)
        embeddings = encoder(features)
        return list(objective(embeddings, labels).values()), embeddings

    def plain() -> None:
        values, _ = losses()
        torch.autograd.backward(torch.stack(values).sum())

    def at_embedding() -> None:
        backward_balanced(*losses(), mgda())

    def at_parameters() -> None:
        backward_balanced(*losses(), mgda_parameters(shared))

    def torchjd() -> None:
        values, embeddings = losses()
        mtl_backward(values, features=embeddings, shared_params=shared)
        jac_to_grad(shared, MGDA())

    seconds = in_turns(plain, at_embedding, at_parameters, torchjd, rounds=rounds)
    setting = f"ECAPA-512, {_CROPS} crops of 2 s, fp32, {_SPEAKERS} prototypes"
    absolute = ", ".join(
        f"{name} {np.median(taken):.2f}"
        for name, taken in zip(
            ("plain", "at the embedding", "at the parameters", "TorchJD"), seconds, strict=True
        )
    )
    plain_seconds, ours, exact, theirs = seconds
    return [
        Measurement.of(
            "MGDA at the embedding / plain sum",
            ours / plain_seconds,
            "",
            f"{setting}: {absolute} s a step",
            most=1.03,
        ),
        Measurement.of(
            "MGDA at the parameters / plain sum",
            exact / plain_seconds,
            "",
            "two backward passes more",
            most=3,
        ),
        Measurement.of(
            "MGDA at the embedding / TorchJD's engine",
            ours / theirs,
            "",
            "mtl_backward, MGDA at the parameters",
            most=1,
        ),
    ]
