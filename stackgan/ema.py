"""Exponential moving average of a generator: the copy that is kept, sampled from and shipped."""

import copy
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class Ema(Generic[Network]):
    """Averages a network's weights, and its batch-norm statistics with them, since they belong to those weights.

    The decay ramps up as (1 + n) / (10 + n): early on the average follows closely instead of remembering the
    initialisation. Decay 0 gives the network itself.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, network: Network, steps: int) -> None:
        """Take in `network` after its `steps`-th step (counted from 1)."""
        pull = 1.0 - min(self.decay, (1 + steps) / (10 + steps))
        averaged, current = _tensors(self.network), _tensors(network)
        floats = [i for i, tensor in enumerate(averaged) if tensor.is_floating_point()]
        torch._foreach_lerp_([averaged[i] for i in floats], [current[i].detach() for i in floats], pull)


def _tensors(network: nn.Module) -> list[Tensor]:
    return cast("list[Tensor]", list(network.state_dict(keep_vars=True).values()))
