from typing import cast

import torch
from torch import Tensor, nn

from stackgan.ema import Ema


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.norm(self.linear(x)))


def test_the_average_follows_weights_and_batch_norm_statistics() -> None:
    network = _Network()
    ema = Ema(network, 0.9)
    first = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.add_(1)
    ema.update(network, steps=10_000)
    for name, tensor in ema.network.state_dict().items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, first[name] + 0.1, atol=1e-6), name


def test_early_averages_forget_the_initialisation() -> None:
    network = _Network()
    ema = Ema(network, 0.999)
    with torch.no_grad():
        network.linear.weight.add_(1)
    distance = (network.linear.weight - ema.network.linear.weight).mean()
    ema.update(network, steps=1)
    assert torch.allclose((network.linear.weight - ema.network.linear.weight).mean(), distance * 2 / 11)


def test_no_decay_is_the_network_itself() -> None:
    network = _Network()
    ema = Ema(network, 0.0)
    network(torch.randn(8, 3))
    with torch.no_grad():
        network.linear.weight.normal_()
    ema.update(network, steps=1)
    for name, tensor in ema.network.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, network.state_dict()[name]), name


def test_the_average_neither_trains_nor_shares_memory() -> None:
    network = _Network()
    ema = Ema(network, 0.5)
    assert not ema.network.training
    assert not any(parameter.requires_grad for parameter in ema.network.parameters())
    assert ema.network.linear.weight.data_ptr() != network.linear.weight.data_ptr()
