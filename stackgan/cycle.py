"""Training in epochs under one cycle of the learning rate, that can stop and resume between any two epochs.

Shared by what evaluation and text are taught by: judge, probe and text encoders. The GAN's own loop is `loop.py`.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from stackgan.errors import UserError

WEIGHT_DECAY = 0.05


class CycleTraining:
    """AdamW whose rate rises over the first steps and falls to 0 by half a cosine. A subclass says what a batch is and
    what loss it has.

    Epoch e takes its batches and all else that is random from (seed, e) alone, so that a resumed training ends in the
    same weights as one that never stopped.
    """

    what: ClassVar[str]  # whose loss it is, for messages: the section of its params
    warm_up: ClassVar[float]  # share of the steps in which the rate rises
    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    clip: ClassVar[float] = math.inf  # greatest norm of a step's gradients

    def __init__(self, model: nn.Module, *, epochs: int, lr: float, seed: int) -> None:
        self.model, self.epochs, self.lr, self.seed = model, epochs, lr, seed
        self.device = next(model.parameters()).device
        self.epoch = self.step = 0
        decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=lr, betas=self.betas, fused=True)

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        """The batches of one epoch, each a tensor of indices."""
        raise NotImplementedError

    def loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of one batch, a scalar."""
        raise NotImplementedError

    def after_step(self) -> None:
        """What follows every step; nothing if not said otherwise."""

    def run_epoch(self) -> float:
        """Train on every batch once; the mean loss over the epoch. One that is not finite is a `UserError`."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        batches = self.batches(generator)
        self.model.train()
        total = 0.0
        for batch in batches:
            for group in self.optimizer.param_groups:
                group["lr"] = self.lr * self._cycle(self.step / (self.epochs * len(batches)))
            loss = self.loss(batch, generator)
            self.optimizer.zero_grad()
            loss.backward()
            if self.clip < math.inf:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
            self.optimizer.step()
            self.step += 1
            self.after_step()
            total += float(loss.detach())
        if not math.isfinite(total):
            raise UserError(
                f"{self.what}: the loss of epoch {self.epoch + 1} is no finite number: lower {self.what}.lr"
            )
        self.epoch += 1
        return total / len(batches)

    def _cycle(self, progress: float) -> float:
        return min(1.0, progress / self.warm_up + 0.01) * 0.5 * (1 + math.cos(math.pi * progress))

    def state(self) -> dict[str, Any]:
        """All that `restore` needs to go on from here."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step = state["epoch"], state["step"]
