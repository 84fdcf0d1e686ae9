"""Gauges of a running training, and what they mean in plain words.

All are measured in D's own features and verdicts, at the end of an epoch, on fixed pictures, captions and noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stackgan.config import TrainingConfig
from stackgan.networks import Discriminator, Generator

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Probes:
    """What the gauges look at. Pictures are float32 [N, 3, S, S] in [-1, 1], embeddings [N, T].

    `train` and `heldout` are real pictures with their captions; `groups` are real pictures of one species each;
    `captions` [C, T] are drawn with each row of `noise` [Z, noise_dim].
    """

    train: tuple[Tensor, Tensor]
    heldout: tuple[Tensor, Tensor]
    groups: Sequence[Tensor]
    captions: Tensor
    noise: Tensor

    @torch.no_grad()
    def measure(self, generator: Generator, discriminator: Discriminator) -> Figures:
        """d_train, d_heldout: D's mean verdict in 0…1 on real pictures that it trained on, and that it never saw.
        diversity: distance between pictures of one caption, relative to that between real pictures of one species."""
        was_training = discriminator.training
        discriminator.eval()
        real = [_spread(discriminator, group) for group in self.groups]
        drawn = [_spread(discriminator, self._draw(generator, caption)) for caption in self.captions]
        figures: Figures = {
            "d_train": _verdict(discriminator, *self.train),
            "d_heldout": _verdict(discriminator, *self.heldout),
            "diversity": _mean(drawn) / max(_mean(real), 1e-12),
        }
        discriminator.train(was_training)
        return figures

    def _draw(self, generator: Generator, caption: Tensor) -> Tensor:
        image: Tensor = generator(caption.expand(len(self.noise), -1), self.noise).image
        return image


def _verdict(discriminator: Discriminator, image: Tensor, embedding: Tensor) -> float:
    parts = zip(image.split(16), embedding.split(16), strict=True)
    logits = torch.cat([discriminator(*part).conditional[0] for part in parts])
    return float(torch.sigmoid(logits.float()).mean())


def _spread(discriminator: Discriminator, image: Tensor) -> float:
    """Mean distance between D's features of any two of the pictures."""
    return float(torch.pdist(discriminator.features(image).float().flatten(1)).mean())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@dataclass(frozen=True)
class Concern:
    """A state of training that needs a person. `name` identifies it, `text` says what is seen and what to try."""

    name: str
    text: str


# Judged on the mean of so many epochs, so that one odd epoch warns nobody.
WINDOW = 3
# A margin that D keeps on average: hinge asks for logits beyond ±1 and no more, bce is never satisfied.
_OVERPOWERING = {"hinge": 0.731, "bce": 0.9}
_COLLAPSED = 0.2
_MEMORISED = 0.3


def concerns(history: Sequence[Figures], config: TrainingConfig) -> list[Concern]:
    """What the last epochs give reason to say; nothing before three epochs have passed."""
    if len(history) < WINDOW:
        return []
    found: list[Concern] = []
    real, generated = _recent(history, "d_real"), _recent(history, "d_generated")
    margin = _OVERPOWERING[config.loss]
    if real > margin and generated < 1 - margin:
        found.append(
            Concern(
                "overpowered",
                f"D overpowers G: it gives real pictures {real:.2f} and generated ones {generated:.2f} of 1."
                " Try a lower lr_d, a higher lr_g, a smaller df_dim, or diffaugment",
            )
        )
    if (diversity := _recent(history, "diversity")) < _COLLAPSED:
        found.append(
            Concern(
                "collapsed",
                f"one caption's pictures are nearly alike: {diversity:.2f} of the variety of a species' real pictures."
                " Try a lower lr_g, a larger batch_size, or diffaugment [translation, cutout]",
            )
        )
    gap = _recent(history, "d_train") - _recent(history, "d_heldout")
    if gap > _MEMORISED:
        found.append(
            Concern(
                "memorised",
                f"D knows its training pictures by heart: it gives them {gap:.2f} more than unseen real ones."
                " Try diffaugment [translation, cutout], a smaller df_dim, fewer epochs, or more species",
            )
        )
    return found


def _recent(history: Sequence[Figures], name: str) -> float:
    values = [figures[name] for figures in history[-WINDOW:]]
    return _mean([value for value in values if value is not None])
