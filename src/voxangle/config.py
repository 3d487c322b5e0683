"""The base of every typed config: frozen, and closed to keys it does not know."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Config"]


class Config(BaseModel):
    """Frozen settings of one room; an unknown key is an error (``voxangle.recipe`` names the nearest one)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
