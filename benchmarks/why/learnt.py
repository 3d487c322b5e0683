"""A run as its checkpoint has it: what it had learnt, and the batches that it would learn from next."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from voxangle.augment import Augmenter, build_banks
from voxangle.data.batches import LabelledRecordings
from voxangle.data.mislabelled import Mislabelled
from voxangle.encoders import Embedder, ModelCard, build_encoder
from voxangle.encoders.encoder import Encoder
from voxangle.errors import CheckpointError
from voxangle.features import BaseFilterbank, build_filterbank
from voxangle.objectives import AttentionConfig, Objective
from voxangle.recipe import Recipe
from voxangle.scoring.system import embed_prepared
from voxangle.storage import cache_folder
from voxangle.training.checkpoint import CHECKPOINT, Checkpoint
from voxangle.training.distributed import Ranks
from voxangle.training.feed import Feed, open_feed
from voxangle.training.material import Material, gather_material

__all__ = ["Batch", "Learnt", "name_runs", "variant_of"]

_SEED = re.compile(r"/?seed-\d+$")  # an ablation's runs lie in VARIANT/seed-SEED


def name_runs(folders: Sequence[Path]) -> list[str]:
    """What to call runs: their folders, as seen from the one that they have in common."""
    places = [folder.resolve() for folder in folders]
    above = Path(os.path.commonpath([place.parent for place in places]))
    if len(places) == 1 and _SEED.fullmatch(places[0].name):
        above = above.parent
    return [place.relative_to(above).as_posix() for place in places]


def variant_of(name: str) -> str:
    """The name of a run without its seed."""
    return _SEED.sub("", name) or name


class Batch(NamedTuple):
    """A batch of a training, embedded.

    Attributes:
        embeddings: (N, D) float32, as the encoder in training makes them; neighbours are views of one crop.
        labels: (N,) what the losses are told.
        speakers: (N,) who speaks.
        wrong: (N,) whether the two differ.
        rows: (N,) the recording.
    """

    embeddings: Tensor
    labels: Tensor
    speakers: Tensor
    wrong: Tensor
    rows: Tensor


@dataclass(frozen=True)
class Learnt:
    """A run, finished or not, at its checkpoint; nothing in its folder is touched.

    Attributes:
        name: what to call it.
        recipe: of the run.
        step: optimiser steps taken.
        material: what it learns from and is watched on.
        speakers: (N,) who speaks in each training recording: a number, as its label is where that is right.
        wrong: (N,) whether its label is another one.
        encoder: as training goes on with it.
        model: the encoder that the run would end with; another one where the recipe averages weights.
        objective: with its prototypes.
    """

    name: str
    recipe: Recipe
    step: int
    material: Material
    speakers: NDArray[np.int64]
    wrong: NDArray[np.bool_]
    filterbank: BaseFilterbank
    encoder: Encoder
    model: Encoder
    objective: Objective
    feed: Feed

    @classmethod
    def read(cls, folder: Path, name: str) -> Learnt:
        """The run in a folder.

        Raises:
            CheckpointError: there is none yet, it is damaged, or the corpus is not the one it was trained on.
            CorpusError: the corpus cannot be reached.
        """
        checkpoint = Checkpoint.read(folder, sweep=False)
        where = folder / CHECKPOINT
        if checkpoint is None:
            raise CheckpointError(f"{where}: not there (yet); name the folder of a run that has saved once")
        recipe = Recipe.check(checkpoint.recipe, str(where))
        material = gather_material(recipe.data)
        feed = open_feed(recipe, material.training, Ranks(0, 1, torch.device("cpu")))
        classes = feed.recordings.speakers
        if checkpoint.speakers != classes:
            raise CheckpointError(
                f"{where}: the corpus has changed: {len(checkpoint.speakers)} speakers then, {len(classes)} now (or "
                "other ones); restore the corpus"
            )
        encoder, model = build_encoder(recipe.encoder).eval(), build_encoder(recipe.encoder).eval()
        objective = Objective(recipe.objective, speakers=len(classes), dimension=encoder.dimension)
        encoder.load_state_dict(checkpoint.encoder)
        model.load_state_dict(checkpoint.model)
        objective.load_state_dict(checkpoint.objective)
        wrong = np.zeros(len(material.training.samples), bool)
        speakers = material.training.manifest.labels()
        if isinstance(material.training, Mislabelled):
            wrong = material.training.wrong
            speakers = material.training.true_manifest.labels()
        filterbank = build_filterbank(recipe.features)
        return cls(
            name=name,
            recipe=recipe,
            step=checkpoint.step,
            material=material,
            speakers=speakers,
            wrong=wrong,
            filterbank=filterbank,
            encoder=encoder,
            model=model,
            objective=objective,
            feed=feed,
        )

    @property
    def attention(self) -> AttentionConfig:
        """The run's; that of the package where it has none."""
        return self.recipe.objective.attention or AttentionConfig()

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) the class of each training recording at its own speed."""
        recordings = self.feed.recordings
        numbers = self.material.training.manifest.labels()
        return np.asarray(numbers + recordings.voices * self.recipe.data.speeds.index(1.0))

    @property
    def prototypes(self) -> Tensor | None:
        """(C, D) or (C, K, D); None without a classifier."""
        head = self.objective.classification
        return None if head is None else head.prototypes.detach()

    def embed(
        self,
        encoder: Encoder,
        recordings: LabelledRecordings,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Embeddings of whole recordings, by ``encoder`` or ``model`` in use, (N, D) in their order."""
        card = ModelCard(name=self.recipe.name, encoder=self.recipe.encoder, filterbank=self.recipe.features)
        of_key = embed_prepared(Embedder(self.filterbank, encoder, card), recordings, on_progress)
        return np.stack([of_key[key] for key in recordings.manifest.column("utterance")])

    def batches(self, count: int) -> Iterator[Batch]:
        """The batches of the next steps, augmented and embedded as in training, in float32; nothing is learnt."""
        banks = build_banks(
            self.recipe.augment,
            self.material.training,
            seed=self.recipe.seed,
            cache=cache_folder() / "augment",
        )
        augmenter = Augmenter(self.recipe.augment, banks)
        voices, recordings = self.feed.recordings.voices, len(self.wrong)
        with closing(self.feed.stream(self.step, self.step + count)) as crops, _in_training(self.encoder):
            for place, batch in enumerate(crops):
                # Fewer batches of a run are the first ones of more.
                draws = torch.Generator().manual_seed(self.recipe.seed + self.step + place)
                with torch.no_grad():
                    views = augmenter(batch.waveforms, draws, batch.labels % voices)
                    embeddings = self.encoder(self.filterbank(views.flatten(0, 1))[0]).float()
                rows = batch.rows % recordings
                # A voice at another speed is a speaker of its own.
                speed = batch.labels // voices * voices
                each = (
                    batch.labels,
                    speed + torch.from_numpy(self.speakers)[rows],
                    torch.from_numpy(self.wrong)[rows],
                    rows,
                )
                yield Batch(embeddings, *(one.repeat_interleave(views.shape[1]) for one in each))


@contextmanager
def _in_training(module: nn.Module) -> Iterator[None]:
    """A module that computes as in training, whose statistics are afterwards what they were."""
    state = {name: value.clone() for name, value in module.state_dict().items()}
    module.train()
    try:
        yield
    finally:
        module.load_state_dict(state)
        module.eval()
