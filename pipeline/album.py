"""The fixed captions and noises by which a person watches a training, and the pictures drawn from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.pictures import save_png, sheet
from stackgan.monitor import Probes
from stackgan.networks import Generator, draw
from stackgan.reader import Sample, samples
from stackgan.training import to_unit

SNAPSHOTS = 8
UNSEEN, SEEN = 6, 2  # rows of a grid: captions of test and of training pictures
PROBED = 64  # real pictures of either split whose verdict by D is followed
TILE = 128


@dataclass(frozen=True)
class Caption:
    """A caption with its embedding [T]; `seen` if it belongs to a training picture."""

    text: str
    embedding: Tensor
    seen: bool

    @property
    def title(self) -> str:
        return f"{self.text}{' (seen in training)' if self.seen else ''}"


class Album:
    """Grids of one stage: rows are captions, columns noises or epochs."""

    def __init__(self, captions: Sequence[Caption], noise_dim: int, seed: int, device: torch.device) -> None:
        self.captions = captions
        self.embeddings = torch.stack([caption.embedding for caption in captions]).to(device)
        self.noise = torch.randn(6, noise_dim, generator=torch.Generator().manual_seed(seed)).to(device)
        self.frames: dict[int, Tensor] = {}

    def snapshot(self, epoch: int, generator: Generator) -> None:
        """Keep the first noise's pictures, uint8 [captions, H, W, 3], as those after `epoch` epochs."""
        self.frames[epoch] = torch.cat([_draw(generator, row, self.noise[:1]) for row in self.embeddings])

    def write(self, folder: Path, stage: int, generator: Generator) -> None:
        titles = [caption.title for caption in self.captions]
        rows = [list(_draw(generator, row, self.noise).numpy()) for row in self.embeddings]
        epoch = max(self.frames)
        grid = sheet(rows, row_titles=titles, title=f"Stage {'I' * stage} after {_epochs(epoch)}", tile=TILE)
        save_png(grid, folder / "grid.png")
        strips = [[self.frames[epoch][row].numpy() for epoch in self.frames] for row in range(len(titles))]
        film = sheet(
            strips,
            row_titles=titles,
            column_titles=[_epochs(epoch) for epoch in self.frames],
            title=f"Stage {'I' * stage} through the epochs",
            tile=TILE,
        )
        save_png(film, folder / "through_epochs.png")


def snapshot_epochs(epochs: int) -> set[int]:
    """At most eight epochs from the first to the last, denser where pictures change faster."""
    return {max(1, round(epochs ** (i / (SNAPSHOTS - 1)))) for i in range(SNAPSHOTS)}


def choose_captions(shards: Path, size: int) -> list[Caption]:
    """Captions of test pictures and of training pictures, each of another species as far as there are so many."""
    chosen = []
    for split, number in (("test", UNSEEN), ("train", SEEN)):
        for sample in _of_different_species(islice(samples(shards, split, size=size), 40 * number), number):
            captions = sample.picture["captions"]
            longest = max(range(len(captions)), key=lambda index: len(captions[index]))
            chosen.append(Caption(captions[longest], sample.embeddings[longest], split == "train"))
    return chosen


def choose_probes(shards: Path, size: int, captions: Sequence[Caption], noise: Tensor) -> Probes:
    """Real pictures of both splits, and groups of one species each, beside the grid's captions and noise.

    Where no species has two pictures, those of all stand for a group.
    """
    train = list(islice(samples(shards, "train", size=size), 8 * PROBED))
    test = list(islice(samples(shards, "test", size=size), PROBED))
    by_species: dict[Any, list[Sample]] = {}
    for sample in train:
        by_species.setdefault(sample.picture["species_id"], []).append(sample)
    groups = [group for group in sorted(by_species.values(), key=len, reverse=True)[:4] if len(group) > 1] or [train]
    device = noise.device
    return Probes(
        train=_real(train[:PROBED], device),
        heldout=_real(test, device),
        groups=[_real(group[: len(noise)], device)[0] for group in groups],
        captions=torch.stack([caption.embedding for caption in captions[:4]]).to(device),
        noise=noise,
    )


def _draw(generator: Generator, embedding: Tensor, noise: Tensor) -> Tensor:
    """embedding [T], noise [N, noise_dim] → uint8 [N, H, W, 3] on the CPU."""
    return draw(generator, embedding.expand(len(noise), -1), noise).permute(0, 2, 3, 1).contiguous()


def _real(chosen: Sequence[Sample], device: torch.device) -> tuple[Tensor, Tensor]:
    image = to_unit(torch.stack([sample.image for sample in chosen]).to(device))
    return image, torch.stack([sample.embeddings[0] for sample in chosen]).to(device)


def _of_different_species(candidates: Iterable[Sample], number: int) -> list[Sample]:
    first: list[Sample] = []
    rest: list[Sample] = []
    known: set[int] = set()
    for sample in candidates:
        (rest if sample.picture["species_id"] in known else first).append(sample)
        known.add(sample.picture["species_id"])
    return (first + rest)[:number]


def _epochs(number: int) -> str:
    return f"{number} epoch{'s'[: number > 1]}"
