"""Schedules as pure functions of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from voxangle.training.config import ScheduleConfig

__all__ = ["contrast_is_on", "lr_factor", "margin_ramp"]


def lr_factor(config: ScheduleConfig, step: int) -> float:
    """Share of the peak learning rate at a step counted from 0: linear warm-up, then cosine decay."""
    warm_up = round(config.warm_up * config.steps)
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, config.steps - 1 - warm_up)
    return config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def margin_ramp(config: ScheduleConfig, step: int) -> float:
    """Share of the classification margin in force at a step, in [0, 1]."""
    begin, end = config.margin_from * config.steps, config.margin_until * config.steps
    if step >= end:
        return 1.0
    return max(0.0, (step - begin) / (end - begin))


def contrast_is_on(contrast_from: float, config: ScheduleConfig, step: int) -> bool:
    """Whether the contrastive loss has entered at a step."""
    return step >= contrast_from * config.steps
