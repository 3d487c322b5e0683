"""From embeddings and trial lists to scores and results."""

from voxangle.scoring.compare import compare, read_evaluation
from voxangle.scoring.cosine import cosine_scores
from voxangle.scoring.evaluate import Embeddings, evaluate
from voxangle.scoring.machine import Machine
from voxangle.scoring.mean_embedding import MeanEmbedding
from voxangle.scoring.measure import measure, trials_sha256
from voxangle.scoring.result import (
    AveragedSplit,
    Condition,
    DetectionCost,
    MeanSubtraction,
    Measure,
    Model,
    Protocol,
    Resampling,
    Result,
    TrialCounts,
)
from voxangle.scoring.speakers import speakers_from_targets
from voxangle.scoring.trial_scores import TrialScores

__all__ = [
    "AveragedSplit",
    "Condition",
    "DetectionCost",
    "Embeddings",
    "Machine",
    "MeanEmbedding",
    "MeanSubtraction",
    "Measure",
    "Model",
    "Protocol",
    "Resampling",
    "Result",
    "TrialCounts",
    "TrialScores",
    "compare",
    "cosine_scores",
    "evaluate",
    "measure",
    "read_evaluation",
    "speakers_from_targets",
    "trials_sha256",
]
