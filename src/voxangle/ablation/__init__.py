"""Ablation: variants of a recipe, each trained with several seeds, and what their differences support."""

from voxangle.ablation.held_out import HeldOut, ValidationTrials, validation_trials
from voxangle.ablation.runs import Finished, Run, do_runs, plan_runs
from voxangle.ablation.show import print_ablation, write_ablation_page, write_markdown
from voxangle.ablation.statistics import OverSeeds, difference_over_seeds, mean_over_seeds
from voxangle.ablation.table import Ablation, Comparison, Figure, ListTable, Mean, RunRecord, make_table
from voxangle.ablation.variants import Base, Variant, differences, make_variants, read_variants

__all__ = [
    "Ablation",
    "Base",
    "Comparison",
    "Figure",
    "Finished",
    "HeldOut",
    "ListTable",
    "Mean",
    "OverSeeds",
    "Run",
    "RunRecord",
    "ValidationTrials",
    "Variant",
    "difference_over_seeds",
    "differences",
    "do_runs",
    "make_table",
    "make_variants",
    "mean_over_seeds",
    "plan_runs",
    "print_ablation",
    "read_variants",
    "validation_trials",
    "write_ablation_page",
    "write_markdown",
]
