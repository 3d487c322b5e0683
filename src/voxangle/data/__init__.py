"""Manifests, trials, prepared audio and batches."""

from voxangle.data.manifest import Manifest, Utterance
from voxangle.data.trials import Trials

__all__ = ["Manifest", "Trials", "Utterance"]
