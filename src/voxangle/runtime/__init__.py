"""A model in use without what trained it: nothing in this room imports torch."""

from voxangle.runtime.card import Card, Threshold
from voxangle.runtime.embedding import MINIMUM_SECONDS, BaseEmbedder, EmbeddedFiles

__all__ = ["MINIMUM_SECONDS", "BaseEmbedder", "Card", "EmbeddedFiles", "Threshold"]
