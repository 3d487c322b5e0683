"""Other toolkits' encoders, from wheels that ``make oracles peers`` fetches; nothing of them is in this repository."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

__all__ = ["ORACLES", "PEERS", "resemblyzer", "speechbrain", "speechbrain_ecapa"]

ORACLES = Path(__file__).parents[1] / ".oracles"
PEERS = Path(__file__).parents[1] / ".peers"


def resemblyzer() -> Any:
    """Resemblyzer, which has its weights in its wheel.

    Raises:
        FileNotFoundError: its wheel has not been fetched.
    """
    _demand_fetched(PEERS, "resemblyzer")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its libraries', of one another
        return importlib.import_module("resemblyzer")


def speechbrain(module: str) -> Any:
    """A module of SpeechBrain, such as ``utils.metric_stats``.

    Raises:
        FileNotFoundError: its wheel has not been fetched.
    """
    _demand_fetched(ORACLES, "speechbrain")
    # SpeechBrain imports torchaudio, which no longer works with this torch; what is measured here makes no use of it.
    for name in (
        "torchaudio",
        "torchaudio.transforms",
        "torchaudio.functional",
        "hyperpyyaml",
        "sentencepiece",
    ):
        sys.modules.setdefault(name, _Absent(name))
    return importlib.import_module(f"speechbrain.{module}")


def speechbrain_ecapa(channels: int) -> nn.Module:
    """SpeechBrain's ECAPA-TDNN for 80 bins, with random weights: (B, F, 80) to (B, 1, 192).

    Raises:
        FileNotFoundError: its wheel has not been fetched.
    """
    found = speechbrain("lobes.models.ECAPA_TDNN")
    encoder: nn.Module = found.ECAPA_TDNN(80, channels=[channels] * 4 + [3 * channels], lin_neurons=192)
    return encoder


def _demand_fetched(folder: Path, package: str) -> None:
    """Let a package of the folder be imported."""
    if not (folder / package).exists():
        raise FileNotFoundError(f"{folder / package}: fetch it with `make {folder.name[1:]}`")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


class _Absent(ModuleType):
    """A module that is not there, of which anything may be asked."""

    __version__ = "2.9.0"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(f"{self.__name__}.{name}")

    def __call__(self, *_: Any, **__: Any) -> list[str]:
        return ["none"]
