"""What ``voxangle evaluate`` is to test on: trial lists, and the recordings they name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console

    from voxangle.audio import Waveform
    from voxangle.corpora.corpus import Corpus
    from voxangle.data import Manifest, Trials
    from voxangle.data.batches import LabelledRecordings
    from voxangle.reporting.players import Clips
    from voxangle.runtime import BaseEmbedder
    from voxangle.runtime.card import Card
    from voxangle.scoring import Result

__all__ = ["Embedded", "Tested", "embed_tested", "lists_of_corpus", "lists_of_files"]


@dataclass(frozen=True)
class Tested:
    """Trial lists whose keys are utterances of a corpus, or paths below ``root`` where there is none.

    A corpus lies at ``root``, and recipes call it by ``reader``.
    """

    lists: list[Trials]
    corpus: Corpus | None = None
    root: Path = Path()
    reader: str = ""
    incomplete: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What must be said of every figure."""
        return [*(self.corpus.notes if self.corpus else ()), *self.incomplete]

    def with_own_notes(self, result: Result) -> Result:
        """The result with what must be said of its list alone."""
        note = self.corpus.list_notes.get(result.name) if self.corpus else None
        return result.model_copy(update={"notes": (note, *result.notes)}) if note else result

    def without(self, unusable: dict[str, str]) -> Tested:
        """The lists whose recordings can all be used: a list is measured on whole, or not at all.

        Args:
            unusable: the cause, by key.

        Raises:
            TrialError: none of the lists is left.
        """
        from voxangle.errors import TrialError

        whole, incomplete = [], []
        for trials in self.lists:
            missing = [key for key in trials.utterances if key in unusable]
            if missing:
                incomplete.append(
                    f"the list {trials.name} is left out, because {len(missing)} of the recordings it names cannot "
                    f"be used, such as {missing[0]}: {unusable[missing[0]]}"
                )
            else:
                whole.append(trials)
        if not whole:
            raise TrialError("\n".join(incomplete) + "\nMend these recordings, or draw lists without them")
        return replace(self, lists=whole, incomplete=tuple(incomplete))

    def splits_named(self) -> list[str]:
        """The splits of the corpus that have utterances of the lists."""
        named = {key for trials in self.lists for key in trials.utterances}
        splits = {} if self.corpus is None else self.corpus.splits
        return [
            name
            for name, manifest in splits.items()
            if not named.isdisjoint(manifest.table["utterance"].to_pylist())
        ]

    def manifest(self) -> Manifest | None:
        """What the corpus says of these splits, unmeasured."""
        from voxangle.data import Manifest

        if self.corpus is None:
            return None
        return Manifest.joined([self.corpus.splits[name] for name in self.splits_named()])

    def trained_on(self, card: Card) -> list[str]:
        """What must be said where a model was trained on speakers of the lists, as far as its card tells."""
        from voxangle.encoders.card import ModelCard
        from voxangle.errors import CorpusError
        from voxangle.training.held_out import trained_on

        if self.corpus is None or not isinstance(card, ModelCard):
            return []
        seen: set[str] = set()
        for split in self.splits_named():
            try:
                seen |= trained_on(card, self.reader, self.corpus, split, self.root)
            except CorpusError:
                return [
                    "The model was trained on this corpus, and its card does not say on which of the speakers."
                ]
        known = self.speaker_of() or {}
        tested = {known[key] for trials in self.lists for key in trials.utterances}
        if not tested & seen:
            return []
        counts = f"{len(tested & seen):,} of the {len(tested):,}"
        return [
            f"The model was trained on {counts} speakers of the lists: these figures do not tell of others."
        ]

    def speaker_of(self) -> dict[str, str] | None:
        """Who speaks in every utterance of the corpus."""
        if self.corpus is None:
            return None
        return {key: who for split in self.corpus.splits.values() for key, who in split.speaker_of().items()}


def lists_of_files(paths: list[Path], models: Path | None, root: Path, repeated: bool) -> Tested:
    """Trial lists from files."""
    from voxangle.data import Trials

    return Tested(
        _differently_named([Trials.read(path, models=models, repeated=repeated) for path in paths]), root=root
    )


def lists_of_corpus(
    name: str, root: Path | None, only: list[str], paths: list[Path], models: Path | None, repeated: bool
) -> Tested:
    """A corpus's trial lists, or lists from files on its utterances."""
    from voxangle.corpora import corpus_folder, corpus_reader
    from voxangle.data import Trials
    from voxangle.errors import TrialError, nearest

    place = root or corpus_folder(name)
    corpus = corpus_reader(name).read(place)
    if paths:
        known = {key for split in corpus.splits.values() for key in split.table["utterance"].to_pylist()}
        read = [Trials.read(path, known=known, models=models, repeated=repeated) for path in paths]
        return Tested(_differently_named(read), corpus, place, name)
    if wanted := corpus.lines_on_left_out(only):
        raise TrialError("\n".join(wanted))
    for one in only:
        if one not in corpus.trials:
            there = [*corpus.trials, *corpus.left_out]
            raise TrialError(f"corpus '{name}' has no trial list '{one}'{nearest(one, there)}")
    if not corpus.trials:
        left_out = corpus.lines_on_left_out()
        raise TrialError(
            f"corpus '{name}' has no trial lists of its own{' that can be used' if left_out else ''}; give some with "
            f"--trials, such as `voxangle corpora trials {name}` makes"
            + "".join(f"\n{line}" for line in (left_out or corpus.notes))
        )
    return Tested(
        [trials for one, trials in corpus.trials.items() if not only or one in only],
        corpus,
        place,
        name,
        left_out=() if only else corpus.lines_on_left_out(),
    )


def _differently_named(lists: list[Trials]) -> list[Trials]:
    from voxangle.errors import TrialError

    names = [one.name for one in lists]
    if twice := [name for name in names if names.count(name) > 1]:
        raise TrialError(f"two lists are called '{twice[0]}', and results go by that name; rename one")
    return lists


class Embedded(NamedTuple):
    """The recordings that lists name, embedded.

    Attributes:
        embeddings: by key.
        manifest: of these recordings, where a corpus has one.
        unusable: causes, by key.
        read: the waveform of a key.
    """

    embeddings: dict[str, Any]
    manifest: Manifest | None
    unusable: dict[str, str]
    read: Callable[[str], Waveform]

    def clips(self) -> Clips:
        """The recordings to be heard."""
        from voxangle.reporting.players import clip

        return lambda key: clip(self.read(key)) if key in self.embeddings else None


def embed_tested(embedder: BaseEmbedder, tested: Tested, console: Console) -> Embedded:
    """Embed what the lists name."""
    import numpy as np

    from voxangle.audio import load
    from voxangle.console import counting
    from voxangle.corpora.prepared import prepare_split
    from voxangle.data import Manifest
    from voxangle.scoring.system import embed_prepared, embed_trials

    if tested.corpus is None:
        with counting(console, "embedding") as on_progress:
            embeddings = embed_trials(embedder, tested.lists, tested.root, on_progress)
        return Embedded(embeddings, None, {}, lambda key: load(tested.root / key))
    named = {key for trials in tested.lists for key in trials.utterances}
    embeddings = {}
    manifests = []
    unusable: dict[str, str] = {}
    place: dict[str, tuple[LabelledRecordings, int]] = {}
    for split in tested.splits_named():
        with counting(console, f"preparing {split}") as on_progress:
            prepared = prepare_split(tested.corpus, split, on_progress=on_progress)
        unusable |= {one.utterance: one.cause for one in prepared.left_out if one.utterance in named}
        keys = prepared.manifest.table["utterance"].to_pylist()
        prepared = prepared.where(np.fromiter((key in named for key in keys), bool, len(keys)))
        with counting(console, f"embedding {split}") as on_progress:
            embeddings |= embed_prepared(embedder, prepared, on_progress)
        manifests.append(prepared.manifest)
        kept = prepared.manifest.table["utterance"].to_pylist()
        place |= {key: (prepared, row) for row, key in enumerate(kept)}

    def read(key: str) -> Waveform:
        recordings, row = place[key]
        return recordings.read(row)

    return Embedded(embeddings, Manifest.joined(manifests), unusable, read)
