"""What ``voxangle evaluate`` learns before it scores: a mean, PLDA, a cohort."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console

    from voxangle.cli.tested import Tested
    from voxangle.runtime import BaseEmbedder
    from voxangle.scoring import PLDA, MeanEmbedding, ScoreNormaliser
    from voxangle.scoring.embedding_set import EmbeddingSet

__all__ = ["Lessons"]


@dataclass
class Lessons:
    """What can be learnt with one model for some trial lists, never from who is tested in them.

    A source is a split of the corpus tested, a recipe (what it trains on), or what ``voxangle embed`` wrote. One that
    several things are learnt from is embedded once.

    Attributes:
        embedder: the model.
        tested: the lists.
        console: for progress.
    """

    embedder: BaseEmbedder
    tested: Tested
    console: Console
    _speaker_of: dict[str, str] | None = field(init=False)
    _sets: dict[tuple[str, int | None], EmbeddingSet] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._speaker_of = self.tested.speaker_of()

    def mean(self, source: str, utterances: int | None) -> MeanEmbedding:
        """The mean to subtract.

        Raises:
            TrialError: as all of these, the source is none, or knows who is tested.
        """
        from voxangle.scoring import MeanEmbedding

        what = "the mean to subtract"
        if not self._is_stored(source):
            return MeanEmbedding.of(self._set(source, utterances, "--subtract-mean", what))
        mean = MeanEmbedding.read(
            source,
            utterances=utterances,
            speaker_of=self._speaker_of,
            weights_sha256=self.embedder.weights_sha256,
        )
        self._require_unseen(mean.keys, mean.speakers, what)
        return mean

    def plda(
        self,
        source: str,
        utterances: int | None,
        *,
        lda: int | None,
        whitening: bool,
        enrolment: Literal["average", "joint"],
    ) -> PLDA:
        """PLDA, learnt from speech whose speakers are known, or read from a ``.plda`` file."""
        from voxangle.scoring import PLDA

        if source.endswith(".plda"):
            plda = PLDA.read(source, enrolment=enrolment, weights_sha256=self.embedder.weights_sha256)
            self._require_unseen(plda.keys, plda.speakers, "PLDA")
            return plda
        learnt_from = self._set(source, utterances, "--plda", "PLDA")
        return PLDA.fit(learnt_from, lda=lda, whitening=whitening, enrolment=enrolment)

    def normaliser(
        self,
        kind: Literal["s-norm", "as-norm"],
        source: str,
        utterances: int | None,
        *,
        by: Literal["utterance", "speaker"],
        top: int,
    ) -> ScoreNormaliser:
        """S-norm or AS-norm by a cohort of utterances, or of speakers' means."""
        from voxangle.scoring import Cohort, ScoreNormaliser

        cohort = Cohort.of(self._set(source, utterances, "--cohort", "the cohort"), by=by)
        return ScoreNormaliser(cohort, top if kind == "as-norm" else None)

    def _is_stored(self, source: str) -> bool:
        is_split = self.tested.corpus is not None and source in self.tested.corpus.splits
        return not is_split and (source.endswith(".npz") or Path(source).is_dir())

    def _set(self, source: str, utterances: int | None, option: str, what: str) -> EmbeddingSet:
        from voxangle.scoring.embedding_set import EmbeddingSet

        if (found := self._sets.get((source, utterances))) is not None:
            return found
        if self._is_stored(source):
            learnt_from = EmbeddingSet.read(
                source,
                utterances=utterances,
                speaker_of=self._speaker_of,
                weights_sha256=self.embedder.weights_sha256,
            )
            self._require_unseen(learnt_from.keys, learnt_from.known_speakers, what)
        else:
            learnt_from = self._embedded(source, utterances, option, what)
        self._sets[source, utterances] = learnt_from
        return learnt_from

    def _embedded(self, source: str, utterances: int | None, option: str, what: str) -> EmbeddingSet:
        from voxangle.console import counting
        from voxangle.corpora.prepared import prepare_split, split_of
        from voxangle.data.batches import LabelledRecordings
        from voxangle.errors import TrialError
        from voxangle.recipe import Recipe
        from voxangle.scoring import AveragedSplit
        from voxangle.scoring.system import embed_to_learn
        from voxangle.training.material import divide, read_corpora

        recipe = Recipe.read(source) if source.endswith((".yaml", ".yml")) else None
        if recipe:
            corpora = read_corpora(recipe.data)
        elif self.tested.corpus:
            corpora = [(self.tested.corpus, source)]
            manifest = split_of(self.tested.corpus, source)
            # Before it is prepared, which may take hours.
            self._require_unseen(manifest.table["utterance"].to_pylist(), manifest.speakers(), what)
        else:
            raise TrialError(
                f"{option} {source}: a split is one of a --corpus; beside --trials alone give the .yaml of a recipe, "
                "or the .npz or the folder that `voxangle embed` wrote"
            )
        prepared = []
        for corpus, split in corpora:
            with counting(self.console, f"preparing {corpus.name}/{split}") as on_progress:
                prepared.append(prepare_split(corpus, split, on_progress=on_progress))
        recordings: LabelledRecordings = divide(prepared, recipe.data).training if recipe else prepared[0]
        manifest = recordings.manifest
        self._require_unseen(manifest.table["utterance"].to_pylist(), manifest.speakers(), what)
        with counting(self.console, f"embedding for {what}") as on_progress:
            return embed_to_learn(
                self.embedder,
                recordings,
                [AveragedSplit(corpus=corpus.name, split=split) for corpus, split in corpora],
                recipe=recipe.name if recipe else "",
                unreadable=sum(len(one.left_out) for one in prepared),
                utterances=utterances,
                on_progress=on_progress,
            )

    def _require_unseen(
        self,
        keys: list[str] | tuple[str, ...] | frozenset[str],
        speakers: list[str] | frozenset[str],
        what: str,
    ) -> None:
        from voxangle.scoring.unseen import require_unseen

        for trials in self.tested.lists:
            require_unseen(trials, self._speaker_of, keys=keys, learnt_speakers=speakers, what=what)
