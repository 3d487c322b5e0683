"""The toolkits' own code, read from ``.oracles``, with random weights that are as hard to get right as trained ones."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

ORACLES = Path(__file__).resolve().parents[3] / ".oracles"
TOOLKITS = ("speechbrain", "wespeaker", "speakerlab")
# What their modules import, but the encoders never call.
ABSENT = ("torchaudio", "thop", "hyperpyyaml", "joblib", "sentencepiece", "requests", "huggingface_hub")

# What a residual branch ends with. In a trained network it adds little; of random ones that add as much as they are
# given, a hundred behind each other make large what float32 rounds.
_ADDED = re.compile(r"(layer\d\.\d+|conv_block)\.(bn2|bn3)\.weight")

Load = Callable[[str], types.ModuleType]
Scrambled = Callable[[nn.Module, int], nn.Module]


class _Absent(types.ModuleType):
    """A module, class or function that is not there: it can be imported, subclassed and passed on, no more."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the toolkits' modules without running their packages' ``__init__``, and nothing of what is absent."""

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        root = name.partition(".")[0]
        if root in ABSENT:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        if root not in TOOLKITS:
            return None
        place = ORACLES.joinpath(*name.split("."))
        if place.is_dir():
            spec = importlib.machinery.ModuleSpec(name, self, is_package=True)
            spec.submodule_search_locations = [str(place)]
            return spec
        return importlib.util.spec_from_file_location(name, place.with_suffix(".py"))

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return _Absent(spec.name) if spec.name.partition(".")[0] in ABSENT else None

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@pytest.fixture(scope="session")
def load() -> Load:
    """Imports one module of a toolkit; the test skips where ``make oracles`` has not been run."""

    def imported(name: str) -> types.ModuleType:
        if not (ORACLES / name.partition(".")[0]).is_dir():
            pytest.skip("the other toolkits' code is not here: make oracles")
        finder, before = _Finder(), set(sys.modules)
        hidden = {
            module: sys.modules.pop(module) for module in list(sys.modules) if module.split(".")[0] in ABSENT
        }
        sys.meta_path.insert(0, finder)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return importlib.import_module(name)
        finally:
            sys.meta_path.remove(finder)
            for module in set(sys.modules) - before:
                if module.partition(".")[0] in (*TOOLKITS, *ABSENT):
                    del sys.modules[module]
            sys.modules.update(hidden)

    return imported


@pytest.fixture(scope="session")
def scrambled() -> Scrambled:
    """Gives a module random weights, and running statistics near what its layers really put out."""

    @torch.no_grad()
    def scramble(module: nn.Module, bins: int) -> nn.Module:
        torch.manual_seed(0)
        for name, parameter in module.named_parameters():
            if parameter.ndim == 1 or name.endswith(".w") or "inputs_weights" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
            if _ADDED.search(name):
                parameter.mul_(0.2)
        norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.momentum = None  # the plain mean over what it sees
        module.train()
        # Recordings that differ by bin and by time, so that a norm of embeddings has some variance to divide by.
        module(torch.randn(8, 150, bins) * torch.randn(8, 1, bins).exp() * torch.randn(8, 150, 1).exp())
        for norm in norms:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.add_(0.1 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt())
            norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.8, 1.25))
        return module.eval()

    return scramble
