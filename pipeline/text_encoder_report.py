"""What the stage `text-encoder` tells of its encoder: measures, and a picture of what captions find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pipeline.manifest import Picture
from pipeline.pictures import sheet
from stackgan.text.retrieval import paraphrases_nearer, retrieval

QUERIES, FOUND = 8, 6
TILE = 112
TITLE = "Test pictures that captions find; green: the right species"
SAME_SPECIES = (0, 158, 96)


@dataclass(frozen=True)
class Split:
    """The pictures of one split with their crops, uint8 [N, 3, S, S]."""

    pictures: Sequence[Picture]
    crops: Tensor

    @property
    def species(self) -> list[int]:
        """The species' number of each picture."""
        return [picture.species_id for picture in self.pictures]

    @property
    def captions(self) -> list[str]:
        """All captions, picture after picture."""
        return [caption for group in self.groups for caption in group]

    @property
    def groups(self) -> list[Sequence[str]]:
        """The captions of each picture."""
        return [picture.captions for picture in self.pictures]

    @property
    def owner(self) -> Tensor:
        """The picture of each caption, int64 [captions]."""
        return torch.tensor([index for index, group in enumerate(self.groups) for _ in group])


def measure(split: Split, texts: Tensor, images: Tensor | None) -> dict[str, Any]:
    """Measures of unit embeddings [captions, dim] and, where the encoder knows pictures, [pictures, dim]."""
    species = torch.tensor(split.species)
    nearer = paraphrases_nearer(texts, split.owner, species)
    return nearer if images is None else nearer | retrieval(texts, split.owner, images, species)


def found(split: Split, texts: Tensor, images: Tensor | None) -> Image.Image:
    """A row for each of some captions: its own picture, then the nearest others, its own species framed in green.

    Where the encoder does not know pictures, the mean of a picture's captions stands for it.
    """
    owner, pictures = split.owner, range(len(split.pictures))
    if images is None:
        images = torch.stack([F.normalize(texts[owner == index].mean(0), dim=0) for index in pictures])
    queries = torch.linspace(0, len(pictures) - 1, min(QUERIES, len(pictures))).long().tolist()
    rows, titles = [], []
    for own in queries:
        caption = int((owner == own).nonzero()[0])
        ranks = (images @ texts[caption]).argsort(descending=True, stable=True).tolist()
        nearest = [index for index in ranks if index != own][:FOUND]
        titles.append(split.captions[caption])
        rows.append([_tile(split, own, own), *(_tile(split, index, own) for index in nearest)])
    columns = ["its own", *(f"nearest {rank}" for rank in range(1, FOUND + 1))]
    return sheet(rows, row_titles=titles, column_titles=columns, title=TITLE, tile=TILE)


def _tile(split: Split, index: int, own: int) -> Image.Image:
    crop = split.crops[index].permute(1, 2, 0).numpy()
    tile = Image.fromarray(np.ascontiguousarray(crop)).resize((TILE, TILE), Image.Resampling.LANCZOS)
    if index == own or split.species[index] != split.species[own]:
        return tile
    framed = Image.new("RGB", (TILE, TILE), SAME_SPECIES)
    framed.paste(tile.crop((4, 4, TILE - 4, TILE - 4)), (4, 4))
    return framed


def summary(metrics: Mapping[str, Any]) -> str:
    """The gist in a line."""
    test = metrics["test"]
    parts = []
    if "paraphrases_nearer" in test:
        parts.append(f"{test['paraphrases_nearer']:.1%} of paraphrases nearer than other birds (chance 50%)")
    if "ap_50" in test:
        parts.append(f"AP@50 of test pictures {test['ap_50']:.1%} (chance {test['ap_50_chance']:.1%})")
    if "cosine_to_official" in test:
        parts.append(f"cosine to the official embeddings of test captions {test['cosine_to_official']:.3f}")
    return f"text encoder: {', '.join(parts) or 'trained'}"
