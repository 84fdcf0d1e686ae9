"""What stages `stage1` and `stage2` share: one resumable, watched training that ends in a model folder and a report."""

import csv
import io
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from pipeline import console
from pipeline.album import Album, choose_captions, choose_probes, snapshot_epochs
from pipeline.checkpoints import Checkpoints, fingerprint
from pipeline.display import Display
from pipeline.files import atomic_folder, atomic_write, write_json
from pipeline.launch import fabric, loading_processes
from pipeline.paths import Paths
from pipeline.pictures import curves
from pipeline.shard_folder import shard_folder
from pipeline.stopping import StopRequest, stop_request
from stackgan.checkpoint import StageCard, save_stage
from stackgan.config import NetworkConfig, StageConfig, TrainingConfig
from stackgan.errors import UserError
from stackgan.loop import Progress, train_epochs
from stackgan.monitor import Figures, concerns
from stackgan.networks import STAGE_SIZES, Discriminator, Generator
from stackgan.reader import Loader, loader, samples
from stackgan.training import STATISTICS, Trainer

if TYPE_CHECKING:
    from pipeline.params import Params

REPORT_SECONDS = 30  # least time between two reports of a running training, each of which takes it a second or two
AGREE_EVERY = 10  # steps; how often processes tell each other whether one was asked to stop
FORMAT = 8  # raise it when equal params and data make other weights, or checkpoints hold something else
_DATA_PARAMS = ("seed", "transform", "captions_per_sample")
_OF_STAGE2 = {"residual_blocks": 0, "stage1_skip": False}  # shapes that Stage I has not
_NOT_OF_STAGE1 = {*_OF_STAGE2, "redraw_weight"}  # for which it need not train anew
_PANELS = {
    "Losses": ("loss_d", "loss_g"),
    "What D takes for real": ("d_real", "d_heldout", "d_mismatched", "d_generated"),
    "L1 of redrawn real pictures": ("redraw_l1",),
    "Conditioning": ("kl", "sigma"),
    "Variety of one caption's pictures": ("diversity",),
}
_FINAL = (*STATISTICS, "d_train", "d_heldout", "diversity")

Part = TypeVar("Part", NetworkConfig, TrainingConfig)

BuildGenerator = Callable[[NetworkConfig, int], Generator]


def train_stage(number: int, params: "Params", build: BuildGenerator, inputs: tuple[Path, ...] = ()) -> None:
    """Train Stage `number` and write its outs. `build` makes the generator; `inputs` are files that it depends on."""
    size, paths = STAGE_SIZES[number], Paths(params.preset)
    shards = shard_folder(params, size)
    machine = fabric(params.runtime)
    run = StageRun(number, params, machine, shards, build)
    values = _identity(number, params)
    checkpoints = Checkpoints(
        f"stage{number}", fingerprint(values, [shards / "index.json", *inputs]), params.runtime.checkpoint_seconds
    )
    if machine.is_global_zero:
        checkpoints.claim()
    machine.barrier()
    # The first process's, so that a node without the file does not begin anew while the others go on.
    if checkpoints.restore(
        run.load_state_dict, share=lambda load: machine.broadcast(load() if machine.is_global_zero else None)
    ):
        run.say(f"Stage {'I' * number} goes on after step {run.trainer.steps}")
    with stop_request() as stop:
        run.train(checkpoints, stop)
    if machine.is_global_zero:
        run.write_model(paths.stage(number))
        run.write_report()
        write_json(paths.stage_metrics(number), run.final_figures())
        checkpoints.remove()
    machine.barrier()


class StageRun:
    """One training with everything that a person sees of it."""

    def __init__(self, number: int, params: "Params", machine: Fabric, shards: Path, build: BuildGenerator) -> None:
        self.number, self.machine = number, machine
        self.stage: StageConfig = params.stage1 if number == 1 else params.stage2
        self.report = Paths(params.preset).stage_report(number)
        self.loader = stage_loader(shards, STAGE_SIZES[number], self.stage.batch_size, params, machine)
        network = part(params, NetworkConfig).model_copy(update=_OF_STAGE2 if number == 1 else {})
        dimensions = next(iter(samples(shards, "train", size=STAGE_SIZES[number]))).embeddings.shape[1]
        self.card = StageCard(stage=number, embedding_dim=dimensions, network=network)
        self.trainer = Trainer(
            machine,
            build(network, dimensions),
            Discriminator(network, dimensions, STAGE_SIZES[number]),
            part(params, TrainingConfig),
            params.seed,
        )
        captions = choose_captions(shards, STAGE_SIZES[number])
        self.album = Album(captions, network.noise_dim, params.seed, machine.device)
        self.probes = choose_probes(shards, STAGE_SIZES[number], captions, self.album.noise)
        self.progress = Progress()
        self._warned: set[str] = set()
        self._reported = time.monotonic()

    def train(self, checkpoints: Checkpoints, stop: StopRequest) -> None:
        steps = len(self.loader) * self.stage.epochs
        title, batch = f"Stage {'I' * self.number}", self.stage.batch_size
        quiet = not self.machine.is_global_zero
        with Display(title, self.stage.epochs, steps, self.trainer.steps, batch, quiet=quiet) as display:

            def on_step() -> None:
                display.step(self.progress.epoch, self.trainer.peek_statistics)
                if asked := self.asked_to_stop(stop):
                    self.halt(checkpoints, asked)
                if not quiet and checkpoints.due():
                    self.save(checkpoints)

            for figures in train_epochs(self.trainer, self.loader, self.stage, self.progress, on_step):
                if not quiet:
                    self.look(figures)
                display.epoch(figures)
            if asked := self.asked_to_stop(stop, now=True):  # it came when the last step was done
                self.halt(checkpoints, asked)

    def halt(self, checkpoints: Checkpoints, number: int) -> None:
        self.save(checkpoints)
        self.machine.barrier()  # whoever leaves earlier takes the rank that still saves down with it
        self.say(f"Stage {'I' * self.number} stopped after step {self.trainer.steps}; run again to go on")
        raise SystemExit(128 + number)

    def asked_to_stop(self, stop: StopRequest, *, now: bool = False) -> int:
        """The signal that asked any process to stop, or 0: all stop after the same step, so that none waits for another
        that has gone. They tell each other every few steps, and `now`."""
        if self.machine.world_size == 1:
            return stop.signal or 0
        if not now and self.trainer.steps % AGREE_EVERY:
            return 0
        signals = torch.tensor(stop.signal or 0, device=self.machine.device)
        return int(cast("Tensor", self.machine.all_reduce(signals, reduce_op="max")))

    def look(self, figures: Figures) -> None:
        """After an epoch: measure, keep pictures, warn."""
        generator = self.trainer.ema.network
        figures.update(self.probes.measure(generator, self.trainer.bare_discriminator))
        if figures["epoch"] in snapshot_epochs(self.stage.epochs):
            self.album.snapshot(self.progress.epoch, generator)
            if time.monotonic() - self._reported > REPORT_SECONDS:
                self.write_report()
                self._reported = time.monotonic()
        for concern in concerns(self.progress.history, self.trainer.config):
            if concern.name not in self._warned:
                self._warned.add(concern.name)
                console.warn(f"epoch {self.progress.epoch}: {concern.text}")

    def save(self, checkpoints: Checkpoints) -> None:
        self.trainer.check()
        if self.machine.is_global_zero:
            checkpoints.save(self.trainer.steps, self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return {
            "trainer": self.trainer.state_dict(),
            "progress": self.progress.state_dict(),
            "frames": self.album.frames,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.trainer.load_state_dict(state["trainer"])
        self.progress.load_state_dict(state["progress"])
        self.album.frames = state["frames"]

    def write_model(self, folder: Path) -> None:
        with atomic_folder(folder) as temporary:
            save_stage(temporary, self.card, self.trainer.ema.network, self.trainer.bare_discriminator)

    def write_report(self) -> None:
        """Everything there is to look at so far, so that a running training can be followed in the files too."""
        history = self.progress.history
        table = io.StringIO()
        writer = csv.DictWriter(table, list(history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        atomic_write(self.report / "history.csv", table.getvalue())
        epochs = [float(row["epoch"] or 0) for row in history]
        panels = {title: {name: _column(history, name) for name in names} for title, names in _PANELS.items()}
        measured = {title: lines for title, lines in panels.items() if not np.isnan([*lines.values()]).all()}
        curves(self.report / "curves.png", epochs, measured, f"Stage {'I' * self.number}")
        self.album.write(self.report, self.number, self.trainer.ema.network)

    def final_figures(self) -> Figures:
        last = self.progress.history[-1]
        return {name: last[name] for name in _FINAL if last[name] is not None}

    def say(self, message: str) -> None:
        if self.machine.is_global_zero:
            console.info(message)


def stage_loader(shards: Path, size: int, batch_size: int, params: "Params", machine: Fabric) -> Loader:
    """This process's share of training batches of `batch_size` pictures in all."""
    share, left = divmod(batch_size, machine.world_size)
    if left or share < 2:  # batch norm needs two
        raise UserError(
            f"batch_size {batch_size} cannot be shared by {machine.world_size} devices, two pictures or more for each: "
            "choose a multiple"
        )
    return loader(
        shards,
        "train",
        batch_size=share,
        size=size,
        seed=params.seed,
        transform=params.transform,
        captions=params.captions_per_sample,
        workers=loading_processes(params.runtime, machine),
        pin=machine.device.type == "cuda",
        rank=machine.global_rank,
        world=machine.world_size,
    )


def _identity(number: int, params: "Params") -> dict[str, Any]:
    """Everything but files that determines the training: what the stage's DVC params name."""
    names = {*NetworkConfig.model_fields, *TrainingConfig.model_fields, f"stage{number}", *_DATA_PARAMS}
    names -= _NOT_OF_STAGE1 if number == 1 else set()
    return {"format": FORMAT, **params.model_dump(include=names, mode="json")}


def part(params: "Params", kind: type[Part]) -> Part:
    """The fields of `kind` out of all params."""
    return kind(**{name: getattr(params, name) for name in kind.model_fields})


def _column(history: list[Figures], name: str) -> list[float]:
    return [math.nan if (value := row[name]) is None else value for row in history]
