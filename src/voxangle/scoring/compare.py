"""Two systems on one list."""

from __future__ import annotations

from pathlib import Path

from voxangle.errors import TrialError, VoxangleError
from voxangle.metrics import PairedDifference
from voxangle.metrics.bootstrap import paired_difference
from voxangle.scoring.result import Protocol, Result

__all__ = ["compare", "protocol_differences", "read_evaluation"]


def compare(
    first: Result,
    second: Result,
    *,
    across_protocols: bool = False,
    replicates: int = 1000,
    seed: int = 0,
) -> PairedDifference:
    """The difference of two systems on one list (first minus second), with 95 % intervals over speakers.

    Args:
        first: a result with its scores.
        second: a result with its scores, of the same list.
        across_protocols: allow that the protocols differ, as where the protocol is what is compared.
        replicates: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        TrialError: the results are of two lists, or of two protocols, or one has no scores.
    """
    if first.trials_sha256 != second.trials_sha256:
        raise TrialError(
            f"'{first.model.name}' and '{second.model.name}' were measured on two lists that are both called "
            f"'{first.name}' ({first.trials_sha256[:12]} and {second.trials_sha256[:12]}); measure both on one"
            if first.name == second.name
            else f"'{first.model.name}' was measured on the list '{first.name}', '{second.model.name}' on the list "
            f"'{second.name}'; measure both on one"
        )
    differing = protocol_differences(first.protocol, second.protocol)
    if differing and not across_protocols:
        raise TrialError(
            f"{first.name}: '{first.model.name}' and '{second.model.name}' differ in protocol: "
            + "; ".join(f"{name} is '{one}' and '{other}'" for name, (one, other) in differing.items())
        )
    if first.protocol.p_targets != second.protocol.p_targets:
        raise TrialError(
            f"{first.name}: minDCF was measured at different priors; measure both at the same ones"
        )
    one, other = first.require_scores(), second.require_scores()
    # One checksum is one list in one order. Who speaks may be known to one result alone.
    known = other if other.speakers and not one.speakers else one
    return paired_difference(
        one.scores,
        other.scores,
        one.target,
        known.enrol_speaker,
        known.test_speaker,
        priors=first.protocol.p_targets,
        replicates=replicates,
        seed=seed,
    )


def protocol_differences(first: Protocol, second: Protocol) -> dict[str, tuple[object, object]]:
    """The entries in which two protocols differ; a file of the same utterances' embeddings is no difference."""
    one, other = first.as_compared(), second.as_compared()
    return {
        name: (getattr(one, name), getattr(other, name))
        for name in Protocol.model_fields
        if getattr(one, name) != getattr(other, name)
    }


def read_evaluation(folder: str | Path, *, with_scores: bool = True) -> list[Result]:
    """The results that ``voxangle evaluate`` wrote into a folder, by name of the file.

    Args:
        folder: of the results.
        with_scores: read the scores too, which of a long list are large.

    Raises:
        VoxangleError: the folder has none, or one is broken.
    """
    folder = Path(folder)
    found = sorted(path for path in folder.glob("*.json") if path.with_suffix(".parquet").exists())
    if not found:
        raise VoxangleError(
            f"{folder}: no results with their scores (NAME.json and NAME.parquet), as `voxangle evaluate` writes them"
            if folder.is_dir()
            else f"{folder}: no such folder; give one that `voxangle evaluate` wrote"
        )
    return [Result.read(path, with_scores=with_scores) for path in found]
