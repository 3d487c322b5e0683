"""The encoders there are: adding one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from voxangle.config import one_of
from voxangle.encoders.campplus import CAMPlusPlus, CAMPlusPlusConfig
from voxangle.encoders.ecapa_tdnn import ECAPATDNN, ECAPATDNNConfig
from voxangle.encoders.encoder import BaseEncoderConfig, Encoder
from voxangle.encoders.eres2netv2 import ERes2NetV2, ERes2NetV2Config
from voxangle.encoders.redimnet import ReDimNet, ReDimNetConfig
from voxangle.encoders.resnet import ResNet, ResNetConfig
from voxangle.encoders.simam_resnet import SimAMResNet, SimAMResNetConfig

__all__ = ["ENCODERS", "Architecture", "EncoderConfig", "build_encoder"]


class Architecture(NamedTuple):
    """An encoder's settings, and the module they build."""

    config: type[BaseEncoderConfig]
    module: Callable[[Any], Encoder]


ENCODERS: dict[str, Architecture] = {
    "ecapa_tdnn": Architecture(ECAPATDNNConfig, ECAPATDNN),
    "resnet": Architecture(ResNetConfig, ResNet),
    "simam_resnet": Architecture(SimAMResNetConfig, SimAMResNet),
    "campplus": Architecture(CAMPlusPlusConfig, CAMPlusPlus),
    "eres2netv2": Architecture(ERes2NetV2Config, ERes2NetV2),
    "redimnet": Architecture(ReDimNetConfig, ReDimNet),
}


def build_encoder(config: BaseEncoderConfig) -> Encoder:
    """The encoder that ``config`` describes, with fresh random weights."""
    return ENCODERS[config.architecture].module(config)


if TYPE_CHECKING:
    EncoderConfig = BaseEncoderConfig
else:
    # The type of a field that holds the settings of any encoder: the union of the registry's.
    EncoderConfig = one_of({name: entry.config for name, entry in ENCODERS.items()}, "architecture")
