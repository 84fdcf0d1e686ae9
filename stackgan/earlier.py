"""Captions of earlier steps, so that a small batch has many wrong answers to offer."""

from typing import NamedTuple

import torch
from torch import Tensor

from stackgan.losses import NO_CAPTION


class Captions(NamedTuple):
    """embedding [N, T] and species int64 [N] of captions: first those of the batch, then earlier ones."""

    embedding: Tensor
    species: Tensor


class EarlierCaptions:
    """The embeddings [size, T] and species [size] of the last captions that training saw, the newest first.

    Two captions of a batch of sixteen hardly ever differ in one word alone. With hundreds to choose from some do, and
    what tells them apart has to be learnt. Embeddings do not change, so that earlier ones are as good as new, unlike in
    the queue of He et al. (2020).
    """

    def __init__(self, size: int, dimensions: int, device: torch.device) -> None:
        self._embedding = torch.zeros(size, dimensions, device=device)
        self._species = torch.full((size,), NO_CAPTION, device=device)

    def after(self, embedding: Tensor, species: Tensor) -> Captions:
        """A batch's captions and the earlier ones behind them."""
        return Captions(torch.cat([embedding, self._embedding]), torch.cat([species, self._species]))

    def keep(self, embedding: Tensor, species: Tensor) -> None:
        """Put captions [N, T] before those that are there, the last of which go. In place: a recorded step reads from
        where it was recorded."""
        kept = self.after(embedding, species)
        self._embedding.copy_(kept.embedding[: len(self._embedding)])
        self._species.copy_(kept.species[: len(self._species)])

    def state_dict(self) -> dict[str, Tensor]:
        return {"embedding": self._embedding, "species": self._species}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._embedding.copy_(state["embedding"])
        self._species.copy_(state["species"])
