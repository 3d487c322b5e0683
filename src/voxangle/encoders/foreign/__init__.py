"""Models of other toolkits: their weights by documented key maps, their features by definition."""

from voxangle.encoders.foreign.convert import TOOLKITS, Converted, convert, import_model

__all__ = ["TOOLKITS", "Converted", "convert", "import_model"]
