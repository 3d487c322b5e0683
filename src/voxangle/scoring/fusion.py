r"""Several systems' scores made one log-likelihood ratio.

A weighted sum :math:`\ell = \sum_k w_k s_k + b`, by the logistic regression of ``voxangle.metrics.fit_linear`` on
trials of other people than those it is used on (Pigeon, Druyts and Verlinde, "Applying logistic regression to the
fusion of the NIST'99 1-speaker submissions", Digital Signal Processing 10, 2000; Bruemmer et al., "Fusion of
heterogeneous speaker recognition systems in the STBU submission for the NIST speaker recognition evaluation 2006", IEEE
TASLP 15, 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from voxangle.config import Config, first_problem
from voxangle.errors import TrialError
from voxangle.metrics.calibration import LinearCalibration, fit_linear
from voxangle.scoring.result import FusedScoring
from voxangle.scoring.trial_scores import TrialScores
from voxangle.scoring.unseen import tested_among
from voxangle.storage import atomic_write

__all__ = ["Fusion", "fit_fusion"]


class Fusion(Config):
    """Weights of systems, and whom they were learnt from.

    Attributes:
        scoring: systems, weights and the list, for the protocol of what is fused.
        speakers: in the trials that were learnt from, sorted; empty where only target trials told who is who.
        keys: of these trials, sorted.
    """

    scoring: FusedScoring
    speakers: tuple[str, ...]
    keys: tuple[str, ...]

    def apply(self, systems: Sequence[TrialScores]) -> TrialScores:
        """The scores of the systems made one.

        Args:
            systems: of one list, in the order of ``scoring.systems``.

        Returns:
            The list with ``llrs``, natural log-likelihood ratios, which are its ``scores`` too.

        Raises:
            TrialError: there are more or fewer systems, they are of different lists, a score is not finite, or the
                weights were learnt from a speaker, or an utterance, of the list.
        """
        names, weights = self.scoring.systems, self.scoring.weights
        if len(systems) != len(weights):
            raise TrialError(
                f"{len(systems)} systems, but the fusion is of {len(weights)} ({', '.join(names)}); give these, in "
                "that order"
            )
        columns = _columns(systems, names)
        known = _best_known(systems)
        self._require_unseen(known)
        llrs = LinearCalibration(np.array(weights), self.scoring.offset).llrs(columns).astype(np.float32)
        return replace(known, scores=llrs, llrs=llrs)

    def write(self, path: str | Path) -> None:
        """Write it as JSON, atomically."""
        with atomic_write(path) as temporary:
            temporary.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Fusion:
        """Read what ``write`` wrote.

        Raises:
            TrialError: the file is missing, or none of these.
        """
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except FileNotFoundError as error:
            raise TrialError(f"{path}: there is no such file") from error
        except ValidationError as error:
            raise TrialError(
                f"{path}: not a fusion of voxangle: {first_problem(error, 'the file')}"
            ) from error

    def _require_unseen(self, tested: TrialScores) -> None:
        found = (
            ("speakers", sorted(set(_speakers(tested)).intersection(self.speakers)), _speakers(tested)),
            ("utterances and models", sorted(tested_among(tested.keys, self.keys)), tested.keys),
        )
        for what, seen, every in found:
            if seen:
                raise TrialError(
                    f"{len(seen):,} of the {len(every):,} {what} of these trials, such as '{seen[0]}', are also among "
                    "those that the fusion was learnt from, and nothing may be learnt from who is tested; learn it "
                    "from trials of others"
                )


def fit_fusion(
    systems: Sequence[TrialScores], *, names: Sequence[str] | None = None, prior: float = 0.5
) -> Fusion:
    """Learn the weights of systems from trials that are not those they will be judged on.

    Args:
        systems: of one list, whose speakers shall be nobody who is tested later.
        names: of the systems, for the errors and the protocol.
        prior: of a target trial, in (0, 1): where the sum shall be best.

    Raises:
        TrialError: there is no system, the systems are of different lists, a class has too few trials, a score is not
            finite, or two systems say the same.
    """
    if not systems:
        raise TrialError("a fusion needs systems, and there is none")
    names = tuple(names or (f"system {k + 1}" for k in range(len(systems))))
    if len(names) != len(systems):
        raise ValueError(f"{len(systems)} systems, but {len(names)} names")
    columns, known = _columns(systems, names), _best_known(systems)
    fit = fit_linear(columns, known.target, prior=prior, names=names)
    return Fusion(
        scoring=FusedScoring(
            systems=names,
            weights=tuple(fit.weights.tolist()),
            offset=fit.offset,
            prior=prior,
            trials=len(known),
            trials_sha256=known.trials_sha256,
        ),
        speakers=tuple(sorted(_speakers(known))),
        keys=tuple(sorted(known.keys)),
    )


def _columns(systems: Sequence[TrialScores], names: Sequence[str]) -> NDArray[np.float64]:
    """The systems' scores, shape (systems, trials)."""
    first = systems[0]
    for name, other in zip(names, systems, strict=True):
        if len(other) != len(first) or not _same_trials(first, other):
            raise TrialError(
                f"'{names[0]}' and '{name}' are scores of two lists ({len(first):,} and {len(other):,} trials); "
                "evaluate both on one"
            )
        finite = np.isfinite(other.scores)
        if not finite.all():
            place = int(finite.argmin())
            raise TrialError(
                f"'{name}': the score of trial {place + 1} ('{other.keys[other.enrol[place]]}' and "
                f"'{other.keys[other.test[place]]}') is {other.scores[place]}; evaluate again"
            )
    return np.stack([one.scores.astype(np.float64) for one in systems])


def _same_trials(first: TrialScores, other: TrialScores) -> bool:
    if first.trials_sha256 and other.trials_sha256:
        return first.trials_sha256 == other.trials_sha256
    return np.array_equal(first.target, other.target) and all(
        np.array_equal(np.array(first.keys)[one], np.array(other.keys)[two])
        for one, two in ((first.enrol, other.enrol), (first.test, other.test))
    )


def _best_known(systems: Sequence[TrialScores]) -> TrialScores:
    """The first whose speakers have names, for one list may be known better to one system than to another."""
    return next((one for one in systems if one.speakers), systems[0])


def _speakers(scores: TrialScores) -> tuple[str, ...]:
    """Those that stand in the trials."""
    if not scores.speakers:
        return ()
    there = np.unique(np.concatenate([scores.enrol_speaker, scores.test_speaker]))
    return tuple(scores.speakers[number] for number in there.tolist())
