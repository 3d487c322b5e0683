"""Views of crops: noise, babble, music, rooms and telephones, batched on the device of the encoder."""

from voxangle.augment.augmenter import Augmenter
from voxangle.augment.banks import Banks, build_banks
from voxangle.augment.config import AugmentConfig, KindWeights

__all__ = ["AugmentConfig", "Augmenter", "Banks", "KindWeights", "build_banks"]
