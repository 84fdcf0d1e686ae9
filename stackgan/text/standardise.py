"""Standardisation of embeddings, so that what they say of the bird is louder than how it is said."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stackgan.errors import UserError

SHRINKAGE = 0.1  # share of the mean variance that every direction is taken to have at least
_NONE = 1e-12  # a variance that is as good as none
_ROWS = 4096  # in double precision at a time


class Standardisation(NamedTuple):
    """mean [dim] and matrix [dim, dim]: embeddings [N, dim] become (embeddings - mean) @ matrix."""

    mean: Tensor
    matrix: Tensor

    def __call__(self, embeddings: Tensor) -> Tensor:
        return (embeddings - self.mean) @ self.matrix


def standardisation(groups: Sequence[Tensor]) -> Standardisation:
    """Within-class covariance normalisation (Hatch et al. 2006) of embeddings float32 [captions, dim] of each picture.

    Captions of one picture tell the same bird. The directions in which they differ nevertheless are divided by how much
    they do, all others come forward: colours of small parts too, which a plain scaling of each dimension leaves too
    faint for a GAN to learn. The result has mean 0, and mean square 1 over all dimensions together. With a single
    caption a picture it is only centred and scaled. Embeddings that are no finite numbers are a `UserError`.
    """
    embeddings = torch.cat([*groups])
    if not embeddings.isfinite().all():
        raise UserError("the text encoder gives no finite numbers: run `dvc repro --force text_encoder`")
    mean = embeddings.mean(0, dtype=torch.float64)
    within = _second_moment(torch.cat([group - group.mean(0) for group in groups]))
    variances, directions = torch.linalg.eigh(within)
    floor = (SHRINKAGE * variances.mean()).clamp_min(_NONE)
    matrix = directions * (variances.clamp_min(0) + floor).rsqrt() @ directions.T
    total = matrix.T @ _second_moment(embeddings - mean.float()) @ matrix
    matrix /= total.diagonal().mean().sqrt().clamp_min(_NONE)
    return Standardisation(mean.float(), matrix.float())


def _second_moment(rows: Tensor) -> Tensor:
    """Mean of row ⊗ row: float64 [dim, dim] of float32 [N, dim]."""
    total = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for part in rows.split(_ROWS):
        total += part.double().T @ part.double()
    return total / len(rows)
