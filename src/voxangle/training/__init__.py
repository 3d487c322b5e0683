"""The step, the loop, schedules, checkpoints and the processes that share them."""

from voxangle.training.config import LoopConfig, OptimizerConfig, ScheduleConfig

__all__ = ["LoopConfig", "OptimizerConfig", "ScheduleConfig"]
