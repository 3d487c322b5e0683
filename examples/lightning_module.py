"""voxangle's objective in a LightningModule.

    pip install lightning
    python examples/lightning_module.py FOLDER [STEPS]

Data and encoder are those of ``plain_pytorch.py``, which lies beside this file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from plain_pytorch import Encoder, Speakers
from torch import Tensor, nn
from torch.utils.data import DataLoader

from voxangle.objectives import (
    aam_softmax_loss,
    backward_balanced,
    class_aware_attention,
    gather_embeddings,
    gather_labels,
    mgda,
    supervised_contrastive_loss,
)


class SpeakerTraining(LightningModule):
    """An encoder and one prototype a speaker, optimised by hand: ``backward_balanced`` is the backward pass."""

    def __init__(self, encoder: nn.Module, speakers: int, dimension: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.encoder = encoder
        self.prototypes = nn.Parameter(torch.randn(speakers, dimension))
        self.balancer = mgda(floor=0.4)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """One step: two losses, one backward pass through the encoder."""
        waves, speakers = batch
        embeddings = gather_embeddings(self.encoder(waves.flatten(0, 1)))
        labels = gather_labels(speakers.repeat_interleave(waves.shape[1]))
        attention = class_aware_attention(embeddings, labels, self.prototypes)
        losses = [
            aam_softmax_loss(embeddings, labels, self.prototypes, margin=0.2),
            supervised_contrastive_loss(embeddings, labels, margin=0.1, attention=attention),
        ]
        optimizer = self.optimizers()
        optimizer.zero_grad()
        # Without this, DDP would leave out averaging the gradients: Lightning prepares it in manual_backward only.
        self.trainer.strategy.pre_backward(embeddings)
        balance = backward_balanced(losses, embeddings, self.balancer)
        optimizer.step()
        self.log_dict({"loss": sum(losses), "alpha": balance.weights[0]}, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over the encoder and the prototypes."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def main() -> None:
    """Train on a folder and say how the loss ended."""
    folder, steps = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200
    torch.manual_seed(0)
    speakers = Speakers(folder)
    module = SpeakerTraining(Encoder(64), len(speakers), 64)
    trainer = Trainer(max_steps=steps, logger=False, enable_checkpointing=False)
    trainer.fit(module, DataLoader(speakers, batch_size=32, shuffle=True))
    print(f"loss {trainer.callback_metrics['loss']:.3f}")


if __name__ == "__main__":
    main()
