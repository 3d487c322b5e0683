"""The definitions of the features there are: adding one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from voxangle.features.base import BaseFilterbank, BaseFilterbankConfig
from voxangle.features.filterbank import Filterbank, FilterbankConfig
from voxangle.features.redimnet import ReDimNetFilterbank, ReDimNetFilterbankConfig
from voxangle.features.speechbrain import SpeechBrainFilterbank, SpeechBrainFilterbankConfig

__all__ = ["FILTERBANKS", "AnyFilterbankConfig", "Definition", "build_filterbank"]


class Definition(NamedTuple):
    """A definition's settings, and the module they build."""

    config: type[BaseFilterbankConfig]
    module: Callable[[Any], BaseFilterbank]


FILTERBANKS: dict[str, Definition] = {
    "kaldi": Definition(FilterbankConfig, Filterbank),
    "speechbrain": Definition(SpeechBrainFilterbankConfig, SpeechBrainFilterbank),
    "redimnet": Definition(ReDimNetFilterbankConfig, ReDimNetFilterbank),
}


def build_filterbank(config: BaseFilterbankConfig) -> BaseFilterbank:
    """The filterbank that ``config`` describes."""
    return FILTERBANKS[config.definition].module(config)


class _ByDefinition:
    """Lets ``definition`` choose among the configs of the registry; Kaldi's is meant where there is none."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(entry.config) for name, entry in FILTERBANKS.items()}
        return core_schema.tagged_union_schema(choices, discriminator=_definition)


def _definition(given: Any) -> str:
    if isinstance(given, Mapping):
        return str(given.get("definition", "kaldi"))
    return str(getattr(given, "definition", "kaldi"))


if TYPE_CHECKING:
    AnyFilterbankConfig = BaseFilterbankConfig
else:
    # The type of a field that holds the settings of any filterbank: the union of the registry's.
    AnyFilterbankConfig = Annotated[
        reduce(or_, (entry.config for entry in FILTERBANKS.values())), _ByDefinition()
    ]
