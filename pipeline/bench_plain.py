"""The yardstick of `bench`: training as one writes it first, with the mathematics of `Trainer` and none of its speed.

Float32, NCHW, every step read at once, kernels started one by one, Adam tensor by tensor, torch's own spectral norm,
enlargement and captions spelled out as maps, D looking at the real pictures once for each of their captions, and the
gradients of D computed in G's phase too, where nobody reads them.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from stackgan.augment import augment
from stackgan.config import TrainingConfig
from stackgan.layers import JointConv, SpectralNorm, UpBlock
from stackgan.networks import Discriminator, DiscriminatorOutput, Generator
from stackgan.reader import Batch
from stackgan.training import Pairs, Trainer


class PlainTrainer(Trainer):
    """A `Trainer` of the same weights, chance and losses, done plainly."""

    def __init__(
        self, fabric: Fabric, generator: Generator, discriminator: Discriminator, config: TrainingConfig, seed: int
    ) -> None:
        super().__init__(fabric, generator, discriminator, config, seed)
        self._update = self._phases
        for network in (generator, discriminator):
            _make_plain(network)
        discriminator.requires_grad_ = partial(_as_it_is, discriminator)  # type: ignore[method-assign]
        for optimizer in (self.optimizer_g, self.optimizer_d):
            for group in optimizer.param_groups:
                group["fused"] = group["foreach"] = False

    def step(self, batch: Batch) -> None:
        super().step(batch)
        self.peek_statistics()

    def _judge(self, pairs: Pairs, generated: Tensor) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
        image, drawn = (augment(each, self.config.diffaugment) for each in (pairs.image, generated))
        captions = pairs.captions.embedding
        matching: DiscriminatorOutput = self.discriminator(image, pairs.embedding, captions=captions)
        mismatched: DiscriminatorOutput = self.discriminator(image, pairs.mismatched)
        real = DiscriminatorOutput(
            (*matching.conditional, *mismatched.conditional), matching.unconditional, matching.contrast
        )
        return real, self.discriminator(drawn, pairs.embedding)


def _make_plain(network: nn.Module) -> None:
    for module in list(network.modules()):
        if isinstance(module, UpBlock):
            module._enlarge = partial(_enlarge, module)  # type: ignore[method-assign]
            module._scale_and_shift = _scale_and_shift  # type: ignore[method-assign]
        if isinstance(module, JointConv):
            module.forward = partial(_convolve_repeated, module)  # type: ignore[method-assign]
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda _, inputs: tuple(each.contiguous() for each in inputs))
        if isinstance(module, nn.Conv2d | nn.Linear) and parametrize.is_parametrized(module, "weight"):
            _use_torchs_norm(module)
    to: Any = network.to  # torch's stubs know no memory_format here
    to(memory_format=torch.contiguous_format)


def _as_it_is(network: Discriminator, requires_grad: bool) -> Discriminator:
    return network


def _enlarge(block: UpBlock, x: Tensor) -> Tensor:
    enlarged: Tensor = block.conv(F.interpolate(x, scale_factor=2.0))
    return enlarged


def _scale_and_shift(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return torch.addcmul(shift[:, :, None, None], x, scale[:, :, None, None])


def _convolve_repeated(joint: JointConv, features: Tensor, *vectors: Tensor) -> list[Tensor]:
    joined = []
    for vector in vectors:
        repeated = vector[:, :, None, None].expand(-1, -1, *features.shape[2:])
        maps = torch.cat([features[: len(vector)], repeated], dim=1)
        joined.append(F.conv2d(maps, joint.weight, joint.bias, padding=1))
    return joined


def _use_torchs_norm(layer: nn.Conv2d | nn.Linear) -> None:
    parametrizations: Any = layer.parametrizations
    state = parametrizations.weight[0].state_dict()
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    plain: Any = spectral_norm(layer)
    plain.parametrizations.weight[0].load_state_dict(state)
    parametrize.register_parametrization(layer, "weight", _Gain())


class _Gain(nn.Module):
    """What `SpectralNorm` has and torch's has not."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight * SpectralNorm.GAIN
