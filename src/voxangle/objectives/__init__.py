"""The training objective: pure functions of (embeddings, labels, ...), and the pieces that compose them."""

from voxangle.objectives.angular_prototypical import angular_prototypical_loss
from voxangle.objectives.attention import class_aware_attention, own_class_posterior
from voxangle.objectives.balancers import Balancer, Uncertainty, equal, fixed, mgda, min_norm_weight
from voxangle.objectives.balancing import Balance, at_parameters, backward_balanced, mgda_parameters
from voxangle.objectives.classification import (
    aam_softmax_loss,
    am_softmax_loss,
    cosine_to_prototypes,
    softmax_loss,
)
from voxangle.objectives.classifiers import (
    AAMSoftmaxConfig,
    AAMSoftmaxLoss,
    AMSoftmaxConfig,
    AMSoftmaxLoss,
    Classifier,
    SoftmaxConfig,
    SoftmaxLoss,
    SphereFace2Config,
    SphereFace2Loss,
)
from voxangle.objectives.contrastive import supervised_contrastive_loss
from voxangle.objectives.contrasts import (
    AngularPrototypicalConfig,
    AngularPrototypicalLoss,
    AttentionConfig,
    NTXentAMConfig,
    NTXentAMLoss,
    SupervisedContrastiveConfig,
    SupervisedContrastiveLoss,
)
from voxangle.objectives.gathering import gather_embeddings, gather_labels
from voxangle.objectives.jacobian_descent import cagrad, imtl_g, pcgrad, upgrad
from voxangle.objectives.margins import additive_angular_margin
from voxangle.objectives.nt_xent import nt_xent_am_loss
from voxangle.objectives.objective import Objective, ObjectiveConfig
from voxangle.objectives.sharded import class_shard, sharded_aam_softmax_loss, sharded_own_class_posterior
from voxangle.objectives.sphereface2 import sphereface2_initial_bias, sphereface2_loss

__all__ = [
    "AAMSoftmaxConfig",
    "AAMSoftmaxLoss",
    "AMSoftmaxConfig",
    "AMSoftmaxLoss",
    "AngularPrototypicalConfig",
    "AngularPrototypicalLoss",
    "AttentionConfig",
    "Balance",
    "Balancer",
    "Classifier",
    "NTXentAMConfig",
    "NTXentAMLoss",
    "Objective",
    "ObjectiveConfig",
    "SoftmaxConfig",
    "SoftmaxLoss",
    "SphereFace2Config",
    "SphereFace2Loss",
    "SupervisedContrastiveConfig",
    "SupervisedContrastiveLoss",
    "Uncertainty",
    "aam_softmax_loss",
    "additive_angular_margin",
    "am_softmax_loss",
    "angular_prototypical_loss",
    "at_parameters",
    "backward_balanced",
    "cagrad",
    "class_aware_attention",
    "class_shard",
    "cosine_to_prototypes",
    "equal",
    "fixed",
    "gather_embeddings",
    "gather_labels",
    "imtl_g",
    "mgda",
    "mgda_parameters",
    "min_norm_weight",
    "nt_xent_am_loss",
    "own_class_posterior",
    "pcgrad",
    "sharded_aam_softmax_loss",
    "sharded_own_class_posterior",
    "softmax_loss",
    "sphereface2_initial_bias",
    "sphereface2_loss",
    "supervised_contrastive_loss",
    "upgrad",
]
