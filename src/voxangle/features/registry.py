"""The definitions of the features there are: adding one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from voxangle.config import one_of
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


def _definition(given: Any) -> str:
    """The definition's name in given settings; Kaldi's is meant where there is none."""
    if isinstance(given, Mapping):
        return str(given.get("definition", "kaldi"))
    return str(getattr(given, "definition", "kaldi"))


if TYPE_CHECKING:
    AnyFilterbankConfig = BaseFilterbankConfig
else:
    # The type of a field that holds the settings of any filterbank: the union of the registry's.
    AnyFilterbankConfig = one_of({name: entry.config for name, entry in FILTERBANKS.items()}, _definition)
