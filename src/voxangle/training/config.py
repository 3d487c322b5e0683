"""Settings of the optimiser, its schedule, and the loop."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from voxangle.config import Config

__all__ = ["LoopConfig", "OptimizerConfig", "ScheduleConfig"]


class OptimizerConfig(Config):
    """AdamW, or SGD with Nesterov momentum; ``lr`` is the peak learning rate.

    Biases and normalisation weights are not decayed. ``momentum`` is SGD's; ``clip`` bounds the norm of the
    gradient of all parameters together (null: no bound). With ``average`` the model is the moving average of the
    encoder's weights with that decay, such as 0.999; see ``MovingAverage``.
    """

    kind: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    clip: float | None = Field(10.0, gt=0)
    average: float | None = Field(None, ge=0, lt=1)


class ScheduleConfig(Config):
    """Linear warm-up then cosine decay, over ``steps`` optimiser steps; the other entries are shares of them.

    Attributes:
        steps: length of the training.
        warm_up: share of the steps in which the learning rate rises from 0 to its peak.
        final_lr: learning rate at the end, as a share of the peak.
        margin_from: share of the steps at which the classification margin begins to rise from 0 ...
        margin_until: ... and at which it is whole.
    """

    steps: int = Field(gt=0)
    warm_up: float = Field(0.05, ge=0, lt=1)
    final_lr: float = Field(0.01, ge=0, le=1)
    margin_from: float = Field(0.1, ge=0, le=1)
    margin_until: float = Field(0.3, ge=0, le=1)

    @model_validator(mode="after")
    def _margin_rises(self) -> Self:
        if self.margin_until < self.margin_from:
            raise ValueError(
                f"margin_until ({self.margin_until}) comes before margin_from ({self.margin_from}); swap them"
            )
        return self


class LoopConfig(Config):
    """What the loop does beside its steps; nothing here changes the weights but ``precision``.

    Attributes:
        precision: ``bf16`` runs the encoder under autocast, ``fp32`` does not, ``auto`` takes bf16 where the
            hardware multiplies in it.
        checkpoint_every: steps between checkpoints.
        validate_every: steps between validation error rates; 0 for one at the end only.
        log_every: steps between lines of the log.
        readers: threads that read and decode, in each process; null for a processor each, divided among the
            processes of the machine.
        tensorboard: also write TensorBoard events into the run's folder (extra ``track``).
    """

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    checkpoint_every: int = Field(500, gt=0)
    validate_every: int = Field(500, ge=0)
    log_every: int = Field(10, gt=0)
    readers: int | None = Field(None, gt=0)
    tensorboard: bool = False
