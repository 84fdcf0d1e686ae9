"""A small residual network that answers questions about a picture: the trunk of the judge and of the colour probe.

Basic blocks of He et al. (2016) with the average-pooled shortcut of He et al. (2019). Its features are standardised
(batch norm without scale and shift after the global mean), so that distances and FID have the same unit in every judge:
one feature's standard deviation over the real pictures that it learnt from.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FRAME = 64 / 76  # side of what a picture shows, over the side of the crop that it is cut from: 64 of 76, 256 of 304
STAGE1_SIZE = 64
SMOOTHING = 0.1  # of the labels that such a network learns from few pictures


class Answers(NamedTuple):
    """features: float32 [B, F]; logits: per question float32 [B, number of its answers]."""

    features: Tensor
    logits: dict[str, Tensor]


class Network(nn.Module):
    """What answers questions about float pictures [B, 3, size, size] as `normalise` gives them, by an `Answers`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut; it starts as the shortcut alone."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.append(nn.AvgPool2d(stride, ceil_mode=True))
        if channels_in != channels:
            self.shortcut.extend([nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels)])
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.shortcut(x) + self.norm2(self.conv2(hidden)))


class Classifier(Network):
    """`questions` maps a question to the number of its answers; `size` is the side in pixels of what it looks at."""

    def __init__(self, size: int, width: int, questions: Mapping[str, int]) -> None:
        super().__init__(size)
        self.feature_dim = 8 * width
        stem = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        if size > STAGE1_SIZE:
            stem.append(nn.MaxPool2d(3, 2, 1))
        blocks: list[nn.Module] = []
        channels = width
        for stage in range(4):
            wider = width * 2**stage
            blocks += [Block(channels, wider, stride=1 if stage == 0 else 2), Block(wider, wider, stride=1)]
            channels = wider
        self.trunk = nn.Sequential(*stem, *blocks)
        self.standardise = nn.BatchNorm1d(self.feature_dim, affine=False)
        self.heads = nn.ModuleDict({question: nn.Linear(self.feature_dim, n) for question, n in questions.items()})

    def forward(self, image: Tensor) -> Answers:
        features = self.standardise(self.trunk(image).mean((2, 3)).float())
        return Answers(features, {question: head(features) for question, head in self.heads.items()})


def normalise(image: Tensor) -> Tensor:
    """[0, 1] to about unit variance, with the same constants for every data set."""
    return ((image - 0.5) * 4).contiguous(memory_format=torch.channels_last)


def resize(image: Tensor, size: int) -> Tensor:
    """Float [B, 3, H, W] to [B, 3, size, size], bilinear, with antialiasing where it shrinks."""
    if image.shape[-2:] == (size, size):
        return image
    return F.interpolate(image, (size, size), mode="bilinear", antialias=True, align_corners=False)


def centre(crops: Tensor) -> Tensor:
    """The centre of crops [B, 3, S, S] that pictures show: 64 pixels of 76, 256 of 304, and so on in proportion."""
    side = round(crops.shape[-1] * FRAME)
    start = (crops.shape[-1] - side) // 2
    return crops[..., start : start + side, start : start + side]


@torch.no_grad()
def ask(network: Network, images: Tensor, batch_size: int = 16) -> Answers:
    """The answers about uint8 pictures [N, 3, H, W] of any size, on the CPU, in float32, whatever the batch size."""
    device = next(network.parameters()).device
    network.eval()
    parts = [
        network(normalise(resize(batch.to(device).float() / 255, network.size))) for batch in images.split(batch_size)
    ]
    return Answers(
        torch.cat([part.features.cpu() for part in parts]),
        {question: torch.cat([part.logits[question].cpu() for part in parts]) for question in parts[0].logits},
    )
