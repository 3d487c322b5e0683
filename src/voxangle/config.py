"""The base of every typed config: frozen, and closed to keys it does not know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

__all__ = ["Config", "first_problem", "one_of"]


class Config(BaseModel):
    """Frozen settings of one room; an unknown key is an error (``voxangle.recipe`` names the nearest one)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def first_problem(error: ValidationError, whole: str = "") -> str:
    """Where the first thing is that is wrong with given settings, and what, as ``where: what``.

    Args:
        error: what pydantic found.
        whole: what to call the place where it is no single entry.
    """
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or whole}: {first['msg']}"


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
