"""The classification losses as modules that own their prototypes, each beside its settings."""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from voxangle.config import Config
from voxangle.errors import RecipeError
from voxangle.objectives.classification import aam_softmax_loss, am_softmax_loss, softmax_loss
from voxangle.objectives.sphereface2 import BinaryMarginForm, sphereface2_initial_bias, sphereface2_loss

__all__ = [
    "AAMSoftmaxConfig",
    "AAMSoftmaxLoss",
    "AMSoftmaxConfig",
    "AMSoftmaxLoss",
    "Classifier",
    "SoftmaxConfig",
    "SoftmaxLoss",
    "SphereFace2Config",
    "SphereFace2Loss",
]


class Classifier(nn.Module):
    """A classification loss over prototypes of its own.

    Args:
        speakers: C.
        dimension: D.
        subcentres: K prototypes a speaker.

    Attributes:
        prototypes: (C, D), or (C, K, D) where K > 1.
    """

    def __init__(self, speakers: int, dimension: int, *, subcentres: int = 1) -> None:
        super().__init__()
        shape = (speakers, dimension) if subcentres == 1 else (speakers, subcentres, dimension)
        self.prototypes = nn.Parameter(torch.empty(shape))
        nn.init.xavier_normal_(self.prototypes.data.view(-1, dimension))

    def forward(self, embeddings: Tensor, labels: Tensor, *, margin_ramp: float = 1.0) -> Tensor:
        """The mean loss of embeddings (N, D) with labels (N,) in [0, C), a scalar.

        Args:
            embeddings: (N, D).
            labels: (N,) integers in [0, C).
            margin_ramp: share of the margin in force, in [0, 1].
        """
        raise NotImplementedError


class SoftmaxConfig(Config):
    """Plain softmax, without margin and scale."""

    kind: Literal["softmax"] = "softmax"

    def build(self, speakers: int, dimension: int) -> SoftmaxLoss:
        """The loss with fresh prototypes."""
        return SoftmaxLoss(speakers, dimension)


class SoftmaxLoss(Classifier):
    """``softmax_loss`` over weights and biases of its own."""

    def __init__(self, speakers: int, dimension: int) -> None:
        super().__init__(speakers, dimension)
        self.bias = nn.Parameter(torch.zeros(speakers))

    def forward(self, embeddings: Tensor, labels: Tensor, *, margin_ramp: float = 1.0) -> Tensor:
        """As ``Classifier.forward``; there is no margin to ramp."""
        del margin_ramp
        return softmax_loss(embeddings, labels, self.prototypes, self.bias)


class AMSoftmaxConfig(Config):
    """AM-softmax: ``margin`` in units of cosine, ``scale`` of the cosines."""

    kind: Literal["am_softmax"] = "am_softmax"
    margin: float = Field(0.2, ge=0, lt=2)
    scale: float = Field(32.0, gt=0)
    subcentres: int = Field(1, ge=1)

    def build(self, speakers: int, dimension: int) -> AMSoftmaxLoss:
        """The loss with fresh prototypes."""
        return AMSoftmaxLoss(speakers, dimension, self)


class AMSoftmaxLoss(Classifier):
    """``am_softmax_loss`` over prototypes of its own."""

    def __init__(self, speakers: int, dimension: int, config: AMSoftmaxConfig | None = None) -> None:
        self.config = config or AMSoftmaxConfig()
        super().__init__(speakers, dimension, subcentres=self.config.subcentres)

    def forward(self, embeddings: Tensor, labels: Tensor, *, margin_ramp: float = 1.0) -> Tensor:
        """As ``Classifier.forward``."""
        margin = margin_ramp * self.config.margin
        return am_softmax_loss(embeddings, labels, self.prototypes, margin=margin, scale=self.config.scale)


class AAMSoftmaxConfig(Config):
    """AAM-softmax: ``margin`` in radians, ``scale`` of the cosines; see ``aam_softmax_loss`` for the options."""

    kind: Literal["aam_softmax"] = "aam_softmax"
    margin: float = Field(0.2, ge=0, lt=math.pi / 2)
    scale: float = Field(32.0, gt=0)
    subcentres: int = Field(1, ge=1)
    inter_topk: int = Field(0, ge=0)
    inter_margin: float = Field(0.06, ge=0, lt=math.pi / 2)

    def build(self, speakers: int, dimension: int) -> AAMSoftmaxLoss:
        """The loss with fresh prototypes.

        Raises:
            RecipeError: there are not as many wrong classes as ``inter_topk`` asks for.
        """
        if self.inter_topk >= speakers:
            raise RecipeError(
                f"objective.classification.inter_topk: each of {speakers} speakers has {speakers - 1} wrong classes, "
                f"fewer than {self.inter_topk}; lower it"
            )
        return AAMSoftmaxLoss(speakers, dimension, self)


class AAMSoftmaxLoss(Classifier):
    """``aam_softmax_loss`` over prototypes of its own.

    >>> loss = AAMSoftmaxLoss(speakers=4, dimension=8, config=AAMSoftmaxConfig(margin=0.3, subcentres=3))
    >>> loss(torch.randn(5, 8), torch.tensor([0, 1, 2, 3, 0])).shape
    torch.Size([])
    """

    def __init__(self, speakers: int, dimension: int, config: AAMSoftmaxConfig | None = None) -> None:
        self.config = config or AAMSoftmaxConfig()
        super().__init__(speakers, dimension, subcentres=self.config.subcentres)

    def forward(self, embeddings: Tensor, labels: Tensor, *, margin_ramp: float = 1.0) -> Tensor:
        """As ``Classifier.forward``."""
        return aam_softmax_loss(
            embeddings,
            labels,
            self.prototypes,
            margin=margin_ramp * self.config.margin,
            scale=self.config.scale,
            inter_topk=self.config.inter_topk,
            inter_margin=margin_ramp * self.config.inter_margin,
        )


class SphereFace2Config(Config):
    """SphereFace2; see ``sphereface2_loss``."""

    kind: Literal["sphereface2"] = "sphereface2"
    margin: float = Field(0.2, ge=0, lt=math.pi / 2)
    scale: float = Field(32.0, gt=0)
    balance: float = Field(0.7, gt=0, lt=1)
    sharpness: float = Field(3.0, ge=1)
    margin_form: BinaryMarginForm = "additive"
    subcentres: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _margin_fits_its_form(self) -> Self:
        if self.margin_form == "additive" and self.margin >= 1:
            raise ValueError(f"margin must be below 1 where margin_form is additive, not {self.margin}")
        return self

    def build(self, speakers: int, dimension: int) -> SphereFace2Loss:
        """The loss with fresh prototypes."""
        return SphereFace2Loss(speakers, dimension, self)


class SphereFace2Loss(Classifier):
    """``sphereface2_loss`` over prototypes and a bias of its own."""

    def __init__(self, speakers: int, dimension: int, config: SphereFace2Config | None = None) -> None:
        self.config = config or SphereFace2Config()
        super().__init__(speakers, dimension, subcentres=self.config.subcentres)
        settings = self.config.model_dump(exclude={"kind", "subcentres"})
        self.bias = nn.Parameter(torch.tensor(sphereface2_initial_bias(speakers, **settings)))

    def forward(self, embeddings: Tensor, labels: Tensor, *, margin_ramp: float = 1.0) -> Tensor:
        """As ``Classifier.forward``."""
        settings = self.config.model_dump(exclude={"kind", "subcentres", "margin"})
        margin = margin_ramp * self.config.margin
        return sphereface2_loss(embeddings, labels, self.prototypes, self.bias, margin=margin, **settings)
