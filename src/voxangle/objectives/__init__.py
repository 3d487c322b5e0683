"""The training objective: pure functions of (embeddings, labels, ...), and the pieces that compose them."""

from voxangle.objectives.attention import class_aware_attention
from voxangle.objectives.balancing import Balance, backward_balanced, fixed, mgda, min_norm_weight
from voxangle.objectives.classification import aam_softmax_loss
from voxangle.objectives.contrastive import supervised_contrastive_loss
from voxangle.objectives.margins import additive_angular_margin
from voxangle.objectives.objective import Objective, ObjectiveConfig, build_balancer

__all__ = [
    "Balance",
    "Objective",
    "ObjectiveConfig",
    "aam_softmax_loss",
    "additive_angular_margin",
    "backward_balanced",
    "build_balancer",
    "class_aware_attention",
    "fixed",
    "mgda",
    "min_norm_weight",
    "supervised_contrastive_loss",
]
