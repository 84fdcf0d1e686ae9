"""How good drawn pictures are, in numbers: pure functions on feature tensors.

Features are float tensors [N, F] of one judge, a row a picture. Distances are Euclidean, in double precision, so that
copies are at distance zero. Every figure needs company to mean anything: compare it with the same figure of real
pictures (the floor) and of noise or an untrained generator (the ceiling), at equal N.
"""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn

NEIGHBOURS = 5  # k of precision, recall, density and coverage, as Naeem et al. recommend for density and coverage
COLLAPSE_QUANTILE = 0.01  # a real picture is nearer to another than the collapse threshold this often
ROWS = 1024  # rows of a distance matrix held in memory at a time


class Manifold(NamedTuple):
    """See `manifold`."""

    precision: float
    recall: float
    density: float
    coverage: float


class _Ready(nn.Module):
    """Stands where torchmetrics wants a network: the features are made already."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.num_features = dimensions

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """FID: |μr − μg|² + tr(Σr + Σg − 2 (Σr Σg)^½) between Gaussians fitted to both sets (Heusel et al., 2017).

    In squared feature units; 0 is best, no upper limit. Biased upwards, more so for small N: compare equal N only. With
    fewer pictures than dimensions the covariances are singular and the figure mostly measures N, so that the judge has
    a modest F.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance  # here: it takes seconds to import

    fid = FrechetInceptionDistance(feature=_Ready(real.shape[1]))
    fid.update(real.double(), real=True)
    fid.update(generated.double(), real=False)
    distance = float(fid.compute())
    return 0.0 if distance < 0 else distance  # not by max, which takes NaN for 0


def kernel_distance(real: Tensor, generated: Tensor) -> float:
    """KID: squared maximum mean discrepancy under the kernel (x·y / F + 1)³ (Bińkowski et al., 2018).

    Unbiased, so that 0 is what equal distributions give on average, at any N, and slightly negative values occur.
    Computed once over all pictures (the larger set cut to the smaller one's N) instead of over random subsets.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    n = min(len(real), len(generated))
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # it announces to keep all features
        kid = KernelInceptionDistance(feature=_Ready(real.shape[1]), subsets=1, subset_size=n)
    kid.update(real[:n].double(), real=True)
    kid.update(generated[:n].double(), real=False)
    with torch.random.fork_rng(devices=[]):  # it permutes by the global generator, which moves the last digits
        torch.manual_seed(0)
        return float(kid.compute()[0])


def manifold(real: Tensor, generated: Tensor, k: int = NEIGHBOURS) -> Manifold:
    """Fidelity and variety apart, each picture standing for a ball that reaches to its k-th neighbour in its own set.

    precision  share of generated pictures inside some real picture's ball        [0, 1]  (Kynkäänniemi et al., 2019)
    recall     share of real pictures inside some generated picture's ball        [0, 1]  (the same)
    density    real balls around a generated picture, on average, over k          [0, ∞), 1 expected of real pictures
    coverage   share of real pictures with a generated one inside their own ball  [0, 1]  (both: Naeem et al., 2020)

    All depend on N and k: compare equal N and k only. Of a set of N ≤ k pictures k is N - 1.
    """
    k = min(k, len(real) - 1, len(generated) - 1)
    real_radius = neighbour_distances(real, k=k)
    generated_radius = neighbour_distances(generated, k=k)
    balls_around = torch.zeros(len(generated), dtype=torch.double, device=generated.device)
    recalled, covered = [], []
    for rows, radius in zip(real.split(ROWS), real_radius.split(ROWS), strict=True):
        distance = _distances(rows, generated)
        inside = distance <= radius[:, None]
        balls_around += inside.sum(0)
        covered.append(inside.any(1))
        recalled.append((distance <= generated_radius[None]).any(1))
    return Manifold(
        precision=_share(balls_around > 0),
        recall=_share(torch.cat(recalled)),
        density=float(balls_around.mean()) / k,
        coverage=_share(torch.cat(covered)),
    )


def accuracy(logits: Tensor, targets: Tensor, top: int = 1) -> float:
    """Share of rows of `logits` [N, S] whose target [N] is among the `top` highest, in [0, 1]; chance is top / S."""
    best = logits.topk(min(top, logits.shape[1])).indices
    return _share((best == targets[:, None]).any(1))


def spread(groups: Tensor) -> float:
    """Mean distance between two pictures of one group, over groups: `groups` [G, K, F], K ≥ 2. 0 = all alike."""
    k = groups.shape[1]
    return float(_distances(groups, groups).sum((1, 2)).mean()) / (k * (k - 1))


def species_spread(features: Tensor, species: Tensor) -> float | None:
    """Mean distance between two pictures [N, F] of one species [N], over the species that have two or more; None where
    none has."""
    groups = [features[species == each] for each in species.unique()]
    spreads = [spread(group[None]) for group in groups if len(group) > 1]
    return sum(spreads) / len(spreads) if spreads else None


def collapse_rate(real: Tensor, generated: Tensor) -> float:
    """Share of generated pictures whose nearest other generated picture is nearer than real pictures hardly ever are.

    "Hardly ever" is the first percentile of the distances between a real picture and its nearest other real one, copies
    left out. In [0, 1]: 0.01 is expected of as many real pictures, 1 of one picture repeated. More pictures lie nearer:
    compare equal N.
    """
    apart = neighbour_distances(real)
    apart = apart[apart > 0]
    threshold = apart.quantile(COLLAPSE_QUANTILE) if len(apart) else torch.zeros(())
    return _share(neighbour_distances(generated) <= threshold)


def memorisation_ratio(drawn: Tensor, real: Tensor) -> float | None:
    """Median distance [N] from a drawn picture to the nearest training picture, over that of real pictures [M].

    The real pictures should be such as neither the generator's training nor, as far as may be, the judge's has seen:
    `distances_to` of test pictures, or `neighbour_distances` of training pictures where their own captions are drawn.
    0 = copies of training pictures; near 1 = no nearer to them than real pictures are; above 1 = unlike any real
    picture, which bad pictures are too. None where half of the real pictures are copies themselves.
    """
    usual = float(real.median())
    return float(drawn.median()) / usual if usual else None


def neighbour_distances(features: Tensor, k: int = 1) -> Tensor:
    """Distance of each picture [N, F] to its k-th nearest other picture of the same set: double [N]; needs N > k."""
    parts = features.split(ROWS)
    return torch.cat([_distances(part, features).topk(k + 1, largest=False).values[:, k] for part in parts])


def distances_to(training: Tensor, features: Tensor) -> Tensor:
    """Distance of each picture [N, F] to the nearest training picture [M, F]: double [N]."""
    return torch.cat([_distances(part, training).amin(1) for part in features.split(ROWS)])


def nearest(training: Tensor, features: Tensor, k: int = 1) -> Tensor:
    """Indices of the k training pictures [M, F] that are nearest to each picture [N, F]: [N, k], nearest first."""
    return torch.cat([_distances(part, training).topk(k, largest=False).indices for part in features.split(ROWS)])


def _distances(first: Tensor, second: Tensor) -> Tensor:
    """Distances of every row of `first` [..., N, F] to every one of `second` [..., M, F]: double [..., N, M]."""
    # By way of a matrix product, which is faster, copies would be a rounding apart.
    return torch.cdist(first.double(), second.double(), compute_mode="donot_use_mm_for_euclid_dist")


def _share(condition: Tensor) -> float:
    return float(condition.double().mean())
