"""Training of a classifier on few pictures: strong augmentation, smoothed labels, one cycle of the learning rate."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stackgan.classifier import FRAME, Network, normalise, resize
from stackgan.errors import UserError
from stackgan.judge_config import JudgeConfig

WARM_UP = 0.1  # share of the steps in which the learning rate rises; from there half a cosine, down to 0
WEIGHT_DECAY = 0.05
SMOOTHING = 0.1
AVERAGING = 0.99  # decay per step of the averaged weights; less in the first steps
ZOOM = 0.3  # natural logarithm of how much closer a view may be than the frame of a picture
TURN = 0.17  # radians
COARSE = 0.35  # least share of the pixels' number along a side that a roughened view keeps
NOISE = 0.15  # largest standard deviation of a roughened view's noise
HIDDEN = 0.25  # side of the grey square that hides a part of every other picture, over the picture's


@dataclass(frozen=True)
class Views:
    """How a picture differs each time it is learnt from: `recolour` is the share by which brightness, contrast and
    saturation go up and down at most; `rough` makes half of all coarse and noisy too, like those of a young generator.
    """

    recolour: float
    rough: bool = False


JUDGE_VIEWS = Views(recolour=0.3)  # colours in photographs depend on the light
# A probe must not be taught that colours do not matter, and has to find the parts of clumsily drawn birds too.
PROBE_VIEWS = Views(recolour=0.1, rough=True)


class ClassifierTraining:
    """Goes epoch by epoch, and can stop and resume between any two; `average` is what it makes.

    Epoch e takes its order and its augmentation from (seed, e) alone, so that a resumed training ends in the same
    weights. `crops` are uint8 [N, 3, S, S] framed like the shards' crops, `targets` int64 [N] for each question.
    """

    def __init__(
        self,
        network: Network,
        crops: Tensor,
        targets: Mapping[str, Tensor],
        config: JudgeConfig,
        views: Views,
    ) -> None:
        self.model = network
        self.average = copy.deepcopy(self.model)
        self.crops, self.targets, self.config = crops, targets, config
        self.views = views
        self.device = next(network.parameters()).device
        self.epoch = self.step = 0
        decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.lr, fused=True)

    def run_epoch(self) -> float:
        """Train on every picture once; the mean loss over the epoch. One that is not finite is a `UserError`."""
        generator = torch.Generator().manual_seed(self.config.seed * 100_003 + self.epoch)
        order = torch.randperm(len(self.crops), generator=generator)
        # A last batch of one picture would have no variance to normalise by.
        batches = [batch for batch in order.split(self.config.batch_size) if len(batch) > 1]
        self.model.train()
        total = 0.0
        for batch in batches:
            total += self._train_step(batch, generator, steps=self.config.epochs * len(batches))
        if not math.isfinite(total):
            raise UserError(f"the judge's loss is no finite number in epoch {self.epoch + 1}: lower judge.lr")
        self.epoch += 1
        return total / len(batches)

    def _train_step(self, batch: Tensor, generator: torch.Generator, steps: int) -> float:
        images = augment(self.crops[batch].to(self.device), self.model.size, self.views.recolour, generator)
        if self.views.rough:
            half = len(images) // 2
            images = torch.cat([roughen(images[:half], generator), images[half:]])
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * _cycle(self.step / steps)
        logits = self.model(normalise(images)).logits
        losses = [
            F.cross_entropy(logits[question], target[batch].to(self.device), label_smoothing=SMOOTHING)
            for question, target in self.targets.items()
        ]
        loss = torch.stack(losses).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(AVERAGING, self.step / (self.step + 9))
        for averaged, value in zip(self._tensors(self.average), self._tensors(self.model), strict=True):
            averaged.lerp_(value, 1 - decay)

    @staticmethod
    def _tensors(model: Network) -> list[Tensor]:
        return [value for value in model.state_dict().values() if value.is_floating_point()]

    def state(self) -> dict[str, Any]:
        """All that `restore` needs to go on from here."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step = state["epoch"], state["step"]


def _cycle(progress: float) -> float:
    return min(1.0, progress / WARM_UP + 0.01) * 0.5 * (1 + math.cos(math.pi * progress))


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
