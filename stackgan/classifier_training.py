"""Training of a classifier on few pictures: strong augmentation, smoothed labels, averaged weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stackgan.classifier import SMOOTHING, Network, normalise
from stackgan.cycle import CycleTraining
from stackgan.ema import Ema
from stackgan.judge_config import JudgeConfig
from stackgan.views import Views, augment, roughen

AVERAGING = 0.99  # decay per step of the averaged weights; less in the first steps
JUDGE_VIEWS = Views(recolour=0.3)  # colours in photographs depend on the light
# A probe must not be taught that colours do not matter, and has to find the parts of clumsily drawn birds too.
PROBE_VIEWS = Views(recolour=0.1, rough=True)
# Of the judge's epochs. Trained as long as the judge, a probe gets used to clean outlines, and takes for the head of a
# drawn bird what lies above it.
PROBE_SHARE = 0.5


class ClassifierTraining(CycleTraining):
    """`average` is what it makes. `crops` are uint8 [N, 3, S, S] framed like the shards' crops, `targets` int64 [N] for
    each question."""

    what = "judge"
    warm_up = 0.1

    def __init__(
        self,
        network: Network,
        crops: Tensor,
        targets: Mapping[str, Tensor],
        config: JudgeConfig,
        views: Views,
    ) -> None:
        super().__init__(network, epochs=config.epochs, lr=config.lr, seed=config.seed)
        self.size = network.size
        self.average: Ema[torch.nn.Module] = Ema(network, AVERAGING)
        self.crops, self.targets, self.batch_size, self.views = crops, targets, config.batch_size, views

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        """All pictures in random order."""
        order = torch.randperm(len(self.crops), generator=generator)
        # A last batch of one picture would have no variance to normalise by.
        return [batch for batch in order.split(self.batch_size) if len(batch) > 1]

    def loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        images = augment(self.crops[batch].to(self.device), self.size, self.views.recolour, generator)
        if self.views.rough:
            half = len(images) // 2
            images = torch.cat([roughen(images[:half], generator), images[half:]])
        logits = self.model(normalise(images)).logits
        losses = [
            F.cross_entropy(logits[question], target[batch].to(self.device), label_smoothing=SMOOTHING)
            for question, target in self.targets.items()
        ]
        return torch.stack(losses).mean()

    def after_step(self) -> None:
        self.average.update(self.model, self.step)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "average": self.average.network.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.average.network.load_state_dict(state["average"])
