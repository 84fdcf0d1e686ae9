"""The loop over a stage's epochs. Files and terminal are its caller's business, between steps and between epochs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from stackgan.config import StageConfig
from stackgan.monitor import Figures
from stackgan.reader import Loader
from stackgan.training import Trainer


@dataclass
class Progress:
    """How far a run is: `epoch` whole epochs and `batch` batches of the next, with one row of figures per epoch."""

    epoch: int = 0
    batch: int = 0
    history: list[Figures] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "batch": self.batch, "history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.batch, self.history = state["epoch"], state["batch"], state["history"]


def train_epochs(
    trainer: Trainer, loader: Loader, stage: StageConfig, progress: Progress, on_step: Callable[[], None]
) -> Iterator[Figures]:
    """Train from where `progress` stands to the last epoch; yield each epoch's figures when it is over.

    They are the row that `progress.history` keeps, so that what is added to it stays. `on_step` runs after every step
    and may raise to stop. A loss that is not finite is a `UserError` at the end of the epoch at the latest.
    """
    while progress.epoch < stage.epochs:
        factor = stage.lr_scale * 0.5 ** (progress.epoch // stage.lr_halve_epochs)
        trainer.set_learning_rates(factor)
        loader.set_epoch(progress.epoch, start=progress.batch)
        for batch in loader:
            trainer.step(batch)
            progress.batch += 1
            on_step()
        trainer.check()
        progress.epoch, progress.batch = progress.epoch + 1, 0
        figures: Figures = {"epoch": progress.epoch, "steps": trainer.steps}
        figures |= {"lr_g": trainer.config.lr_g * factor, "lr_d": trainer.config.lr_d * factor}
        figures |= trainer.read_statistics()
        progress.history.append(figures)
        yield figures
