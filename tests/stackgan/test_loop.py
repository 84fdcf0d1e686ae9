"""The loop over epochs, seen by a trainer that only writes down what it is told."""

from types import SimpleNamespace
from typing import Any

from stackgan.config import StageConfig
from stackgan.loop import Progress, train_epochs


class Recorder:
    def __init__(self) -> None:
        self.config = SimpleNamespace(lr_g=0.1, lr_d=0.2)
        self.steps, self.factors, self.batches = 0, [], []  # type: int, list[float], list[Any]

    def set_learning_rates(self, factor: float) -> None:
        self.factors.append(factor)

    def step(self, batch: Any) -> None:
        self.steps += 1
        self.batches.append(batch)

    def check(self) -> None:
        pass

    def read_statistics(self) -> dict[str, float]:
        return {"loss_d": 1.0}


class Batches:
    """Three an epoch, named by epoch and place."""

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        self.names = [(epoch, place) for place in range(start, 3)]

    def __iter__(self) -> Any:
        return iter(self.names)

    def __len__(self) -> int:
        return 3


def run(stage: StageConfig, progress: Progress) -> tuple[Recorder, list[dict[str, float]]]:
    trainer: Any = Recorder()
    return trainer, [dict(row) for row in train_epochs(trainer, Batches(), stage, progress, lambda: None)]  # type: ignore[arg-type]


def test_rates_are_the_stage_s_share_of_the_common_ones_and_halve() -> None:
    trainer, rows = run(StageConfig(epochs=5, batch_size=2, lr_scale=0.5, lr_halve_epochs=2), Progress())
    assert trainer.factors == [0.5, 0.5, 0.25, 0.25, 0.125]
    assert [row["lr_g"] for row in rows] == [0.05, 0.05, 0.025, 0.025, 0.0125]
    assert [row["lr_d"] for row in rows] == [0.1, 0.1, 0.05, 0.05, 0.025]


def test_it_goes_on_in_the_middle_of_an_epoch() -> None:
    stage = StageConfig(epochs=2, batch_size=2, lr_scale=1, lr_halve_epochs=9)
    trainer, rows = run(stage, Progress(epoch=0, batch=2))
    assert trainer.batches == [(0, 2), (1, 0), (1, 1), (1, 2)]
    assert [row["epoch"] for row in rows] == [1, 2]
