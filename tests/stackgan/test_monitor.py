import pytest
import torch

from stackgan.monitor import Figures, Probes, concerns
from stackgan.networks import Discriminator, Stage1Generator
from tests.stackgan.recipes import network, training

HEALTHY: Figures = {
    "d_real": 0.65,
    "d_generated": 0.4,
    "d_train": 0.65,
    "d_heldout": 0.6,
    "diversity": 0.9,
}


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ({}, []),
        ({"d_real": 0.8, "d_generated": 0.2}, ["overpowered"]),
        ({"d_real": 0.8, "d_generated": 0.4}, []),
        ({"diversity": 0.05}, ["collapsed"]),
        ({"d_train": 0.9, "d_heldout": 0.4}, ["memorised"]),
    ],
)
def test_warnings_name_what_is_wrong_and_what_to_try(figures: Figures, expected: list[str]) -> None:
    history = [HEALTHY | figures] * 3
    found = concerns(history, training())
    assert [concern.name for concern in found] == expected
    assert all("Try" in concern.text for concern in found)
    assert concerns(history[:2], training()) == []


def test_one_odd_epoch_warns_nobody() -> None:
    odd = HEALTHY | {"diversity": 0.1, "d_train": 0.9}
    assert concerns([HEALTHY, HEALTHY, odd], training()) == []


def test_bce_is_overpowered_later_than_hinge() -> None:
    history = [HEALTHY | {"d_real": 0.8, "d_generated": 0.2}] * 3
    assert concerns(history, training(loss="bce")) == []


def test_gauges_look_at_pictures_as_d_does() -> None:
    torch.manual_seed(0)
    generator = Stage1Generator(network(), 16).eval()
    discriminator = Discriminator(network(sharpen=2.0), 16, 64)
    real = (torch.rand(4, 3, 64, 64) * 2 - 1, torch.randn(4, 16))
    probes = Probes(real, real, [real[0]], torch.randn(2, 16), torch.randn(4, network().noise_dim))
    seen: list[torch.Tensor] = []
    discriminator.encode.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    probes.measure(generator, discriminator)
    sharpened = discriminator.sharpen(real[0])
    assert torch.equal(seen[0], sharpened)
    assert not torch.equal(sharpened, real[0])


def test_diversity_is_nought_where_noise_changes_nothing_and_positive_elsewhere() -> None:
    torch.manual_seed(0)
    generator = Stage1Generator(network(), 16).eval()
    discriminator = Discriminator(network(), 16, 64)
    real = (torch.rand(4, 3, 64, 64) * 2 - 1, torch.randn(4, 16))
    probes = Probes(real, real, [real[0]], torch.randn(2, 16), torch.randn(4, network().noise_dim))
    figures = probes.measure(generator, discriminator)
    assert discriminator.training
    assert figures["diversity"] is not None
    assert figures["diversity"] > 0
    assert figures["d_train"] == figures["d_heldout"]
    alike = Probes(real, real, [real[0]], torch.randn(2, 16), torch.zeros(4, network().noise_dim))
    assert alike.measure(generator, discriminator)["diversity"] == pytest.approx(0, abs=1e-4)
    assert probes.measure(generator, discriminator) == figures
