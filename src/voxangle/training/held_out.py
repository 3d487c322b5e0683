"""Recordings of speakers whom a model was not trained on, as far as its card and its recipe tell."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from voxangle.audio import SAMPLE_RATE
from voxangle.corpora.corpus import Corpus
from voxangle.data import Manifest
from voxangle.data.prepare import Prepared
from voxangle.encoders.card import ModelCard
from voxangle.errors import CorpusError
from voxangle.recipe import Recipe, Source
from voxangle.runtime import MINIMUM_SECONDS
from voxangle.training.material import gather_material, some_of_each

__all__ = ["HeldOut", "hold_out", "trained_on"]


class HeldOut(NamedTuple):
    """Recordings of speakers who are new to a model.

    Attributes:
        manifest: of them.
        seen: how many speakers were left out because the model was trained on them.
    """

    manifest: Manifest
    seen: int


def hold_out(prepared: Prepared, seen: frozenset[str], *, recordings: int) -> HeldOut:
    """What a model was not trained on.

    Args:
        prepared: a split.
        seen: speakers whom the model was trained on.
        recordings: of each speaker at most, spread evenly over what there is.

    Raises:
        CorpusError: nobody is left.
    """
    manifest = prepared.manifest
    speakers = manifest.column("speaker").tolist()
    new = np.array([speaker not in seen for speaker in speakers], bool)
    new &= prepared.samples >= MINIMUM_SECONDS * SAMPLE_RATE
    if not new.any():
        raise CorpusError(
            f"the model was trained on all {len(set(speakers))} speakers of this split, and trials of theirs would "
            "calibrate it too surely; give another split or corpus"
        )
    kept = some_of_each(manifest.labels(), new, recordings)
    return HeldOut(manifest.where(kept), len(seen.intersection(speakers)))


def trained_on(
    card: ModelCard, name: str, corpus: Corpus, split: str, root: Path, recipe: Recipe | None = None
) -> frozenset[str]:
    """The speakers of a split whom a model was trained on; none where it was trained on others altogether.

    Args:
        card: of the model; the recipe on it counts where none is given.
        name: of the corpus, by which recipes call it.
        corpus: as it is on disk.
        split: one of its splits.
        root: where it lies.
        recipe: that the model was trained by.

    Raises:
        CorpusError: it was trained on this corpus, and it cannot be told on whom of it.
    """
    cure = "give the recipe of its run with --recipe RUN/recipe.yaml, or another corpus"
    by_card = recipe is None
    if recipe is None:
        if card.training is None or name not in card.training.corpora:
            return frozenset()
        if not card.training.settings:
            raise CorpusError(
                f"the model '{card.name}' was trained on the corpus '{name}', and its card does not say on whom of it; "
                f"{cure}"
            )
        recipe = Recipe.check(card.training.settings, f"the recipe on the card of '{card.name}'")
    # On a card a place is no more than its last name.
    sources = [
        source
        for source in recipe.data.sources
        if source.corpus == name and _is_there(source, root, last_name=by_card)
    ]
    if not any(_split(source, corpus) == split for source in sources):
        return frozenset()  # speakers never cross splits
    data = recipe.data.model_copy(update={"shards": None})
    if by_card:
        if data.corpora:
            raise CorpusError(
                f"the model '{card.name}' was trained on several corpora, and its card does not say where they lie; "
                f"{cure}"
            )
        data = data.model_copy(update={"root": root})
    return frozenset(gather_material(data).training.manifest.speakers())


def _is_there(source: Source, root: Path, *, last_name: bool) -> bool:
    if source.root is None:
        return True
    here = root.resolve()
    return source.root.name == here.name if last_name else source.root.resolve() == here


def _split(source: Source, corpus: Corpus) -> str:
    return source.split or ("train" if "train" in corpus.splits else next(iter(corpus.splits)))
