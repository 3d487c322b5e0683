"""The objective of a recipe: which losses there are, and how they are weighed."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor, nn

from voxangle.config import Config
from voxangle.objectives.attention import own_class_posterior
from voxangle.objectives.balancers import Balancer, Normaliser, Uncertainty, equal, fixed, mgda
from voxangle.objectives.balancing import at_parameters
from voxangle.objectives.classifiers import (
    AAMSoftmaxConfig,
    AMSoftmaxConfig,
    SoftmaxConfig,
    SphereFace2Config,
)
from voxangle.objectives.contrasts import (
    AngularPrototypicalConfig,
    AttentionConfig,
    NTXentAMConfig,
    SupervisedContrastiveConfig,
)
from voxangle.objectives.jacobian_descent import cagrad, imtl_g, pcgrad, upgrad

__all__ = [
    "BalancingConfig",
    "ClassificationConfig",
    "ContrastiveConfig",
    "Objective",
    "ObjectiveConfig",
]


class EqualConfig(Config):
    """The mean of the losses."""

    kind: Literal["equal"]

    def build(self) -> Balancer:
        """The balancer."""
        return equal()


class FixedConfig(Config):
    """Constant weights of (classification, contrast)."""

    kind: Literal["fixed"]
    weights: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.5, 0.5)

    def build(self) -> Balancer:
        """The balancer."""
        return fixed(self.weights)


class UncertaintyConfig(Config):
    """Weights learned as the losses' uncertainty; see ``Uncertainty``."""

    kind: Literal["uncertainty"]

    def build(self) -> Balancer:
        """The balancer, a module with parameters of its own."""
        return Uncertainty()


class _ByGradients(Config):
    """``at``: whether the gradients are those at the embeddings, or (exact and slow) at the encoder's parameters."""

    at: Literal["embeddings", "parameters"] = "embeddings"


class MGDAConfig(_ByGradients):
    """Min-norm weights; see ``mgda``. The floor is ours: without it the classifier starves."""

    kind: Literal["mgda"] = "mgda"
    normaliser: Normaliser = "none"
    floor: float = Field(0.4, ge=0, le=0.5)

    def build(self) -> Balancer:
        """The balancer."""
        return mgda(self.normaliser, floor=self.floor)


class TorchJDConfig(_ByGradients):
    """A method of the ``balance`` extra that has no settings."""

    kind: Literal["upgrad", "pcgrad", "imtl_g"]

    def build(self) -> Balancer:
        """The balancer."""
        return {"upgrad": upgrad, "pcgrad": pcgrad, "imtl_g": imtl_g}[self.kind]()


class CAGradConfig(_ByGradients):
    """CAGrad of the ``balance`` extra; see ``cagrad``."""

    kind: Literal["cagrad"]
    c: float = Field(0.5, ge=0)

    def build(self) -> Balancer:
        """The balancer."""
        return cagrad(self.c)


def _by_default(kind: str) -> BeforeValidator:
    """A section that does not say its kind is of this one."""

    def settle(settings: object) -> object:
        return {"kind": kind, **settings} if isinstance(settings, dict) else settings

    return BeforeValidator(settle)


ClassificationConfig = Annotated[
    AAMSoftmaxConfig | AMSoftmaxConfig | SoftmaxConfig | SphereFace2Config,
    Field(discriminator="kind"),
    _by_default("aam_softmax"),
]
ContrastiveConfig = Annotated[
    SupervisedContrastiveConfig | NTXentAMConfig | AngularPrototypicalConfig,
    Field(discriminator="kind"),
    _by_default("supervised"),
]
BalancingConfig = Annotated[
    EqualConfig | FixedConfig | UncertaintyConfig | MGDAConfig | TorchJDConfig | CAGradConfig,
    Field(discriminator="kind"),
    _by_default("mgda"),
]


class ObjectiveConfig(Config):
    """The losses and their balance; null switches a loss off.

    Attributes:
        classification: AAM-softmax or another classifier, or null for contrast alone.
        contrastive: the contrastive loss, or null for classification alone.
        balancing: how the two are weighed.
        contrast_from: share of the training after which contrast enters, in [0, 1); before it the classifier
            warms up alone, so that the prototypes that attention asks are not noise. Ours, not the paper's.
            By default 0.3, and 0 where there is no classifier.
    """

    classification: ClassificationConfig | None = AAMSoftmaxConfig()
    contrastive: ContrastiveConfig | None = SupervisedContrastiveConfig()
    balancing: BalancingConfig = MGDAConfig()
    contrast_from: float | None = Field(None, ge=0, lt=1)

    @model_validator(mode="after")
    def _losses_fit_together(self) -> Self:
        if self.classification is None:
            if self.contrastive is None:
                raise ValueError(
                    "classification and contrastive are both null: there is nothing to train with"
                )
            if self.attention is not None:
                raise ValueError(
                    "attention asks the classifier's prototypes: with classification null, set "
                    "contrastive.attention to null"
                )
            if self.contrast_from:
                raise ValueError("contrast_from must be 0 where classification is null: nothing else trains")
        return self

    @property
    def attention(self) -> AttentionConfig | None:
        """How the contrastive pairs are weighed, or None."""
        return (
            self.contrastive.attention if isinstance(self.contrastive, SupervisedContrastiveConfig) else None
        )

    @property
    def contrast_begins(self) -> float:
        """Share of the training after which contrast enters."""
        if self.contrast_from is not None:
            return self.contrast_from
        return 0.0 if self.classification is None else 0.3


class Objective(nn.Module):
    """The losses of a recipe and their balancer, with all that they learn.

    Args:
        config: the losses and their balance.
        speakers: C.
        dimension: D.

    Raises:
        MissingExtraError: the balancer needs an extra that is not installed.
    """

    def __init__(self, config: ObjectiveConfig, *, speakers: int, dimension: int) -> None:
        super().__init__()
        self.config = config
        head, pull = config.classification, config.contrastive
        self.classification = head.build(speakers, dimension) if head else None
        self.contrastive = pull.build() if pull else None
        # A balancer that learns is a module, and registers itself: optimiser and checkpoint find its parameters.
        self.weighing = config.balancing.build()

    def balancer(self, encoder: nn.Module) -> Balancer:
        """What weighs the losses; the encoder is asked for its parameters where the config says so."""
        if isinstance(self.config.balancing, _ByGradients) and self.config.balancing.at == "parameters":
            return at_parameters(self.weighing, encoder.parameters())
        return self.weighing

    def forward(
        self, embeddings: Tensor, labels: Tensor, *, margin_ramp: float = 1.0, contrast: bool = True
    ) -> dict[str, Tensor]:
        """The losses to balance, by name: ``classification`` and ``contrastive``, those that are on.

        Args:
            embeddings: (N, D), all views of all ranks.
            labels: (N,) speaker numbers.
            margin_ramp: share of the classification margin in force, in [0, 1].
            contrast: whether the contrastive loss has entered yet.
        """
        losses = {}
        if self.classification is not None:
            losses["classification"] = self.classification(embeddings, labels, margin_ramp=margin_ramp)
        if self.contrastive is not None and contrast:
            losses["contrastive"] = self.contrastive(embeddings, labels, *self._attention(embeddings, labels))
        return losses

    def _attention(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        config = self.config.attention
        if config is None or self.classification is None:
            return ()
        belief = own_class_posterior(
            embeddings,
            labels,
            self.classification.prototypes,
            scale=config.scale,
            normalise=config.normalise,
            detach=config.detach,
        )
        return (belief,)
