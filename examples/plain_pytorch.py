"""An ordinary PyTorch training loop with voxangle's objective in it: three lines, marked below.

    python examples/plain_pytorch.py FOLDER [STEPS]

FOLDER holds recordings at 16 kHz as FOLDER/SPEAKER/*.wav; everything but the marked lines is the caller's own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import soundfile
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from voxangle.objectives import (
    aam_softmax_loss,
    backward_balanced,
    class_aware_attention,
    mgda,
    supervised_contrastive_loss,
)

CROP = 16_000  # samples: one second


class Speakers(Dataset[tuple[Tensor, int]]):
    """One item a speaker: crops of two recordings, so that every sample of a batch has a positive."""

    def __init__(self, folder: Path) -> None:
        recordings = [sorted(speaker.glob("*.wav")) for speaker in sorted(folder.iterdir())]
        self.recordings = [paths for paths in recordings if len(paths) > 1]

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, speaker: int) -> tuple[Tensor, int]:
        """Two crops, (2, samples), and the speaker's number."""
        paths = self.recordings[speaker]
        two = torch.randperm(len(paths))[:2].tolist()
        return torch.stack([_crop(paths[choice]) for choice in two]), speaker


def _crop(path: Path) -> Tensor:
    wave = torch.from_numpy(soundfile.read(path, dtype="float32", always_2d=True)[0][:, 0])
    wave = wave.repeat(-(-CROP // len(wave)))
    start = int(torch.randint(len(wave) - CROP + 1, ()))
    return wave[start : start + CROP]


class Encoder(nn.Module):
    """Log spectrum, two convolutions, mean and deviation over time: waveforms (N, samples) to (N, dimension)."""

    def __init__(self, dimension: int = 64) -> None:
        super().__init__()
        self.frames = nn.Sequential(
            nn.Conv1d(201, 128, 5), nn.ReLU(), nn.BatchNorm1d(128), nn.Conv1d(128, 128, 3), nn.ReLU()
        )
        self.embed = nn.Linear(2 * 128, dimension)
        self.register_buffer("window", torch.hann_window(400))

    def forward(self, waves: Tensor) -> Tensor:
        """(N, samples) to embeddings (N, dimension)."""
        spectrum = torch.stft(waves, 400, 160, window=self.window, return_complex=True).abs()
        frames = self.frames((spectrum + 1e-3).log())
        return self.embed(torch.cat([frames.mean(dim=2), frames.std(dim=2)], dim=1))


def train(
    encoder: nn.Module, prototypes: Tensor, batches: Iterable[tuple[Tensor, Tensor]], lr: float = 1e-3
) -> Iterator[float]:
    """Train on the batches; yields the sum of the losses after each step."""
    optimizer = torch.optim.AdamW([*encoder.parameters(), prototypes], lr=lr)
    balancer = mgda(floor=0.4)
    for waves, speakers in batches:
        embeddings = encoder(waves.flatten(0, 1))
        labels = speakers.repeat_interleave(waves.shape[1])  # crops of a speaker are neighbours
        # In place of `loss = criterion(...)` and `loss.backward()`:
        attention = class_aware_attention(embeddings, labels, prototypes)  # 1
        losses = [  # 2
            aam_softmax_loss(embeddings, labels, prototypes, margin=0.2),
            supervised_contrastive_loss(embeddings, labels, margin=0.1, attention=attention),
        ]
        optimizer.zero_grad()
        backward_balanced(losses, embeddings, balancer)  # 3
        optimizer.step()
        yield sum(losses).item()


def main() -> None:
    """Train on a folder and say how the loss went."""
    folder, steps = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200
    torch.manual_seed(0)
    speakers = Speakers(folder)
    loader = DataLoader(speakers, batch_size=32, shuffle=True)
    encoder = Encoder()
    prototypes = nn.Parameter(torch.randn(len(speakers), 64))  # one a speaker, learned with the encoder
    batches = (batch for _ in range(steps) for batch in loader)
    for step, loss in enumerate(train(encoder, prototypes, batches), start=1):
        if step == 1 or step % 20 == 0:
            print(f"step {step}  loss {loss:.3f}")
        if step == steps:
            break


if __name__ == "__main__":
    main()
