"""Several models on the trial lists of a corpus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from voxangle.corpora import Corpus
from voxangle.corpora.prepared import prepare_split
from voxangle.data.trials import Trials
from voxangle.runtime import BaseEmbedder
from voxangle.scoring import Result, evaluate
from voxangle.scoring.system import ByKey, embed_prepared

__all__ = ["on_lists"]


def on_lists(
    models: Mapping[str, BaseEmbedder], corpus: Corpus
) -> Iterator[tuple[Trials, dict[str, Result]]]:
    """Each list with what each model makes of it, by the models' names; recordings in no list are not embedded."""
    named = {key for trials in corpus.trials.values() for key in trials.utterances}
    embeddings: dict[str, ByKey] = {name: {} for name in models}
    speakers: dict[str, str] = {}
    for split, manifest in corpus.splits.items():
        if named.isdisjoint(manifest.table["utterance"].to_pylist()):
            continue
        prepared = prepare_split(corpus, split)
        speakers |= prepared.manifest.speaker_of()
        prepared = prepared.where(np.array([key in named for key in prepared.manifest.column("utterance")]))
        for name, model in models.items():
            embeddings[name] |= embed_prepared(model, prepared)
    for trials in corpus.trials.values():
        yield (
            trials,
            {name: evaluate(by_key, trials, speakers=speakers) for name, by_key in embeddings.items()},
        )
