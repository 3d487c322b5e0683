"""Encoders: from features to one vector a recording, and the model that is used."""

from voxangle.encoders.campplus import CAMPlusPlus, CAMPlusPlusConfig
from voxangle.encoders.card import ModelCard, Origin, TrainingSummary
from voxangle.encoders.ecapa_tdnn import ECAPATDNN, ECAPATDNNConfig
from voxangle.encoders.embedder import Embedder
from voxangle.encoders.encoder import BaseEncoderConfig, Encoder
from voxangle.encoders.eres2netv2 import ERes2NetV2, ERes2NetV2Config
from voxangle.encoders.pooling import AttentiveStatistics, FrameAttentiveStatistics, TemporalStatistics
from voxangle.encoders.redimnet import ReDimNet, ReDimNetConfig, ReDimNetStage
from voxangle.encoders.registry import ENCODERS, Architecture, EncoderConfig, build_encoder
from voxangle.encoders.resnet import ResNet, ResNetConfig
from voxangle.encoders.simam_resnet import SimAMResNet, SimAMResNetConfig
from voxangle.runtime import MINIMUM_SECONDS, EmbeddedFiles, Threshold

__all__ = [
    "ECAPATDNN",
    "ENCODERS",
    "MINIMUM_SECONDS",
    "Architecture",
    "AttentiveStatistics",
    "BaseEncoderConfig",
    "CAMPlusPlus",
    "CAMPlusPlusConfig",
    "ECAPATDNNConfig",
    "ERes2NetV2",
    "ERes2NetV2Config",
    "EmbeddedFiles",
    "Embedder",
    "Encoder",
    "EncoderConfig",
    "FrameAttentiveStatistics",
    "ModelCard",
    "Origin",
    "ReDimNet",
    "ReDimNetConfig",
    "ReDimNetStage",
    "ResNet",
    "ResNetConfig",
    "SimAMResNet",
    "SimAMResNetConfig",
    "TemporalStatistics",
    "Threshold",
    "TrainingSummary",
    "build_encoder",
]
