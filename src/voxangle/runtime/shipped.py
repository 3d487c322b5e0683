"""The model that comes with voxangle."""

from __future__ import annotations

from pathlib import Path

__all__ = ["SHIPPED", "SHIPPED_ONNX", "SHIPPED_TORCH"]

SHIPPED = Path(__file__).parents[1] / "shipped"
"""Its folder."""

SHIPPED_TORCH = SHIPPED / "voxangle.safetensors"
SHIPPED_ONNX = SHIPPED / "voxangle.onnx"
"""The same weights for ONNX Runtime."""
