"""A training by epochs, resumed where a killed run left it."""

from pipeline import console
from pipeline.checkpoints import Checkpoints
from stackgan.cycle import CycleTraining


def fit(training: CycleTraining, checkpoints: Checkpoints, name: str) -> None:
    """Train to the last epoch; `name` is what the terminal calls it.

    The last epoch is saved too: what follows it may be killed as well.
    """
    checkpoints.claim()
    if checkpoints.restore(training.restore):
        console.info(f"{name}: goes on after epoch {training.epoch}")
    for _ in console.track(range(training.epoch, training.epochs), f"{name}, epochs"):
        training.run_epoch()
        if checkpoints.due() or training.epoch == training.epochs:
            checkpoints.save(training.epoch, training.state())
