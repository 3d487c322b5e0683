"""The result of an evaluation, with everything that is needed to read it or to get it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, ValidationError

from voxangle.config import Config, first_problem
from voxangle.errors import TrialError, VoxangleError
from voxangle.scoring.machine import Machine
from voxangle.scoring.trial_scores import TrialScores
from voxangle.storage import atomic_write

__all__ = [
    "AveragedSplit",
    "Calibrated",
    "Condition",
    "DetectionCost",
    "Figure",
    "FusedScoring",
    "LearntFrom",
    "MeanSubtraction",
    "Measure",
    "Model",
    "PLDAScoring",
    "Protocol",
    "Resampling",
    "Result",
    "ScoreNormalisation",
    "TrialCounts",
]

_Prior = Annotated[float, Field(gt=0, lt=1)]


class AveragedSplit(Config):
    """A split of a corpus whose embeddings were learnt from."""

    corpus: str
    split: str


class LearntFrom(Config):
    """The embeddings that something was learnt from.

    Attributes:
        corpora: the splits whose utterances these are; empty where only a file tells.
        recipe: name of the recipe that trains on these utterances, where it chose, filtered or joined them.
        file: the archive or folder of embeddings, where they are those of one.
        file_sha256: of that archive; or of the folder's ``index.json`` and its parts, one after the other.
        utterances: how many embeddings.
        available: how many there were; more than ``utterances`` where a sample was drawn.
        left_out: utterances of the splits, or of the folder, beside these that have no embedding: unreadable, too
            short, or silent.
        seed: of the sample, ``None`` where all were taken. An utterance's luck depends on its key and this alone.
        utterances_sha256: of the keys of the utterances, sorted, a line each.
    """

    corpora: tuple[AveragedSplit, ...] = ()
    recipe: str = ""
    file: str = ""
    file_sha256: str = ""
    utterances: int = Field(ge=1)
    available: int = Field(ge=1)
    left_out: int = Field(default=0, ge=0)
    seed: int | None = None
    utterances_sha256: str

    @property
    def source(self) -> str:
        """Of what corpus, recipe or file, in words."""
        splits = " + ".join(f"{one.corpus}/{one.split}" for one in self.corpora)
        return (f"recipe {self.recipe}: {splits}" if self.recipe else splits) or self.file

    @property
    def sample(self) -> str:
        """How many embeddings of what, in words."""
        count = f"{self.utterances:,}"
        if self.seed is not None:
            count += f" of {self.available:,} (drawn, seed {self.seed})"
        return f"{count} embeddings of {self.source}"

    def __str__(self) -> str:
        return self.sample

    def as_compared(self) -> Self:
        """Without what differs from system to system: each has its own file of embeddings of the same utterances."""
        if not self.file:
            return self
        return self.model_copy(update={"file": "archive", "file_sha256": "", "left_out": 0})


class MeanSubtraction(LearntFrom):
    """The mean embedding that was subtracted from every embedding; the rule is that of ``cosine_scores``.

    Each embedding that was learnt from has the same weight.

    Attributes:
        rule: what the mean is, and when it is subtracted.
    """

    rule: Literal["mean of full-utterance embeddings, subtracted before unit length"] = (
        "mean of full-utterance embeddings, subtracted before unit length"
    )

    def __str__(self) -> str:
        return f"the mean of {self.sample}"


class PLDAScoring(LearntFrom):
    """Probabilistic linear discriminant analysis; the rule is that of ``voxangle.scoring.PLDA``.

    Attributes:
        rule: what a score is.
        speakers: of the utterances it was learnt from.
        lda: dimensions that linear discriminant analysis left; ``None`` for all.
        whitening: whether the total covariance was made the identity.
        length_normalisation: whether embeddings then had unit length.
        iterations: of expectation-maximisation, fewer than the most where the likelihood stood still.
    """

    rule: Literal["two-covariance PLDA, log-likelihood ratio"] = "two-covariance PLDA, log-likelihood ratio"
    speakers: int = Field(ge=2)
    lda: int | None = None
    whitening: bool = False
    length_normalisation: bool = True
    iterations: int = Field(ge=1)

    def __str__(self) -> str:
        steps = [
            "centred",
            *([f"LDA to {self.lda} dimensions"] if self.lda else []),
            *(["whitened"] if self.whitening else []),
            *(["unit length"] if self.length_normalisation else []),
        ]
        return f"PLDA ({', '.join(steps)}), learnt from {self.sample} by {self.speakers:,} speakers"


class ScoreNormalisation(LearntFrom):
    """How scores were normalised by those of a cohort; the rule is that of ``voxangle.scoring.ScoreNormaliser``.

    Attributes:
        kind: whether each side's statistics are of all the cohort or of the part that is most like it.
        cohort: how many vectors the cohort has.
        unit: what a vector is: an utterance's embedding, or the mean of a speaker's.
        top: how many of the cohort's highest scores count for each side; all for S-norm.
    """

    kind: Literal["s-norm", "as-norm"]
    cohort: int = Field(ge=1)
    unit: Literal["utterance", "speaker"]
    top: int = Field(ge=2)

    def __str__(self) -> str:
        kind = "S-norm" if self.kind == "s-norm" else f"AS-norm, top {self.top:,}"
        each = "utterances" if self.unit == "utterance" else "speaker means"
        return f"{kind} of a cohort of {self.cohort:,} {each}, from {self.sample}"


class FusedScoring(Config):
    """Several systems' scores made one log-likelihood ratio; the rule is that of ``voxangle.scoring.fusion``.

    Attributes:
        rule: what a score is.
        systems: names, in the order of the weights.
        weights: one a system.
        offset: added.
        prior: of a target trial, where the sum was made best.
        trials: how many the weights were learnt from.
        trials_sha256: of that list.
    """

    rule: Literal["weighted sum of scores by logistic regression"] = (
        "weighted sum of scores by logistic regression"
    )
    systems: tuple[str, ...] = Field(min_length=1)
    weights: tuple[float, ...] = Field(min_length=1)
    offset: float
    prior: _Prior
    trials: int
    trials_sha256: str

    def __str__(self) -> str:
        terms = [f"{weight:.4g} {name}" for weight, name in zip(self.weights, self.systems, strict=True)]
        return f"fusion {' + '.join([*terms, f'{self.offset:.4g}'])}, learnt from {self.trials:,} trials"


class Protocol(Config):
    """How trials become scores, and scores figures. Results compare only where their protocols agree.

    Attributes:
        scoring: the rule that turns two embeddings into a score; ``as given`` where another program scored.
        crop: what of an utterance is embedded.
        enrolment: what is compared with a test utterance, as the list has it: ``one utterance``; the ``average`` of
            the embeddings of a model's utterances, before these are brought to unit length; a model's utterances
            ``joint``, as PLDA can take them, each an observation of its own; or one recording that the corpus
            ``concatenated`` from several.
        mean_subtraction: the mean embedding that is subtracted before scoring, if one is; from PLDA's own mean it
            takes the place.
        normalisation: of the scores, by those of a cohort.
        p_targets: prior of a target trial, one for each minDCF.
    """

    scoring: Literal["cosine", "as given"] | PLDAScoring | FusedScoring = "cosine"
    crop: Literal["full utterance", "not known"] = "full utterance"
    enrolment: Literal["one utterance", "average", "joint", "concatenated"] = "one utterance"
    mean_subtraction: Literal["none", "not known"] | MeanSubtraction = "none"
    normalisation: Literal["none", "not known"] | ScoreNormalisation = "none"
    p_targets: tuple[_Prior, ...] = Field(default=(0.01, 0.05), min_length=1)

    @classmethod
    def of_given_scores(cls, enrolment: Literal["one utterance", "average", "concatenated"]) -> Protocol:
        """Of scores that another program made: only the list is known.

        Args:
            enrolment: as the list has it.
        """
        return cls(
            scoring="as given",
            crop="not known",
            enrolment=enrolment,
            mean_subtraction="not known",
            normalisation="not known",
        )

    @property
    def learnt(self) -> str:
        """What was learnt from others for the scores, in words; empty where nothing was."""
        mean = self.mean_subtraction
        said = {
            "scores by {}": self.scoring,
            "less {}": mean,
            "normalised by {}": self.normalisation,
        }
        return "; ".join(words.format(one) for words, one in said.items() if not isinstance(one, str))

    def as_compared(self) -> Protocol:
        """The protocol without what differs from system to system (``LearntFrom.as_compared``)."""
        entries = {name: getattr(self, name) for name in type(self).model_fields}
        return self.model_copy(
            update={name: one.as_compared() for name, one in entries.items() if isinstance(one, LearntFrom)}
        )


class Model(Config):
    """What made the embeddings.

    Attributes:
        name: what to call the system in a table.
        sha256: of its weights, empty where there is no file.
    """

    name: str = "unnamed"
    sha256: str = ""


class TrialCounts(Config):
    """The size of a trial list; ``models`` are enrolments made of several utterances."""

    trials: int
    targets: int
    nontargets: int
    utterances: int
    speakers: int
    models: int = 0


class Figure(Config):
    """A figure, its interval, and what it is."""

    value: float
    low: float
    high: float
    definition: str


class Measure(Figure):
    """A figure with the threshold that gives it; scores >= threshold are accepted."""

    threshold: float


class DetectionCost(Measure):
    """A normalised cost and the application it speaks for."""

    p_target: _Prior
    c_miss: float = 1.0
    c_fa: float = 1.0


class Calibrated(Config):
    """What a list's scores cost where they are believed as log-likelihood ratios.

    Attributes:
        source: what the calibration was fitted on.
        cllr: in bits; 1 where nothing is told.
        min_cllr: in bits, of the best map that keeps the order of the scores; without an interval, for it would be
            fitted anew to each draw.
        act_dcf: normalised costs of deciding by the Bayes threshold, one for each prior of the protocol.
    """

    source: str
    cllr: Figure
    min_cllr: float
    act_dcf: tuple[DetectionCost, ...]


class Condition(Config):
    """Figures of a part of the list.

    Some conditions hold trials of one class alone: two people of one gender and two of different genders are both
    met by non-target trials, but one person has one gender; and a session is one person's. There the part is set
    against all of the list's trials of the class that it lacks, and ``whole`` says so.

    Attributes:
        name: such as ``cross language``.
        targets: target trials measured.
        nontargets: non-target trials measured.
        speakers: in these trials.
        whole: the class that is taken from the whole list, because the condition has no trial of it; else empty.
        eer: equal error rate, in [0, 1]; its interval is [0, 1] where no draw of speakers held both classes.
        min_dcf: normalised minimum costs, one for each prior of the protocol; intervals likewise.
    """

    name: str
    targets: int
    nontargets: int
    speakers: int
    whole: Literal["", "targets", "nontargets"] = ""
    eer: Measure
    min_dcf: tuple[DetectionCost, ...]


class Resampling(Config):
    """How the intervals were made.

    Attributes:
        method: of the interval's ends.
        unit: what is drawn with replacement: speakers, or in a second stage their sessions too.
        level: of the interval.
        speakers_from: where the speakers of the utterances are known from.
        replicates: used.
        discarded: replicates that lacked a class.
        seed: of the draws.
    """

    method: str = "BCa bootstrap"
    unit: str = "speaker"
    level: float = 0.95
    speakers_from: Literal["corpus", "target trials"]
    replicates: int
    discarded: int
    seed: int


class Result(Config):
    """Error rates of one system on one trial list, and the whole protocol.

    Attributes:
        name: of the trial list.
        trials_sha256: of the list's lines ``1 KEY KEY`` / ``0 KEY KEY``, each ended by a newline, and of its models
            (``Trials.sha256``).
        counts: the list's size.
        protocol: how trials became scores, and scores figures.
        eer: equal error rate, in [0, 1].
        min_dcf: normalised minimum costs, one for each prior of the protocol.
        calibrated: what the calibrated scores cost, where there is a calibration.
        conditions: figures of parts of the list, where asked for.
        intervals: how the intervals were made.
        model: what made the embeddings.
        notes: what must be said wherever a figure is shown.
        voxangle: version.
        command: that made the result.
        machine: where it ran.
        date: when, UTC, ISO 8601.
        scores: of the trials, for plots and comparisons; not part of the JSON but a file beside it (``write``),
            ``None`` where that is missing.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str
    trials_sha256: str
    counts: TrialCounts
    protocol: Protocol
    eer: Measure
    min_dcf: tuple[DetectionCost, ...]
    calibrated: Calibrated | None = None
    conditions: tuple[Condition, ...] = ()
    intervals: Resampling
    model: Model
    notes: tuple[str, ...]
    voxangle: str
    command: str
    machine: Machine
    date: str
    scores: TrialScores | None = Field(default=None, exclude=True, repr=False)

    def require_scores(self) -> TrialScores:
        """The scores, where they are needed.

        Raises:
            TrialError: the result was read without them.
        """
        if self.scores is None:
            raise TrialError(
                f"{self.name}: the result of '{self.model.name}' was read without its scores (the .parquet beside it); "
                "evaluate again"
            )
        return self.scores

    def write(self, path: str | Path) -> None:
        """Write the result as JSON and its scores beside it (``TrialScores.write``), each atomically."""
        path = Path(path)
        if self.scores is not None:
            self.scores.write(path.with_suffix(".parquet"))
        with atomic_write(path) as temporary:
            temporary.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path, *, with_scores: bool = True) -> Result:
        """Read a result that ``write`` wrote.

        Args:
            path: of the JSON.
            with_scores: read the scores too, where they lie beside it.

        Raises:
            VoxangleError: the file is missing or not such a result, or the scores are those of another list.
        """
        path = Path(path)
        scores_path = path.with_suffix(".parquet")
        try:
            result = cls.model_validate_json(path.read_bytes())
            scores = TrialScores.read(scores_path) if with_scores and scores_path.exists() else None
            if scores is not None and (scores.trials_sha256, len(scores)) != (
                result.trials_sha256,
                result.counts.trials,
            ):
                raise VoxangleError(
                    f"{scores_path}: holds the scores of another list than {path.name} speaks of; evaluate again"
                )
            return result.model_copy(update={"scores": scores})
        except FileNotFoundError as error:
            raise VoxangleError(f"{path}: no such result") from error
        except ValidationError as error:
            raise VoxangleError(
                f"{path}: not a voxangle result: {first_problem(error, 'the file')}"
            ) from error
