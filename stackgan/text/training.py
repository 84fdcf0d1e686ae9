"""Training in epochs that can stop and resume between any two; shared by the ways to train a char-CNN-RNN."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from stackgan.errors import UserError

WARM_UP = 0.05  # share of the steps in which the learning rate rises; from there half a cosine, down to 0
WEIGHT_DECAY = 0.05
CLIP = 1.0


class Training:
    """AdamW under one cycle of the learning rate. A subclass says what a batch is and what loss it has.

    Epoch e takes its batches and all else that is random from (seed, e) alone, so that a resumed training ends in the
    same weights as one that never stopped.
    """

    def __init__(self, model: nn.Module, *, epochs: int, lr: float, seed: int) -> None:
        self.model, self.epochs, self.lr, self.seed = model, epochs, lr, seed
        self.device = next(model.parameters()).device
        self.epoch = self.step = 0
        decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        """The batches of one epoch, each a tensor of indices."""
        raise NotImplementedError

    def loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of one batch, a scalar."""
        raise NotImplementedError

    def run_epoch(self) -> float:
        """Train on every batch once; the mean loss over the epoch. One that is not finite is a `UserError`."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        batches = self.batches(generator)
        self.model.train()
        total = 0.0
        for batch in batches:
            for group in self.optimizer.param_groups:
                group["lr"] = self.lr * _cycle(self.step / (self.epochs * len(batches)))
            loss = self.loss(batch, generator)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
            self.optimizer.step()
            self.step += 1
            total += float(loss.detach())
        if not math.isfinite(total):
            raise UserError(f"the text encoder's loss in epoch {self.epoch + 1} is no finite number: lower its lr")
        self.epoch += 1
        return total / len(batches)

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


def _cycle(progress: float) -> float:
    return min(1.0, progress / WARM_UP + 0.01) * 0.5 * (1 + math.cos(math.pi * progress))
