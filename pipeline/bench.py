"""Command `bench`: how fast this machine trains, loads and shards, beside what it could do and beside plain code.

Reads   nothing but params: pictures, captions and shards are made on the fly
Writes  a table to the terminal, and JSON where a file is given
Params  widths, batch sizes, recipe, runtime

A step is measured in turn with the plain one of `pipeline.bench_plain` and with products of matrices, so that whatever
else runs on the machine slows all of them alike; medians count. The plain one has a process to itself, which gets its
memory as any program does. The share of the peak is that of the operations which the step really executes, counted by
torch, so that work saved by a smarter step does not count as done.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from pipeline import console
from pipeline.bench_data import Sharding, measure_loader, measure_sharding
from pipeline.bench_plain import PlainTrainer
from pipeline.files import require_writable_file, write_json
from pipeline.launch import fabric
from pipeline.training import part
from pipeline.workers import beside
from stackgan.config import NetworkConfig, TrainingConfig
from stackgan.networks import STAGE_SIZES, Discriminator, Stage1Generator, Stage2Generator
from stackgan.reader import Batch
from stackgan.training import Trainer

if TYPE_CHECKING:
    from pipeline.params import Params

PRODUCT_SIDE = {"cpu": 1024, "cuda": 8192}  # a GPU is filled by it, a CPU done with it in milliseconds
_LEAST_ROUNDS = 3
_PRODUCTS = 8  # at once: a single one of some milliseconds is at the mercy of whatever else runs then
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Training:
    """A stage's training step: images/s, of the plain step too, 10⁹ operations a step, and the share of the peak."""

    images_per_second: float
    plain_images_per_second: float
    speedup: float
    gflop: float
    share_of_peak: float


@dataclass(frozen=True)
class Report:
    """Everything measured; rates are images/s, peaks 10⁹ operations a second in float32 and bfloat16."""

    device: str
    threads: int
    precision: str
    peak: Mapping[str, float]
    training: Mapping[str, Training]
    loader: Mapping[str, float]
    sharding: Mapping[str, Sharding]


def run(params: "Params", seconds: float, output: Path | None) -> None:
    """Measure for about `seconds` a figure and show it; see the module's docstring."""
    if output is not None:
        require_writable_file(output)
    report = measure(params, seconds)
    Console().print(_table(report, params))
    if output is not None:
        write_json(output, asdict(report))


def measure(params: "Params", seconds: float) -> Report:
    # One process, whatever trains: several would each stop by a clock of their own, and wait for one another for ever.
    runtime = params.runtime.model_copy(update={"devices": 1, "nodes": 1})
    params = params.model_copy(update={"runtime": runtime})
    machine = fabric(runtime)
    precision = _precision(machine)
    console.info("products of matrices")
    peak = {name: _peak(machine, kind, seconds) for name, kind in _PRECISIONS.items()}
    training, rates, sharding = {}, {}, {}
    for stage, size in STAGE_SIZES.items():
        name = f"stage{stage}"
        console.info(f"Stage {'I' * stage}: training")
        training[name] = _training(stage, params, machine, _PRECISIONS[precision], seconds)
        console.info(f"Stage {'I' * stage}: sharding and loading")
        with tempfile.TemporaryDirectory(prefix="stackgan-") as folder:
            sharding[name] = measure_sharding(Path(folder), size, params)
            rates[name] = measure_loader(Path(folder), size, _batch_size(stage, params), params, machine, seconds)
    return Report(str(machine.device), torch.get_num_threads(), precision, peak, training, rates, sharding)


def _training(stage: int, params: "Params", machine: Fabric, kind: torch.dtype, seconds: float) -> Training:
    ours, batch = _trainer(Trainer, stage, params, machine), _batch(stage, params)
    with FlopCounterMode(display=False) as counter:
        ours.step(batch)
    flop, size = counter.get_total_flops(), len(batch.image)
    product, product_flop = _product(machine, kind)
    with beside(partial(_plain_step, stage, params, machine.device.type)) as plain_step:
        work = {"ours": lambda: ours.step(batch), "plain": plain_step, "product": product}
        times = _alternate(work, machine, seconds)
    step, reference = (statistics.median(times[name]) for name in ("ours", "plain"))
    return Training(
        size / step,
        size / reference,
        reference / step,
        flop / 1e9,
        flop / step / (product_flop / statistics.median(times["product"])),
    )


def _plain_step(stage: int, params: "Params", device: str) -> Callable[[], None]:
    machine = Fabric(accelerator=device, devices=1, precision="32-true")
    return partial(_trainer(PlainTrainer, stage, params, machine).step, _batch(stage, params))


def _precision(machine: Fabric) -> str:
    with machine.autocast():
        kind = (torch.ones(1, 1, device=machine.device) @ torch.ones(1, 1, device=machine.device)).dtype
    return next(name for name, each in _PRECISIONS.items() if each == kind)


def _peak(machine: Fabric, kind: torch.dtype, seconds: float) -> float:
    product, flop = _product(machine, kind)
    return flop / min(_alternate({"product": product}, machine, seconds)["product"]) / 1e9


def _product(machine: Fabric, kind: torch.dtype) -> tuple[Callable[[], object], float]:
    """A few products of square matrices, and their operations."""
    side = PRODUCT_SIDE[machine.device.type]
    one, other = torch.randn(2, side, side, device=machine.device, dtype=kind)
    return lambda: [one @ other for _ in range(_PRODUCTS)], _PRODUCTS * 2.0 * side**3


def _alternate(work: Mapping[str, Callable[[], object]], machine: Fabric, seconds: float) -> dict[str, list[float]]:
    """Seconds of each function of `work`, called in turn for so many `seconds`: twice a turn, of which the second call
    counts, since a process that has just waited for another is slow to start."""
    times: dict[str, list[float]] = {name: [] for name in work}
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(times[next(iter(work))]) < _LEAST_ROUNDS:
        for name, function in work.items():
            _seconds(function, machine)
            times[name].append(_seconds(function, machine))
    return times


def _seconds(function: Callable[[], object], machine: Fabric) -> float:
    start = time.perf_counter()
    function()
    if machine.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _trainer(kind: type[Trainer], stage: int, params: "Params", machine: Fabric) -> Trainer:
    network, training = part(params, NetworkConfig), part(params, TrainingConfig)
    dimensions = params.text_encoder.dim
    stage1 = Stage1Generator(network, dimensions)
    generator = stage1 if stage == 1 else Stage2Generator(network, dimensions, stage1)
    return kind(machine, generator, Discriminator(network, dimensions, STAGE_SIZES[stage]), training, params.seed)


def _batch(stage: int, params: "Params") -> Batch:
    count, size = _batch_size(stage, params), STAGE_SIZES[stage]
    chance = torch.Generator().manual_seed(params.seed)
    image = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=chance)
    embedding = torch.randn(count, params.text_encoder.dim, generator=chance)
    return Batch(image, embedding, torch.arange(count) % 40, [""] * count)


def _batch_size(stage: int, params: "Params") -> int:
    return (params.stage1 if stage == 1 else params.stage2).batch_size


def _table(report: Report, params: "Params") -> Table:
    table = Table(
        title=f"{report.device}, {report.threads} threads, {report.precision}, "
        f"gf_dim {params.gf_dim}, df_dim {params.df_dim}"
    )
    table.add_column("measured")
    table.add_column("rate", justify="right")
    table.add_column("beside it")
    for name, peak in report.peak.items():
        table.add_row(f"products in {name}", f"{peak:,.1f} GFLOP/s", "")
    for stage in (1, 2):
        name, title = f"stage{stage}", f"Stage {'I' * stage}"
        step, sharding, loading = report.training[name], report.sharding[name], report.loader[name]
        table.add_row(
            f"{title}: training, batch {_batch_size(stage, params)}",
            f"{step.images_per_second:,.1f} images/s",
            f"{step.speedup:.2f} × plain code ({step.plain_images_per_second:,.1f}), "
            f"{step.share_of_peak:.0%} of the peak, {step.gflop:,.1f} GFLOP a step",
        )
        table.add_row(
            f"{title}: loader",
            f"{loading:,.0f} images/s",
            f"{loading / step.images_per_second:,.1f} × what training takes",
        )
        table.add_row(
            f"{title}: sharding",
            f"{sharding.rate:,.0f} images/s",
            f"{sharding.rate / sharding.limit:.0%} of decoding, cutting and encoding alone",
        )
    return table
