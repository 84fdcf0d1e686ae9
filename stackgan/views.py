"""Random views of crops for networks that learn what a picture shows: zoomed, turned, mirrored, recoloured."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stackgan.classifier import FRAME, resize

ZOOM = 0.3  # natural logarithm of how much closer a view may be than the frame of a picture
TURN = 0.17  # radians
COARSE = 0.35  # least share of the pixels' number along a side that a roughened view keeps
NOISE = 0.15  # largest standard deviation of a roughened view's noise
HIDDEN = 0.25  # side of the grey square that hides a part of half of the pictures, over the picture's


@dataclass(frozen=True)
class Views:
    """How a picture differs each time it is learnt from: `recolour` is the share by which brightness, contrast and
    saturation go up and down at most; `rough` makes half of all coarse and noisy too, like those of a young generator.
    """

    recolour: float
    rough: bool = False


def augment(crops: Tensor, size: int, recolour: float, generator: torch.Generator) -> Tensor:
    """Random views [B, 3, size, size] in [0, 1] of uint8 crops: zoomed, turned, shifted, mirrored, recoloured.

    None is blurred: a judge that learnt to overlook blur would not see it in drawn pictures either.
    """
    views = _warp(crops.float() / 255, size, generator)
    return _hide(_recolour(views, recolour, generator), generator).clamp(0, 1)


def roughen(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [B, 3, S, S] in [0, 1], all made as coarse as chance says, and each as noisy, in grains of two sizes."""
    size = images.shape[-1]
    fewer = round(size * float(torch.rand((), generator=generator) * (1 - COARSE) + COARSE))
    images = resize(resize(images, fewer), size)
    amount = _uniform(images, generator, 0, NOISE)[:, None, None, None]
    for grain in (1, 3):
        noise = torch.randn(len(images), 3, size // grain, size // grain, generator=generator).to(images.device)
        images = images + amount * resize(noise, size)
    return images.clamp(0, 1)


def _uniform(like: Tensor, generator: torch.Generator, low: float, high: float) -> Tensor:
    """One number a picture, [B]; drawn on the CPU so that every device sees the same."""
    return (torch.rand(len(like), generator=generator) * (high - low) + low).to(like.device)


def _warp(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    scale = FRAME * torch.exp(_uniform(images, generator, -ZOOM, ZOOM / 2))
    stretch = torch.exp(_uniform(images, generator, -0.1, 0.1))
    angle = _uniform(images, generator, -TURN, TURN)
    mirror = torch.where(_uniform(images, generator, -1, 1) < 0, -1.0, 1.0)
    room = (1 - scale).clamp_min(0.05)
    x, y = (_uniform(images, generator, -1, 1) * room for _ in range(2))
    cos, sin = scale * angle.cos(), scale * angle.sin()
    matrix = torch.stack(
        [torch.stack([cos * stretch * mirror, -sin, x], 1), torch.stack([sin * mirror, cos / stretch, y], 1)], 1
    )
    grid = F.affine_grid(matrix, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _recolour(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    brightness, contrast, saturation = (
        _uniform(images, generator, 1 - strength, 1 + strength)[:, None, None, None] for _ in range(3)
    )
    images = images * brightness
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * contrast
    grey = images.mean(1, keepdim=True)
    return grey + (images - grey) * saturation


def _hide(images: Tensor, generator: torch.Generator) -> Tensor:
    size = images.shape[-1]
    x, y = (_uniform(images, generator, 0, size)[:, None] for _ in range(2))
    chosen = _uniform(images, generator, 0, 1)[:, None] < 0.5
    along = torch.arange(size, device=images.device)[None]
    reach = size * HIDDEN / 2
    square = ((along - y).abs() < reach)[:, :, None] & ((along - x).abs() < reach)[:, None, :]
    return torch.where((square & chosen[:, :, None])[:, None], 0.5, images)
