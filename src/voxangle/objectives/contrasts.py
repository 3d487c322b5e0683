"""The contrastive losses as modules, each beside its settings."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from voxangle.config import Config
from voxangle.objectives.angular_prototypical import angular_prototypical_loss
from voxangle.objectives.contrastive import (
    AttentionForm,
    MarginForm,
    PairSelection,
    supervised_contrastive_loss,
)
from voxangle.objectives.nt_xent import nt_xent_am_loss

__all__ = [
    "AngularPrototypicalConfig",
    "AngularPrototypicalLoss",
    "AttentionConfig",
    "NTXentAMConfig",
    "NTXentAMLoss",
    "SupervisedContrastiveConfig",
    "SupervisedContrastiveLoss",
]


class AttentionConfig(Config):
    """Class-aware attention of the contrastive pairs; see ``own_class_posterior``.

    ``normalise`` is the mean here: by the maximum, a young classifier silences nearly all negatives (measured on
    validation speakers, ``recipes/shared.yaml``).
    """

    scale: float = Field(10.0, gt=0)
    normalise: Literal["max", "mean"] | None = "mean"
    form: AttentionForm = "log_weight"
    pairs: PairSelection = "negatives"
    detach: bool = True


class SupervisedContrastiveConfig(Config):
    """Supervised contrastive loss: ``margin`` in radians; ``attention: null`` switches the weights off.

    SupCon as it was published is ``margin: 0`` and ``attention: null``.
    """

    kind: Literal["supervised"] = "supervised"
    temperature: float = Field(0.07, gt=0)
    margin: float = Field(0.1, ge=0, lt=math.pi / 2)
    margin_form: MarginForm = "numerator"
    attention: AttentionConfig | None = AttentionConfig()
    block_size: int | None = Field(None, ge=1)

    def build(self) -> SupervisedContrastiveLoss:
        """The loss."""
        return SupervisedContrastiveLoss(self)


class SupervisedContrastiveLoss(nn.Module):
    """``supervised_contrastive_loss``.

    >>> loss = SupervisedContrastiveLoss(SupervisedContrastiveConfig(temperature=0.1, margin=0.2))
    >>> loss(torch.randn(6, 8), torch.tensor([0, 0, 1, 1, 2, 2])).shape
    torch.Size([])
    """

    def __init__(self, config: SupervisedContrastiveConfig | None = None) -> None:
        super().__init__()
        self.config = config or SupervisedContrastiveConfig()

    def forward(self, embeddings: Tensor, labels: Tensor, attention: Tensor | None = None) -> Tensor:
        """The mean loss, a scalar.

        Args:
            embeddings: (N, D).
            labels: (N,) integers.
            attention: (N,) or (N, N) weights, which enter as ``config.attention`` says; None for none.
        """
        config = self.config
        weighing = config.attention or AttentionConfig()
        return supervised_contrastive_loss(
            embeddings,
            labels,
            temperature=config.temperature,
            margin=config.margin,
            margin_form=config.margin_form,
            attention=attention,
            attention_form=weighing.form,
            pairs=weighing.pairs,
            block_size=config.block_size,
        )


class NTXentAMConfig(Config):
    """NT-Xent-AM over speakers: ``margin`` in units of cosine."""

    kind: Literal["nt_xent_am"] = "nt_xent_am"
    temperature: float = Field(0.07, gt=0)
    margin: float = Field(0.1, ge=0, lt=2)

    def build(self) -> NTXentAMLoss:
        """The loss."""
        return NTXentAMLoss(self)


class NTXentAMLoss(nn.Module):
    """``nt_xent_am_loss``."""

    def __init__(self, config: NTXentAMConfig | None = None) -> None:
        super().__init__()
        self.config = config or NTXentAMConfig()

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of embeddings (N, D) with labels (N,), a scalar."""
        settings = self.config
        return nt_xent_am_loss(embeddings, labels, temperature=settings.temperature, margin=settings.margin)


class AngularPrototypicalConfig(Config):
    """Angular prototypical loss: where its learned scale and bias start."""

    kind: Literal["angular_prototypical"] = "angular_prototypical"
    scale: float = Field(10.0, gt=0)
    bias: float = -5.0

    def build(self) -> AngularPrototypicalLoss:
        """The loss."""
        return AngularPrototypicalLoss(self)


class AngularPrototypicalLoss(nn.Module):
    """``angular_prototypical_loss`` with a scale and a bias of its own."""

    def __init__(self, config: AngularPrototypicalConfig | None = None) -> None:
        super().__init__()
        config = config or AngularPrototypicalConfig()
        self.scale = nn.Parameter(torch.tensor(config.scale))
        self.bias = nn.Parameter(torch.tensor(config.bias))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of embeddings (N, D) with labels (N,), a scalar."""
        return angular_prototypical_loss(embeddings, labels, self.scale, self.bias)
