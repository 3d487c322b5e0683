"""Trial lists made from any manifest by stated rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow.compute as pc
from pydantic import Field, ValidationError, model_validator

from voxangle import __version__
from voxangle.config import Config
from voxangle.data.manifest import Manifest
from voxangle.data.pair_sets import PairSet
from voxangle.data.trials import Trials
from voxangle.errors import TrialError, nearest
from voxangle.storage import atomic_write

__all__ = ["GeneratedTrials", "TrialListRecord", "TrialRules", "generate_trials"]

Attribute = Literal["gender", "language", "session", "channel"]
Numbers = np.ndarray[Any, np.dtype[np.int64]]

_MOST = 100_000_000


class TrialRules(Config):
    """Which pairs of utterances a list may have, and how many of them.

    Attributes:
        targets: how many target trials; all there are where None.
        nontargets: how many non-target trials; all there are where None.
        same: what both sides of a trial have in common.
        different: what both sides differ in, such as the session.
        per_speaker: at most so many target trials of a speaker, and so many non-target trials with her on either
            side; without it, a speaker with many recordings has the more trials.
        seed: of the draw.
    """

    targets: int | None = Field(default=None, ge=1)
    nontargets: int | None = Field(default=None, ge=1)
    same: tuple[Attribute, ...] = ()
    different: tuple[Attribute, ...] = ()
    per_speaker: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _each_named_once(self) -> TrialRules:
        named = self.same + self.different
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"'{twice[0]}' is named twice in same and different")
        return self

    @classmethod
    def check(cls, **rules: Any) -> TrialRules:
        """Rules from what a person typed.

        Raises:
            TrialError: a rule is none, or contradicts another.
        """
        try:
            return cls(**rules)
        except ValidationError as error:
            problem = error.errors()[0]
            where = str(problem["loc"][0]) if problem["loc"] else "same and different"
            if problem["type"] == "literal_error":
                known = nearest(str(problem["input"]), get_args(Attribute))
                raise TrialError(
                    f"--{where} {problem['input']}: the manifest says no such thing{known}"
                ) from error
            message = problem["msg"].removeprefix("Value error, ")
            raise TrialError(f"the rules of the list, {where.replace('_', '-')}: {message}") from error


class TrialListRecord(Config):
    """How a list was made, in plain data.

    Attributes:
        name: of the list.
        rules: it was made by.
        admitted_targets: target pairs that the rules admit, before numbers and caps.
        admitted_nontargets: non-target pairs likewise.
        targets: target trials of the list.
        nontargets: non-target trials of the list.
        utterances: of the list.
        speakers: of the list.
        left_out: utterances of the manifest of which something is unknown that the rules ask for.
        trials_sha256: of the list.
        voxangle: version.
    """

    name: str
    rules: TrialRules
    admitted_targets: int
    admitted_nontargets: int
    targets: int
    nontargets: int
    utterances: int
    speakers: int
    left_out: int
    trials_sha256: str
    voxangle: str


@dataclass(frozen=True)
class GeneratedTrials:
    """A list and the record of its making."""

    trials: Trials
    record: TrialListRecord

    def write(self, path: str | Path) -> None:
        """Write the list, and the record as JSON beside it, each atomically."""
        self.trials.write(path)
        with atomic_write(Path(path).with_suffix(".json")) as temporary:
            temporary.write_text(self.record.model_dump_json(indent=2) + "\n", encoding="utf-8")


def generate_trials(manifest: Manifest, name: str, rules: TrialRules | None = None) -> GeneratedTrials:
    """A trial list from a manifest.

    Pairs are drawn evenly from those that the rules admit, each at most once, whatever the order of the manifest's
    rows; the key that sorts first is enrolled. An utterance of which the manifest leaves something empty that the
    rules ask for is in no trial. Memory grows with utterances and trials, not with pairs.

    Args:
        manifest: the utterances to pair.
        name: what to call the list.
        rules: by default all pairs.

    Raises:
        TrialError: there are not so many pairs (the message says how many there are), or too many to list them all.
    """
    rules = rules or TrialRules()
    table = manifest.table.take(pc.sort_indices(manifest.table, sort_keys=[("utterance", "ascending")]))
    column: dict[str, Numbers] = {}
    known = np.ones(len(table), dtype=bool)
    unknown: dict[str, str] = {}
    for attribute in ("speaker", *rules.same, *rules.different):
        values = table[attribute].combine_chunks().dictionary_encode()
        column[attribute] = values.indices.to_numpy().astype(np.int64)
        if attribute != "speaker":
            told = pc.not_equal(table[attribute], "").combine_chunks().to_numpy(zero_copy_only=False)
            known &= told
            if not told.all():
                unknown[attribute] = f"{np.sum(~told):,} of {len(table):,}"
    rows = np.flatnonzero(known)
    draw = _Draw(name, rules, rows, column, unknown, np.random.default_rng(rules.seed))
    targets, admitted_targets = draw.of_class("target", rules.targets)
    nontargets, admitted_nontargets = draw.of_class("non-target", rules.nontargets)

    pairs = np.concatenate([targets, nontargets])
    order = np.argsort(pairs)
    enrol, test = np.divmod(pairs[order], len(table))
    used, sides = np.unique(np.concatenate([enrol, test]), return_inverse=True)
    keys = table["utterance"].take(used).to_pylist()
    enrol, test = sides.reshape(2, -1)
    trials = Trials.numbered(name, keys, enrol, test, order < len(targets))
    return GeneratedTrials(
        trials,
        TrialListRecord(
            name=name,
            rules=rules,
            admitted_targets=admitted_targets,
            admitted_nontargets=admitted_nontargets,
            targets=len(targets),
            nontargets=len(nontargets),
            utterances=len(used),
            speakers=np.unique(column["speaker"][used]).size,
            left_out=len(table) - len(rows),
            trials_sha256=trials.sha256(),
            voxangle=__version__,
        ),
    )


@dataclass(frozen=True)
class _Draw:
    name: str
    rules: TrialRules
    rows: Numbers
    column: dict[str, Numbers]
    unknown: dict[str, str]
    generator: np.random.Generator

    def of_class(self, what: Literal["target", "non-target"], wanted: int | None) -> tuple[Numbers, int]:
        """The trials of a class, and how many pairs the rules admit."""
        admitted = len(self._pair_set(what, self.rows))
        if admitted < (wanted or 1):
            asked = f"{wanted:,} {what} trials are" if wanted else f"{what} trials are"
            unknown = [f"the {name} is unknown for {count}" for name, count in self.unknown.items()]
            if unknown and not len(self.rows):
                found = f"{' and '.join(unknown)} utterances"
            else:
                beside = f" ({', '.join(unknown)})" if unknown else ""
                found = f"the {len(self.rows):,} utterances{beside} have {admitted:,} such pairs{self._by_rules()}"
            raise TrialError(f"{self.name}: {asked} asked for, but {found}; {self._cure()}")
        cap = self.rules.per_speaker
        if cap is None and (wanted or admitted) > _MOST:
            raise TrialError(
                f"{self.name}: there are {admitted:,} {what} pairs, too many to list them all; ask for a number of "
                f"up to {_MOST:,}, or for a cap per speaker"
            )
        if cap is None:
            return self._pair_set(what, self.rows).sample(wanted or admitted, self.generator), admitted
        chosen = self._capped(what, wanted or admitted, cap)
        if wanted and chosen.size < wanted:
            raise TrialError(
                f"{self.name}: {wanted:,} {what} trials are asked for, but with at most {cap:,} a speaker there was "
                f"room for {chosen.size:,} of the {admitted:,} such pairs{self._by_rules()}; raise the cap, or ask "
                "for fewer"
            )
        return chosen, admitted

    def _capped(self, what: Literal["target", "non-target"], wanted: int, cap: int) -> Numbers:
        speaker = self.column["speaker"]
        left = np.full(int(speaker.max()) + 1, cap)
        chosen = np.empty(0, np.int64)
        while chosen.size < wanted:
            # Who has her number of trials stands aside, that the draws go to the others.
            pairs = self._pair_set(what, self.rows[left[speaker[self.rows]] > 0])
            room = min(wanted - chosen.size, int(left.sum()))
            more = pairs.sample_capped(room, speaker, left, self.generator, without=chosen)
            chosen = np.concatenate([chosen, more])
            if pairs.few or not more.size:
                break
        return chosen

    def _pair_set(self, what: Literal["target", "non-target"], rows: Numbers) -> PairSet:
        alike = [self.column[name] for name in self.rules.same]
        apart = [self.column[name] for name in self.rules.different]
        (alike if what == "target" else apart).append(self.column["speaker"])
        return PairSet(rows, len(self.column["speaker"]), alike, apart)

    def _cure(self) -> str:
        if not self.unknown:
            return "ask for fewer, or relax the rules"
        rules = ", ".join(
            f"--{'same' if name in self.rules.same else 'different'} {name}" for name in self.unknown
        )
        columns = " and ".join(f"'{name}'" for name in self.unknown)
        fewer = "ask for fewer, or " if len(self.rows) else ""
        return (
            f"{fewer}write the utterances as a table with {columns} among its columns (the corpus 'table' reads "
            f"it), or leave out {rules}"
        )

    def _by_rules(self) -> str:
        rules = [f"same {name}" for name in self.rules.same]
        rules += [f"different {name}" for name in self.rules.different]
        return f" ({', '.join(rules)})" if rules else ""
