"""A model in use without what trained it: nothing in this room imports torch."""

from voxangle.runtime.card import Card, Threshold
from voxangle.runtime.embedding import MINIMUM_SECONDS, BaseEmbedder, EmbeddedFiles
from voxangle.runtime.onnx_embedder import OnnxEmbedder

__all__ = ["MINIMUM_SECONDS", "BaseEmbedder", "Card", "EmbeddedFiles", "OnnxEmbedder", "Threshold"]
