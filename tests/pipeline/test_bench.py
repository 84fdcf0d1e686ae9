import json
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from pipeline import bench, bench_data, params
from pipeline.bench_plain import PlainTrainer
from pipeline.params import RuntimeConfig
from stackgan.networks import Discriminator, Stage1Generator
from stackgan.training import Trainer
from tests.conftest import PROJECT
from tests.pipeline.tiny_training import OVERRIDES
from tests.stackgan.recipes import OURS, PAPER, network, training
from tests.stackgan.test_training import random_batch

T, STEPS = 16, 50
CALM = {"lr_g": 1e-4, "lr_d": 2e-4}  # at higher rates rounding alone parts two trainings within 50 steps


@pytest.mark.parametrize("recipe", [OURS, PAPER], ids=["ours", "paper"])
def test_losses_of_50_steps_are_those_of_plain_code(recipe: dict[str, object]) -> None:
    recipe = recipe | CALM
    plain = _losses(PlainTrainer, recipe, "32-true")
    for precision, tolerance in (("32-true", 0.02), ("bf16-mixed", 0.05)):
        fast = _losses(Trainer, recipe, precision)
        # Step by step as long as rounding is small, then in the mean.
        assert torch.allclose(fast[:5], plain[:5], atol=tolerance, rtol=0.01), precision
        assert torch.allclose(fast.mean(0), plain.mean(0), rtol=tolerance), precision


def test_the_plain_code_is_plain() -> None:
    trainer = _trainer(PlainTrainer, OURS, "32-true")
    before = {name: weight.clone() for name, weight in trainer.bare_discriminator.named_parameters() if weight.ndim > 1}
    trainer.step(random_batch(0, 64, 3))
    for name, weight in trainer.bare_discriminator.named_parameters():
        assert weight.is_contiguous(), name
        assert weight.ndim == 1 or not torch.equal(weight, before[name]), name
    assert not trainer.optimizer_g.param_groups[0]["fused"]
    fast = _trainer(Trainer, OURS, "32-true")
    fast.step(random_batch(0, 64, 3))
    of_d, of_both = (next(each.bare_discriminator.parameters()).grad for each in (fast, trainer))
    assert of_d is not None and of_both is not None
    assert not torch.allclose(of_d, of_both, rtol=0.1)


def test_every_figure_is_measured_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_data, "PICTURES", 16)
    monkeypatch.setattr(bench_data, "PER_SHARD", 8)
    monkeypatch.setattr(bench, "PRODUCT_SIDE", {"cpu": 64})
    monkeypatch.chdir(PROJECT)
    bench.run(params.load(overrides=OVERRIDES), 0.0, tmp_path / "bench.json")
    report = json.loads((tmp_path / "bench.json").read_text())
    assert report["precision"] == "float32"
    assert set(report["peak"]) == {"float32", "bfloat16"}
    for stage in ("stage1", "stage2"):
        assert all(value > 0 for value in report["training"][stage].values())
        assert report["loader"][stage] > 0
        assert report["sharding"][stage]["rate"] > 0
        assert report["sharding"][stage]["limit"] > 0


def test_it_is_one_process_that_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RuntimeConfig] = []

    def launch(runtime: RuntimeConfig) -> Fabric:
        asked.append(runtime)
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "fabric", launch)
    monkeypatch.chdir(PROJECT)
    with pytest.raises(KeyboardInterrupt):
        bench.measure(params.load(overrides=["runtime.devices=4", "runtime.nodes=2"]), 0.0)
    assert [(runtime.devices, runtime.nodes) for runtime in asked] == [(1, 1)]


def _losses(kind: type[Trainer], recipe: dict[str, object], precision: str) -> torch.Tensor:
    """loss_d and loss_g of every step."""
    trainer, rows = _trainer(kind, recipe, precision), []
    for step in range(STEPS):
        trainer.step(random_batch(step, 64, 3))
        figures = trainer.read_statistics()
        rows.append([figures["loss_d"], figures["loss_g"]])
    return torch.tensor(rows)


def _trainer(kind: type[Trainer], recipe: dict[str, object], precision: str) -> Trainer:
    config = network(recipe)
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)  # type: ignore[arg-type]
    return kind(fabric, Stage1Generator(config, T), Discriminator(config, T, 64), training(recipe), 0)
