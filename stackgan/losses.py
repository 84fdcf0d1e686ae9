"""Losses on logits, and the choice of mismatched captions. Pure functions; all sums in float32."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 0.1  # of the contrastive scores
NO_CAPTION = -1  # the species where there is none


class Mismatch(NamedTuple):
    """indices int64 [B] of the rows whose caption each picture gets, valid bool [B]: False where there is none."""

    indices: Tensor
    valid: Tensor


def mismatch(species: Tensor, size: int, kind: str) -> Mismatch:
    """Pick for each picture of the batch, whose captions are the first `size`, a caption that does not describe it.

    `species` int64 [N] of all captions. `other-species` draws uniformly among those of another species; a row is
    invalid if there is none, so all are with a single species. `shuffled` takes the neighbour in the (shuffled) batch,
    as the authors' PyTorch code does, and may hit the same species. `none` has no valid row.
    """
    rows = torch.arange(size, device=species.device)
    if kind == "shuffled":
        return Mismatch(rows.roll(1), torch.full_like(rows, size > 1, dtype=torch.bool))
    if kind == "none":
        return Mismatch(rows, torch.zeros_like(rows, dtype=torch.bool))
    other = (species[:size, None] != species[None, :]) & (species[None, :] != NO_CAPTION)
    chance = torch.rand(other.shape, device=species.device).masked_fill(~other, -1.0)
    return Mismatch(chance.argmax(dim=1), other.any(dim=1))


def discriminator_loss(real: Tensor, generated: Tensor, kind: str) -> Tensor:
    """Loss of the logits real [B] and generated [B], of weight 1 each; used by the caption-free head."""
    return (_as_real(real, kind) + _as_fake(generated, kind)).mean()


def matching_loss(real: Tensor, generated: Tensor, mismatched: Tensor, valid: Tensor, kind: str) -> Tensor:
    """real + ½ (mismatched + generated) on logits [B] (Reed et al. 2016; StackGAN, eq. 3).

    Where a mismatched pair is not `valid`, the generated pair takes its half, so that real and fake keep their balance.
    """
    fake = _as_fake(generated, kind)
    fakes = torch.where(valid, 0.5 * (fake + _as_fake(mismatched, kind)), fake)
    return (_as_real(real, kind) + fakes).mean()


def generator_loss(generated: Tensor, kind: str) -> Tensor:
    """What the generator minimises on D's logits [B] for its pictures: non-saturating for bce, linear for hinge."""
    return F.softplus(-generated.float()).mean() if kind == "bce" else -generated.float().mean()


def contrastive_loss(seen: Tensor, heard: Tensor, species: Tensor) -> Tensor:
    """Cross-entropy of finding each picture's caption among all, and each picture by its caption (Zhang et al. 2021).

    `seen` [B, dim] and `heard` [N, dim] of unit length, `species` int64 [N]; the first B captions are the pictures'.
    Scores are cosines over `TEMPERATURE`. What a conditional logit learns from one mismatched caption, this learns from
    all of another species; those of the same species, which may describe the picture as well, do not count. Nothing is
    left to tell apart with one species: 0.
    """
    own = torch.arange(len(seen), device=species.device)
    ignored = (species[: len(seen), None] == species[None, :]) | (species[None, :] == NO_CAPTION)
    ignored.diagonal().fill_(False)
    scores = (seen.float() @ heard.float().T / TEMPERATURE).masked_fill(ignored, -math.inf)
    return 0.5 * (F.cross_entropy(scores, own) + F.cross_entropy(scores[:, : len(seen)].T, own))


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) ‖ N(0, 1)), a mean over batch **and** dimensions as in the authors' code (the paper sums
    over dimensions: its weight 1 is c_dim here, theirs is 2)."""
    mu, logvar = mu.float(), logvar.float()
    return 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar).mean()


def _as_real(logits: Tensor, kind: str) -> Tensor:
    return F.softplus(-logits.float()) if kind == "bce" else F.relu(1.0 - logits.float())


def _as_fake(logits: Tensor, kind: str) -> Tensor:
    return F.softplus(logits.float()) if kind == "bce" else F.relu(1.0 + logits.float())
