"""The objective of a recipe: which losses there are, and how they are weighed."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypedDict

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor, nn

from voxangle.config import Config
from voxangle.objectives.attention import class_aware_attention
from voxangle.objectives.balancing import Balancer, Normaliser, fixed, mgda
from voxangle.objectives.classification import aam_softmax_loss
from voxangle.objectives.contrastive import (
    AttentionForm,
    MarginForm,
    PairSelection,
    supervised_contrastive_loss,
)

__all__ = [
    "AttentionConfig",
    "ClassificationConfig",
    "ContrastiveConfig",
    "FixedConfig",
    "MGDAConfig",
    "Objective",
    "ObjectiveConfig",
    "build_balancer",
]


class ClassificationConfig(Config):
    """AAM-softmax: ``margin`` in radians (the schedule ramps up to it), ``scale`` of the cosines."""

    margin: float = Field(0.2, ge=0, lt=1.5)
    scale: float = Field(32.0, gt=0)


class AttentionConfig(Config):
    """Class-aware attention of the contrastive pairs; see ``class_aware_attention``.

    ``normalise`` is the mean here: by the maximum, a young classifier silences nearly all negatives (measured on
    validation speakers, ``recipes/shared.yaml``).
    """

    scale: float = Field(10.0, gt=0, le=100)
    normalise: Literal["max", "mean"] | None = "mean"
    form: AttentionForm = "log_weight"
    pairs: PairSelection = "negatives"
    detach: bool = True


class ContrastiveConfig(Config):
    """Supervised contrastive loss: ``margin`` in radians; ``attention: null`` switches the weights off."""

    temperature: float = Field(0.07, gt=0)
    margin: float = Field(0.1, ge=0, lt=1.5)
    margin_form: MarginForm = "numerator"
    attention: AttentionConfig | None = AttentionConfig()


class FixedConfig(Config):
    """Constant weights of (classification, contrast)."""

    kind: Literal["fixed"]
    weights: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.5, 0.5)


class MGDAConfig(Config):
    """Min-norm weights at the embedding; see ``mgda``. The floor is ours: without it the classifier starves."""

    kind: Literal["mgda"] = "mgda"
    normaliser: Normaliser = "none"
    floor: float = Field(0.4, ge=0, le=0.5)


def _mgda_by_default(settings: object) -> object:
    return {"kind": "mgda", **settings} if isinstance(settings, dict) else settings


class ObjectiveConfig(Config):
    """The losses and their balance; null switches a loss off.

    Attributes:
        classification: AAM-softmax, or null for contrast alone.
        contrastive: the contrastive loss, or null for AAM-softmax alone.
        balancing: how the two are weighed.
        contrast_from: share of the training after which contrast enters, in [0, 1); before it the classifier
            warms up alone, so that the prototypes that attention asks are not noise. Ours, not the paper's.
            By default 0.3, and 0 where there is no classifier.
    """

    classification: ClassificationConfig | None = ClassificationConfig()
    contrastive: ContrastiveConfig | None = ContrastiveConfig()
    balancing: Annotated[
        FixedConfig | MGDAConfig, Field(discriminator="kind"), BeforeValidator(_mgda_by_default)
    ] = MGDAConfig()
    contrast_from: float | None = Field(None, ge=0, lt=1)

    @model_validator(mode="after")
    def _losses_fit_together(self) -> Self:
        if self.classification is None:
            if self.contrastive is None:
                raise ValueError(
                    "classification and contrastive are both null: there is nothing to train with"
                )
            if self.contrastive.attention is not None:
                raise ValueError(
                    "attention asks the classifier's prototypes: with classification null, set "
                    "contrastive.attention to null"
                )
            if self.contrast_from:
                raise ValueError("contrast_from must be 0 where classification is null: nothing else trains")
        return self

    @property
    def contrast_begins(self) -> float:
        """Share of the training after which contrast enters."""
        if self.contrast_from is not None:
            return self.contrast_from
        return 0.0 if self.classification is None else 0.3


def build_balancer(config: FixedConfig | MGDAConfig) -> Balancer:
    """The balancer that the config describes."""
    if isinstance(config, FixedConfig):
        return fixed(config.weights)
    return mgda(config.normaliser, floor=config.floor)


class Objective(nn.Module):
    """The losses of a recipe over one set of prototypes, shape (speakers, dimension)."""

    def __init__(self, config: ObjectiveConfig, *, speakers: int, dimension: int) -> None:
        super().__init__()
        self.config = config
        self.prototypes = nn.Parameter(torch.empty(speakers, dimension))
        nn.init.xavier_normal_(self.prototypes)

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
        if (head := self.config.classification) is not None:
            losses["classification"] = aam_softmax_loss(
                embeddings, labels, self.prototypes, margin=margin_ramp * head.margin, scale=head.scale
            )
        if (pull := self.config.contrastive) is not None and contrast:
            losses["contrastive"] = supervised_contrastive_loss(
                embeddings,
                labels,
                temperature=pull.temperature,
                margin=pull.margin,
                margin_form=pull.margin_form,
                **self._attention(pull.attention, embeddings, labels),
            )
        return losses

    def _attention(self, config: AttentionConfig | None, embeddings: Tensor, labels: Tensor) -> _Weighing:
        if config is None:
            return {}
        attention = class_aware_attention(
            embeddings,
            labels,
            self.prototypes,
            scale=config.scale,
            normalise=config.normalise,
            detach=config.detach,
        )
        return {"attention": attention, "attention_form": config.form, "pairs": config.pairs}


class _Weighing(TypedDict, total=False):
    attention: Tensor
    attention_form: AttentionForm
    pairs: PairSelection
