"""From embeddings and trial lists to scores and results."""

from voxangle.scoring.cohort import Cohort
from voxangle.scoring.compare import compare, read_evaluation
from voxangle.scoring.cosine import cosine_scores
from voxangle.scoring.evaluate import Embeddings, evaluate
from voxangle.scoring.fusion import Fusion, fit_fusion
from voxangle.scoring.machine import Machine
from voxangle.scoring.mean_embedding import MeanEmbedding
from voxangle.scoring.measure import measure, trials_sha256
from voxangle.scoring.plda import PLDA
from voxangle.scoring.result import (
    AveragedSplit,
    Condition,
    DetectionCost,
    LearntFrom,
    MeanSubtraction,
    Measure,
    Model,
    PLDAScoring,
    Protocol,
    Resampling,
    Result,
    ScoreNormalisation,
    TrialCounts,
)
from voxangle.scoring.score_normalisation import ScoreNormaliser
from voxangle.scoring.speakers import speakers_from_targets
from voxangle.scoring.trial_scores import TrialScores

__all__ = [
    "PLDA",
    "AveragedSplit",
    "Cohort",
    "Condition",
    "DetectionCost",
    "Embeddings",
    "Fusion",
    "LearntFrom",
    "Machine",
    "MeanEmbedding",
    "MeanSubtraction",
    "Measure",
    "Model",
    "PLDAScoring",
    "Protocol",
    "Resampling",
    "Result",
    "ScoreNormalisation",
    "ScoreNormaliser",
    "TrialCounts",
    "TrialScores",
    "compare",
    "cosine_scores",
    "evaluate",
    "fit_fusion",
    "measure",
    "read_evaluation",
    "speakers_from_targets",
    "trials_sha256",
]
