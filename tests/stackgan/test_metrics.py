"""The metrics on feature tensors whose answers are known."""

import math

import pytest
import torch
from torch import Tensor

from stackgan import metrics


def gaussian(n: int, dimensions: int = 4, mean: float = 0.0, scale: float = 1.0, seed: int = 0) -> Tensor:
    return torch.randn(n, dimensions, generator=torch.Generator().manual_seed(seed)) * scale + mean


def test_frechet_distance_is_that_of_the_gaussians() -> None:
    real, drawn = gaussian(20_000, seed=1), gaussian(20_000, mean=2.0, scale=3.0, seed=2)
    assert metrics.frechet_distance(real, drawn) == pytest.approx(4 * 2.0**2 + 4 * (3.0 - 1.0) ** 2, rel=0.03)
    assert metrics.frechet_distance(real, real) == pytest.approx(0, abs=1e-3)


def test_nothing_measured_is_no_perfect_distance() -> None:
    assert math.isnan(metrics.frechet_distance(gaussian(20), gaussian(20) * float("nan")))


def test_frechet_distance_shrinks_with_n_where_kernel_distance_stays_at_zero() -> None:
    def both(n: int) -> tuple[float, float]:
        real, drawn = gaussian(n, 16, seed=1), gaussian(n, 16, seed=2)
        return metrics.frechet_distance(real, drawn), metrics.kernel_distance(real, drawn)

    (few, few_kernel), (many, many_kernel) = both(50), both(2000)
    assert few > 10 * many
    assert abs(few_kernel) < 0.05 and abs(many_kernel) < 0.05


def test_kernel_distance_by_hand() -> None:
    real, drawn = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    # k(x, y) = (x·y / 2 + 1)³: both off-diagonal terms within a set are 1, across it is 2³ twice and 1 twice.
    assert metrics.kernel_distance(real, drawn) == pytest.approx(1 + 1 - 2 * (8 + 8 + 1 + 1) / 4)


def test_kernel_distance_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    metrics.kernel_distance(gaussian(10), gaussian(12))
    assert torch.equal(torch.rand(2), expected)


def test_manifold_of_equal_distributions() -> None:
    result = metrics.manifold(gaussian(600, seed=1), gaussian(600, seed=2))
    assert result.precision > 0.9 and result.recall > 0.9 and result.coverage > 0.9
    assert result.density == pytest.approx(1, abs=0.1)


def test_manifold_tells_fidelity_from_variety() -> None:
    real = gaussian(500, seed=1)
    narrow = metrics.manifold(real, gaussian(500, scale=0.2, seed=2))
    wide = metrics.manifold(real, gaussian(500, scale=4.0, seed=2))
    assert narrow.precision == 1 and narrow.recall < 0.2 and narrow.coverage < 0.5 and narrow.density > 1
    assert wide.precision < 0.4 and wide.recall > 0.8 and wide.density < 0.3


def test_manifold_by_hand() -> None:
    real, drawn = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.5], [9.0], [10.0]])
    # With k = 1 the real radii are 1, 1, 2 and the drawn ones 8.5, 1, 1; 0.5 lies in two real balls.
    assert metrics.manifold(real, drawn, k=1) == pytest.approx((1 / 3, 1.0, 2 / 3, 2 / 3))


def test_accuracy_counts_the_best_answers() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [2.0, 3.0, 1.0]])
    targets = torch.tensor([0, 1, 2])
    assert metrics.accuracy(logits, targets) == pytest.approx(1 / 3)
    assert metrics.accuracy(logits, targets, top=2) == pytest.approx(2 / 3)
    assert metrics.accuracy(logits, targets, top=5) == 1
    assert metrics.accuracy(logits, torch.tensor([-1, -1, -1])) == 0  # species unknown to the judge


def test_spread_is_the_mean_distance_within_groups() -> None:
    groups = torch.tensor([[[0.0], [1.0], [3.0]], [[5.0], [5.0], [5.0]]])
    assert metrics.spread(groups) == pytest.approx((2 + 0) / 2)


def test_species_spread_leaves_out_single_pictures() -> None:
    features, species = torch.tensor([[0.0], [4.0], [9.0]]), torch.tensor([7, 7, 8])
    assert metrics.species_spread(features, species) == pytest.approx(4)
    assert metrics.species_spread(features[1:], species[1:]) is None


def test_collapse_rate() -> None:
    real = gaussian(400, seed=1)
    assert metrics.collapse_rate(real, real) == pytest.approx(0.01)
    assert metrics.collapse_rate(real, gaussian(400, seed=2)) < 0.05
    assert metrics.collapse_rate(real, real[:1].expand(400, -1)) == 1
    copied = torch.cat([real, real[:8]])  # as scraped data has them
    assert metrics.collapse_rate(copied, real[:1].expand(400, -1)) == 1
    assert metrics.collapse_rate(real[:1].expand(9, -1), real[:1].expand(9, -1)) == 1
    half = torch.cat([gaussian(200, seed=2), real[:1].expand(200, -1)])
    assert metrics.collapse_rate(real, half) == pytest.approx(0.5, abs=0.03)


def test_memorisation_ratio() -> None:
    training, unseen = gaussian(400, seed=1), gaussian(200, seed=2)

    def ratio(drawn: Tensor) -> float:
        value = metrics.memorisation_ratio(
            metrics.distances_to(training, drawn), metrics.distances_to(training, unseen)
        )
        assert value is not None
        return value

    assert ratio(training[:50]) == 0
    assert ratio(unseen) == 1
    assert ratio(gaussian(200, seed=3)) == pytest.approx(1, abs=0.15)
    assert ratio(training + 0.05) < 0.4
    assert metrics.memorisation_ratio(torch.ones(3), torch.zeros(3)) is None


def test_neighbours_of_equal_sets_are_as_far_as_new_pictures() -> None:
    training = gaussian(400, seed=1)
    own = metrics.neighbour_distances(training)
    assert metrics.memorisation_ratio(metrics.distances_to(training, gaussian(400, seed=2)), own) == pytest.approx(
        1, abs=0.1
    )


def test_copies_are_at_distance_zero_even_far_from_the_origin() -> None:
    features = gaussian(300, 64, mean=100.0)
    assert metrics.distances_to(features, features).max() == 0
    assert metrics.neighbour_distances(features.repeat(2, 1)).max() == 0
    assert metrics.spread(features[:1].expand(5, -1)[None]) == 0
    # Each ball reaches exactly to its k-th neighbour, and holds the copy of its own picture too.
    assert metrics.manifold(features, features, k=5).density == pytest.approx(6 / 5, abs=1e-12)


def test_nearest_gives_the_nearest_first() -> None:
    training = torch.tensor([[0.0], [10.0], [4.0]])
    assert metrics.nearest(training, torch.tensor([[3.0], [9.0]]), k=2).tolist() == [[2, 0], [1, 2]]


def test_more_rows_than_fit_at_once_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, drawn = gaussian(50, seed=1), gaussian(45, seed=2)

    def figures() -> list[float]:
        distance = float(metrics.distances_to(real, drawn).sum())
        return [*metrics.manifold(real, drawn), metrics.collapse_rate(real, drawn), distance]

    whole = figures()
    monkeypatch.setattr(metrics, "ROWS", 7)
    assert figures() == pytest.approx(whole)
    assert not any(math.isnan(value) for value in whole)
