"""Standardisation of embeddings, so that what they say of the bird is louder than how it is said."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stackgan.errors import UserError

SHRINKAGE = 0.03  # share of the mean variance that the captions of a picture are taken to differ by in any direction
_NONE = 1e-12  # a variance that is as good as none
_ROWS = 4096  # in double precision at a time


class Standardisation(NamedTuple):
    """mean [dim] and matrix [dim, dim]: embeddings [N, dim] become (embeddings - mean) @ matrix."""

    mean: Tensor
    matrix: Tensor

    def __call__(self, embeddings: Tensor) -> Tensor:
        return (embeddings - self.mean) @ self.matrix


def standardisation_of(encode: Callable[[Sequence[str]], Tensor], captions: Sequence[Sequence[str]]) -> Standardisation:
    """Fit to what `encode` makes of the captions of each picture; see `standardisation`."""
    embeddings = encode([caption for group in captions for caption in group])
    return standardisation(embeddings.split([len(group) for group in captions]))


def standardisation(groups: Sequence[Tensor]) -> Standardisation:
    """Fit to the embeddings of each picture's captions, float32 [captions, dim]; these get mean 0 and mean square 1.

    A picture's captions tell the same bird, so that what they differ in is wording, or what some leave out. First every
    direction is measured in units of that difference (within-class covariance normalisation, Hatch et al. 2006). Then
    each principal direction of the pictures' means, of variance s there, is given the weight √s / (1 + s): Wiener's
    estimate of the mean from one caption, s / (1 + s), in units of √s, by which pictures differ. So facts that captions
    mention rarely, like the colour of a bill, are about as loud as others, and what is wording alone is quiet. A plain
    scaling of each dimension leaves such facts too faint for a GAN to learn.

    Embeddings that are no finite numbers are a `UserError`.
    """
    embeddings = torch.cat([*groups])
    if not embeddings.isfinite().all():
        raise UserError("the text encoder gives no finite numbers: lower text_encoder.lr or take another model")
    mean = embeddings.mean(0)
    means = torch.cat([group.mean(0).expand_as(group) for group in groups])
    within, between = _second_moment(embeddings - means), _second_moment(means - mean)
    total = within + between
    floor = SHRINKAGE * total.diagonal().mean()
    variances, directions = torch.linalg.eigh(within)
    matrix = directions * (variances.clamp_min(0) + floor).clamp_min(_NONE).rsqrt() @ directions.T
    signals, axes = torch.linalg.eigh(matrix.T @ between @ matrix)
    signals = signals.clamp_min(0)
    matrix = matrix @ (axes * (signals.sqrt() / (1 + signals))) @ axes.T
    matrix /= (matrix.T @ total @ matrix).diagonal().mean().sqrt().clamp_min(_NONE)
    return Standardisation(mean, matrix.float())


def _second_moment(rows: Tensor) -> Tensor:
    """Mean of row ⊗ row: float64 [dim, dim] of float32 [N, dim]."""
    total = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for part in rows.split(_ROWS):
        total += part.double().T @ part.double()
    return total / len(rows)
