"""What toolkits call the EER and minDCF of the same scores, for docs/evaluation.md.

    python -m benchmarks.definitions

Runs the scoring functions of other toolkits' wheels (``make oracles``) on small lists where definitions part: tied
scores in two orders, and scores that are rounded.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_curve

from benchmarks.peers import ORACLES, speechbrain
from voxangle.metrics import SortedScores

Scores = NDArray[np.float64]
Figures = tuple[float, float]  # EER, minDCF at p 0.01
SEED = 0


def _module(path: str) -> ModuleType:
    """One file of a toolkit, without the rest of it."""
    spec = importlib.util.spec_from_file_location(path.replace("/", "_"), ORACLES / f"{path}.py")
    if spec is None or spec.loader is None or not (ORACLES / f"{path}.py").exists():
        raise FileNotFoundError(f"{ORACLES / path}.py: fetch it with `make oracles`")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _nist(path: str) -> Callable[[Scores, Scores], Figures]:
    """WeSpeaker and 3D-Speaker: the script of NIST's SRE 2016, with ``c_norm`` and without merging ties."""
    script: Any = _module(path)

    def figures(scores: Scores, labels: Scores) -> Figures:
        fnr, fpr = script.compute_pmiss_pfa_rbst(scores, labels)
        found = script.compute_eer(fnr, fpr)
        eer = found[0] if isinstance(found, tuple) else found
        return float(eer), float(script.compute_c_norm(fnr, fpr, 0.01))

    return figures


def _speechbrain() -> Callable[[Scores, Scores], Figures]:
    script = speechbrain("utils.metric_stats")

    def figures(scores: Scores, labels: Scores) -> Figures:
        target, other = (torch.tensor(scores[labels == one]) for one in (1, 0))
        return script.EER(target, other)[0], script.minDCF(target, other)[0]

    return figures


def _scikit_learn(scores: Scores, labels: Scores) -> Figures:
    """What many scripts make of ``roc_curve``: the greater rate at the threshold where they are nearest."""
    fpr, tpr, _ = roc_curve(labels, scores)
    fnr = 1 - tpr
    nearest = np.nanargmin(np.abs(fnr - fpr))
    return float(max(fpr[nearest], fnr[nearest])), float(np.min(0.01 * fnr + 0.99 * fpr) / 0.01)


def _ours(scores: Scores, labels: Scores) -> Figures:
    ordered = SortedScores.of(scores[labels == 1], scores[labels == 0])
    return ordered.eer().rate, ordered.min_dcf(p_target=0.01).rate


def lists() -> dict[str, tuple[Scores, Scores]]:
    """Scores and labels by what they are."""
    generator = np.random.default_rng(SEED)
    labels = (np.arange(2000) < 200).astype(float)
    cosines = np.where(labels == 1, generator.normal(0.6, 0.15, 2000), generator.normal(0.2, 0.15, 2000))
    equal = np.full(2000, 0.5)
    return {
        "all scores equal, targets first": (equal, labels),
        "all scores equal, targets last": (equal, labels[::-1]),
        "cosines": (cosines, labels),
        "rounded to 0.1, targets first": (cosines.round(1), labels),
        "rounded to 0.1, targets last": (cosines.round(1)[::-1], labels[::-1]),
    }


def main() -> None:
    """Print the table."""
    toolkits = {
        "voxangle": _ours,
        "WeSpeaker": _nist("wespeaker/utils/score_metrics"),
        "3D-Speaker": _nist("speakerlab/utils/score_metrics"),
        "SpeechBrain": _speechbrain(),
        "scikit-learn script": _scikit_learn,
    }
    table = Table("scores", *toolkits, title="EER in %, minDCF (p 0.01) below it")
    for name, (scores, labels) in lists().items():
        cells = []
        for figures in toolkits.values():
            try:
                eer, cost = figures(scores, labels)
                cells.append(f"{100 * eer:.2f}\n{cost:.4f}")
            except Exception as error:  # what a toolkit does with such scores is the result
                cells.append(f"{type(error).__name__}")
        table.add_row(name, *cells)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
