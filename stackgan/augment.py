"""Differentiable augmentation (Zhao et al. 2020): D sees real and generated pictures through the same random changes.

It keeps D from learning a small data set by heart, and leaves the generator's pictures unchanged, since gradients pass
through. Colour changes are possible but contradict captions that name colours.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_SHIFT = 1 / 8  # of the side, at most
_HOLE = 3 / 8  # of the side


def augment(image: Tensor, names: Sequence[str]) -> Tensor:
    """image [B, 3, S, S] in [-1, 1] → the same, each picture changed by itself. Gray (0) fills what is cut."""
    for name in names:
        image = _AUGMENTATIONS[name](image)
    return image.contiguous(memory_format=torch.channels_last)


def _translation(image: Tensor) -> Tensor:
    """Shift by up to 1/8 of the side in both directions, gray moving in."""
    batch, channels, size, _ = image.shape
    most = round(size * _SHIFT)
    top_left = torch.randint(0, 2 * most + 1, (2, batch, 1), device=image.device)
    rows, columns = top_left + torch.arange(size, device=image.device)
    # One gather of whole pixels: a few large kernels, forwards and backwards, where slices would be hundreds.
    pixels = F.pad(image, [most] * 4).permute(0, 2, 3, 1).flatten(1, 2)
    places = (rows[:, :, None] * (size + 2 * most) + columns[:, None, :]).flatten(1)
    moved: Tensor = pixels.gather(1, places[:, :, None].expand(-1, -1, channels))
    return moved.view(batch, size, size, channels).permute(0, 3, 1, 2)


def _cutout(image: Tensor) -> Tensor:
    """A gray square of 3/8 of the side, centred anywhere."""
    batch, _, size, _ = image.shape
    centre = torch.randint(0, size, (2, batch, 1), device=image.device)
    near = (torch.arange(size, device=image.device) - centre).abs() < round(size * _HOLE / 2)
    hole = near[0][:, :, None] & near[1][:, None, :]
    return image.masked_fill(hole[:, None], 0.0)


def _color(image: Tensor) -> Tensor:
    """Brightness ± 0.5, saturation × 0…2, contrast × 0.5…1.5."""
    brightness, saturation, contrast = torch.rand(3, len(image), 1, 1, 1, device=image.device)
    image = image + (brightness - 0.5)
    gray = image.mean(dim=1, keepdim=True)
    image = gray + (image - gray) * (2.0 * saturation)
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    contrasted: Tensor = mean + (image - mean) * (0.5 + contrast)
    return contrasted


_AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "translation": _translation,
    "cutout": _cutout,
    "color": _color,
}
