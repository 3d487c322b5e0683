"""The base of every typed config: frozen, and closed to keys it does not know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

__all__ = ["Config", "one_of"]


class Config(BaseModel):
    """Frozen settings of one room; an unknown key is an error (``voxangle.recipe`` names the nearest one)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def one_of(configs: Mapping[str, type[Config]], chosen_by: str | Callable[[Any], str]) -> Any:
    """The type of a field that holds the settings of any entry of a registry, also while there is only one.

    Args:
        configs: the settings' types, by name.
        chosen_by: the field that has the name, or what tells the name of given settings.
    """
    return Annotated[reduce(or_, configs.values()), _Chosen(configs, chosen_by)]


class _Chosen:
    def __init__(self, configs: Mapping[str, type[Config]], chosen_by: str | Callable[[Any], str]) -> None:
        self._configs, self._chosen_by = configs, chosen_by

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(config) for name, config in self._configs.items()}
        return core_schema.tagged_union_schema(choices, discriminator=self._chosen_by)
