"""Encoders: from features to one vector a recording, and the model that is used."""

from voxangle.encoders.card import ModelCard, Threshold, TrainingSummary
from voxangle.encoders.ecapa_tdnn import ECAPATDNN, ECAPATDNNConfig
from voxangle.encoders.embedder import MINIMUM_SECONDS, EmbeddedFiles, Embedder
from voxangle.encoders.encoder import BaseEncoderConfig, Encoder
from voxangle.encoders.pooling import AttentiveStatistics
from voxangle.encoders.registry import ENCODERS, Architecture, EncoderConfig, build_encoder

__all__ = [
    "ECAPATDNN",
    "ENCODERS",
    "MINIMUM_SECONDS",
    "Architecture",
    "AttentiveStatistics",
    "BaseEncoderConfig",
    "ECAPATDNNConfig",
    "EmbeddedFiles",
    "Embedder",
    "Encoder",
    "EncoderConfig",
    "ModelCard",
    "Threshold",
    "TrainingSummary",
    "build_encoder",
]
