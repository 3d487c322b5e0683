"""Several systems on the lists they share: paired differences to one of them, corrected for their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from voxangle.errors import TrialError
from voxangle.metrics import PairedDifference, paired_difference
from voxangle.reporting.verdict import Verdict, adjusted_by_holm, verdict
from voxangle.scoring import Result, compare
from voxangle.scoring.compare import protocol_differences
from voxangle.scoring.trial_scores import with_both_classes

__all__ = ["Comparison", "Difference", "ListComparison", "compare_systems"]


@dataclass(frozen=True)
class Difference:
    """A system minus the baseline on one list.

    Attributes:
        paired: the differences, with intervals over the same draws of speakers.
        adjusted_p: p-value of the EERs' difference after Holm's correction for all systems and lists.
        verdict: who errs less, if that can be said.
    """

    paired: PairedDifference
    adjusted_p: float
    verdict: Verdict


@dataclass(frozen=True)
class ListComparison:
    """The systems on one list.

    Attributes:
        name: of the list.
        results: by system, the baseline first.
        differences: by system, without the baseline.
        conditions: differences on the parts of the list, by condition and by system; what was not tested has no part
            in the correction.
        protocols: entries of the protocol in which a system differs from the baseline, in words.
    """

    name: str
    results: Mapping[str, Result]
    differences: Mapping[str, Difference]
    conditions: Mapping[str, Mapping[str, PairedDifference]]
    protocols: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Systems against a baseline.

    Attributes:
        systems: their names, the baseline first.
        lists: those that all systems have.
        left_out: lists that some system lacks, in words.
        replicates: of the bootstrap.
        seed: of the bootstrap.
    """

    systems: tuple[str, ...]
    lists: tuple[ListComparison, ...]
    left_out: tuple[str, ...]
    replicates: int
    seed: int

    @property
    def baseline(self) -> str:
        """The system that the others are compared with."""
        return self.systems[0]

    @property
    def tests(self) -> int:
        """How many differences were tested."""
        return len(self.lists) * (len(self.systems) - 1)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """What each difference supports, a sentence each."""
        return tuple(
            f"{one.name}: {difference.verdict.text}"
            for one in self.lists
            for difference in one.differences.values()
        )


def compare_systems(
    systems: Mapping[str, Sequence[Result]],
    *,
    baseline: str | None = None,
    across_protocols: bool = False,
    replicates: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare systems with a baseline on every list that all of them have.

    Args:
        systems: results with their scores, by what to call the system.
        baseline: the system that the others are compared with; by default the first.
        across_protocols: allow that protocols differ; it is said which entries do.
        replicates: of the bootstrap.
        seed: of the draws; all comparisons on a list use the same.

    Raises:
        TrialError: there are fewer than two systems, or none called ``baseline``; a system has two results of one list;
            no list is common to all; two lists of one name differ; or the protocols do, or the priors of two lists.
    """
    if len(systems) < 2:
        raise TrialError("a comparison needs two systems or more")
    first = baseline or next(iter(systems))
    if first not in systems:
        raise TrialError(f"no system is called '{first}'; there are {', '.join(systems)}")
    names = (first, *(name for name in systems if name != first))
    by_list = {name: _by_list(name, systems[name]) for name in names}
    common = [one for one in by_list[first] if all(one in has for has in by_list.values())]
    if not common:
        raise TrialError(
            "the systems have no list in common: "
            + "; ".join(f"{name} has {', '.join(has)}" for name, has in by_list.items())
        )
    every = dict.fromkeys(one for has in by_list.values() for one in has)
    left_out = tuple(
        f"The list {one} is left out: {', '.join(name for name in names if one not in by_list[name])} "
        "was not measured on it."
        for one in every
        if one not in common
    )
    results = {one: {name: _renamed(by_list[name][one], name) for name in names} for one in common}
    protocols = {one: _protocols(of_list, across_protocols) for one, of_list in results.items()}
    _require_one_set_of_priors({one: of_list[first] for one, of_list in results.items()})
    paired = {
        (one, name): compare(
            result, of_list[first], across_protocols=across_protocols, replicates=replicates, seed=seed
        )
        for one, of_list in results.items()
        for name, result in of_list.items()
        if name != first
    }
    adjusted = dict(
        zip(paired, adjusted_by_holm([difference.p_value for difference in paired.values()]), strict=True)
    )
    return Comparison(
        systems=names,
        lists=tuple(
            ListComparison(
                name=one,
                results=of_list,
                differences={
                    name: Difference(
                        paired[one, name],
                        float(adjusted[one, name]),
                        verdict(
                            paired[one, name],
                            name,
                            first,
                            adjusted_p=float(adjusted[one, name]),
                            speakers_known=any(
                                of_list[which].require_scores().speakers for which in (name, first)
                            ),
                        ),
                    )
                    for name in names[1:]
                },
                conditions=_by_condition(of_list, replicates, seed),
                protocols=protocols[one],
            )
            for one, of_list in results.items()
        ),
        left_out=left_out,
        replicates=replicates,
        seed=seed,
    )


def _by_list(system: str, results: Sequence[Result]) -> dict[str, Result]:
    names = [result.name for result in results]
    if twice := [name for name in names if names.count(name) > 1]:
        raise TrialError(
            f"{system}: two results of the list '{twice[0]}' lie in one folder; evaluate each into a folder of its own "
            "(--out), so that it is clear which is meant"
        )
    return {result.name: result for result in results}


def _renamed(result: Result, system: str) -> Result:
    return result.model_copy(update={"model": result.model.model_copy(update={"name": system})})


def _protocols(results: Mapping[str, Result], across_protocols: bool) -> tuple[str, ...]:
    """In which entries protocols differ from the baseline's, in words.

    Raises:
        TrialError: they do, and may not; or the lists are not one.
    """
    (first, baseline), *others = results.items()
    differing = []
    for name, result in others:
        if result.trials_sha256 != baseline.trials_sha256:
            raise TrialError(
                f"'{first}' and '{name}' were measured on two lists that are both called '{result.name}' (SHA-256 "
                f"{baseline.trials_sha256[:12]} and {result.trials_sha256[:12]}); measure both on one"
            )
        differing += [
            f"{field.replace('_', ' ')} is '{theirs}' in {name}, '{ours}' in {first}"
            for field, (ours, theirs) in protocol_differences(baseline.protocol, result.protocol).items()
        ]
    if differing and not across_protocols:
        raise TrialError(
            f"{baseline.name}: the protocols differ: {'; '.join(differing)}. Evaluate alike, or compare nevertheless "
            "with --across-protocols"
        )
    return tuple(differing)


def _require_one_set_of_priors(results: Mapping[str, Result]) -> None:
    """One table shows all lists.

    Raises:
        TrialError: minDCF was measured at other priors on one list than on another.
    """
    (one, first), *others = results.items()
    for other, result in others:
        if result.protocol.p_targets != first.protocol.p_targets:
            at = [", ".join(f"{p:g}" for p in each.protocol.p_targets) for each in (first, result)]
            raise TrialError(
                f"minDCF was measured at the priors {at[0]} on '{one}', and {at[1]} on '{other}'; evaluate both lists "
                "at the same (`voxangle evaluate --prior`)"
            )


def _by_condition(
    results: Mapping[str, Result], replicates: int, seed: int
) -> dict[str, dict[str, PairedDifference]]:
    """Differences to the first on parts of the list; parts that no draw of speakers could measure are left out."""
    (_, first), *others = results.items()
    # One list in one order: whichever result knows the speakers or the conditions knows them for all.
    every = [result.require_scores() for result in results.values()]
    known = next((trials for trials in every if trials.speakers), every[0])
    conditions = next((trials.conditions for trials in every if trials.conditions), {})
    parts: dict[str, dict[str, PairedDifference]] = {}
    for condition, mask in conditions.items():
        if not mask.any():
            continue
        part = np.flatnonzero(with_both_classes(mask, known.target)[0])
        try:
            parts[condition] = {
                name: paired_difference(
                    result.require_scores().scores[part],
                    every[0].scores[part],
                    known.target[part],
                    known.enrol_speaker[part],
                    known.test_speaker[part],
                    priors=first.protocol.p_targets,
                    replicates=replicates,
                    seed=seed,
                )
                for name, result in others
            }
        except TrialError:  # no draw of so few speakers held both classes
            continue
    return parts
