import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from stackgan.errors import UserError
from stackgan.networks import Discriminator, GeneratorOutput, Stage1Generator, Stage2Generator
from stackgan.reader import Batch
from stackgan.training import STATISTICS, Pairs, Trainer
from tests.stackgan.recipes import OURS, PAPER, network, training

T = 16
# Ten steps of either recipe, float32. Who changes these on purpose raises pipeline.training.FORMAT.
GOLDEN = {"ours": (5.5728, 3.077), "paper": (1.3621, 0.8301)}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_losses_of_ten_steps(name: str) -> None:
    trainer = _trainer(OURS if name == "ours" else PAPER)
    _steps(trainer, 10)
    figures = trainer.read_statistics()
    assert (figures["loss_d"], figures["loss_g"]) == pytest.approx(GOLDEN[name], rel=0.02)


@pytest.mark.parametrize("recipe", [OURS, PAPER], ids=["ours", "paper"])
def test_same_seed_same_weights_and_another_seed_others(recipe: dict[str, Any]) -> None:
    first, second, other = (_trainer(recipe, seed=seed) for seed in (1, 1, 2))
    for trainer in (first, second, other):
        _steps(trainer, 3)
    assert _equal(first, second)
    assert not _equal(first, other)


@pytest.mark.parametrize("recipe", [OURS, PAPER, OURS | {"optimizer_d": "sgd"}], ids=["ours", "paper", "sgd"])
def test_a_resumed_training_goes_on_to_the_bit(recipe: dict[str, Any], tmp_path: Any) -> None:
    straight = _trainer(recipe)
    _steps(straight, 6)
    stopped = _trainer(recipe)
    _steps(stopped, 4)
    torch.save(stopped.state_dict(), tmp_path / "state.pt")
    torch.rand(1)  # whatever happens to the global generator
    resumed = _trainer(recipe)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    _steps(resumed, 2, first=4)
    assert _equal(straight, resumed)
    assert straight.read_statistics() == resumed.read_statistics()


def test_all_but_the_frozen_weights_are_trained() -> None:
    trainer = _trainer(OURS, stage=2)
    before = {name: tensor.clone() for name, tensor in trainer.bare_generator.state_dict().items()}
    discriminator = {name: parameter.clone() for name, parameter in trainer.bare_discriminator.named_parameters()}
    _steps(trainer, 1)
    for name, tensor in trainer.bare_generator.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("stage1."), name
    for name, parameter in trainer.bare_discriminator.named_parameters():
        # Biases of hinge heads may stay: pulls of real and fake cancel exactly inside the margins.
        assert parameter.ndim == 1 or not torch.equal(parameter, discriminator[name]), name
        assert parameter.requires_grad, name


def test_stage2_pays_for_how_it_redraws_real_pictures() -> None:
    paid: dict[float, float] = {}
    told = {}
    for weight in (0.0, 100.0):
        torch.manual_seed(0)  # of the frozen Stage I, too
        trainer = _trainer(OURS | {"redraw_weight": weight}, stage=2)
        torch.manual_seed(0)
        pairs = trainer._pairs(*random_batch(0, 256, 3)[:3])
        noise = torch.randn(6, trainer.bare_generator.noise_dim)
        generated = trainer.generator(pairs.embedding, noise, pairs.image[:3])
        error = (generated.redrawn - pairs.image[:3]).abs().mean().item()
        backward = trainer.fabric.backward
        trainer.fabric.backward = _noting(paid, weight, backward)  # type: ignore[method-assign]
        told[weight] = [float(figure) for figure in trainer._generator_phase(pairs, generated)]
    assert paid[100.0] - paid[0.0] == pytest.approx(100 * error, rel=1e-4)
    assert told[100.0] == told[0.0] == [told[0.0][0], pytest.approx(error, rel=1e-4), told[0.0][2]]


def _noting(paid: dict[float, float], key: float, backward: Callable[[torch.Tensor], None]) -> Any:
    def noted(loss: torch.Tensor) -> None:
        paid[key] = float(loss.detach())
        backward(loss)

    return noted


@pytest.mark.parametrize(("stage", "weight", "redrawn"), [(1, 100.0, None), (2, 0.0, None), (2, 100.0, 3)])
def test_only_stage2_redraws_and_only_where_it_counts(stage: int, weight: float, redrawn: int | None) -> None:
    trainer = _trainer(OURS | {"redraw_weight": weight}, stage=stage)
    drawn: list[GeneratorOutput] = []
    phase = trainer._generator_phase

    def watch(pairs: Pairs, generated: GeneratorOutput) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        drawn.append(generated)
        return phase(pairs, generated)

    trainer._generator_phase = watch  # type: ignore[method-assign]
    _steps(trainer, 1)
    assert len(drawn[0].image) == 6
    assert (None if drawn[0].redrawn is None else len(drawn[0].redrawn)) == redrawn


def test_the_generator_step_leaves_no_gradient_in_the_discriminator() -> None:
    trainer = _trainer(OURS)
    seen: list[bool] = []
    backward = trainer.fabric.backward

    def watch(loss: torch.Tensor) -> None:
        # Cloned: gradients accumulate in place.
        before = [None if p.grad is None else p.grad.clone() for p in trainer.bare_discriminator.parameters()]
        backward(loss)
        after = [p.grad for p in trainer.bare_discriminator.parameters()]
        seen.append(
            all(b is not None and a is not None and torch.equal(b, a) for b, a in zip(before, after, strict=True))
        )

    trainer.fabric.backward = watch  # type: ignore[method-assign,assignment]
    _steps(trainer, 1)
    assert seen == [False, True]


def test_one_species_trains_without_mismatched_pairs() -> None:
    trainer = _trainer(OURS)
    _steps(trainer, 2, species=1)
    figures = trainer.read_statistics()
    assert figures["d_mismatched"] is None
    assert [name for name in STATISTICS if figures[name] is None] == ["redraw_l1", "d_mismatched"]


def test_saved_statistics_are_the_first_rank_s_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = _trainer(OURS)
    _steps(trainer, 1)
    first, second = _trainer(OURS), _trainer(OURS)
    first.load_state_dict(trainer.state_dict())
    monkeypatch.setattr(Fabric, "is_global_zero", property(lambda _: False))
    second.load_state_dict(trainer.state_dict())
    assert first.peek_statistics() == trainer.peek_statistics()
    assert set(second.peek_statistics().values()) == {None}


def test_a_training_goes_on_on_another_device_as_that_device_trains() -> None:
    trainer = _trainer(OURS)
    _steps(trainer, 1)
    state = trainer.state_dict()
    for name in ("optimizer_g", "optimizer_d"):  # as a GPU, which records the step, saves it
        for group in state[name]["param_groups"]:
            group["capturable"] = True
    trainer.load_state_dict(state)
    groups = [*trainer.optimizer_g.param_groups, *trainer.optimizer_d.param_groups]
    assert not any(group["capturable"] for group in groups)


def test_statistics_are_means_since_the_last_reading() -> None:
    trainer = _trainer(OURS)
    _steps(trainer, 1)
    first = trainer.read_statistics()
    _steps(trainer, 1, first=1)
    second = trainer.peek_statistics()
    assert trainer.read_statistics() == second
    both = _trainer(OURS)
    _steps(both, 2)
    means = both.read_statistics()
    assert means.pop("redraw_l1") is first.pop("redraw_l1") is None
    for name, one in first.items():
        two = second[name]
        assert one is not None
        assert two is not None
        assert means[name] == pytest.approx((one + two) / 2, rel=1e-4)


def test_a_weight_that_is_no_number_stops_training_before_a_loss_shows_it() -> None:
    trainer = _trainer(OURS)
    _steps(trainer, 1)
    trainer.bare_generator.to_rgb.weight.register_hook(lambda gradient: torch.full_like(gradient, float("inf")))
    _steps(trainer, 1, first=1)
    assert all(math.isfinite(value) for value in trainer.peek_statistics().values() if value is not None)
    with pytest.raises(UserError, match="not a finite number at step 2"):
        trainer.check()


def test_a_loss_that_is_no_number_stops_training_and_names_the_step() -> None:
    trainer = _trainer(OURS)
    _steps(trainer, 2)
    trainer.check()
    with torch.no_grad():
        trainer.bare_generator.to_rgb.weight.fill_(float("nan"))
    _steps(trainer, 2, first=2)
    with pytest.raises(UserError, match="at step 3"):
        trainer.check()


@pytest.mark.parametrize("recipe", [OURS, PAPER, OURS | {"optimizer_d": "sgd"}], ids=["ours", "paper", "sgd"])
def test_what_a_step_keeps_is_changed_in_place(recipe: dict[str, Any]) -> None:
    """A step recorded on a GPU knows addresses alone: what a later step put elsewhere it would never see."""
    trainer = _trainer(recipe)
    _steps(trainer, 1)
    before = _addresses(trainer)
    _steps(trainer, 1, first=1)
    assert _addresses(trainer) == before
    assert len(before) > 100


@pytest.mark.skipif(not torch.cuda.is_available(), reason="steps are recorded on a GPU alone")
@pytest.mark.parametrize("recipe", [OURS, PAPER, OURS | {"optimizer_d": "sgd"}], ids=["ours", "paper", "sgd"])
def test_a_recorded_step_does_what_its_phases_do(recipe: dict[str, Any]) -> None:
    figures = []
    for recorded in (True, False):
        trainer = _trainer(recipe, accelerator="cuda")
        if not recorded:
            trainer._update = trainer._phases
        _steps(trainer, 6)
        trainer.set_learning_rates(0.1)
        _steps(trainer, 6, first=6)
        trainer.check()
        figures.append(trainer.read_statistics())
    for name, value in figures[0].items():
        assert value == pytest.approx(figures[1][name], rel=0.02), name


def _trainer(recipe: dict[str, Any], seed: int = 0, stage: int = 1, accelerator: str = "cpu") -> Trainer:
    config = network(recipe)
    stage1 = Stage1Generator(config, T)
    generator = stage1 if stage == 1 else Stage2Generator(config, T, stage1)
    fabric = Fabric(accelerator=accelerator, devices=1)
    return Trainer(fabric, generator, Discriminator(config, T, 64 if stage == 1 else 256), training(recipe), seed)


def _steps(trainer: Trainer, number: int, first: int = 0, species: int = 3) -> None:
    for step in range(first, first + number):
        trainer.step(random_batch(step, 64 if isinstance(trainer.bare_generator, Stage1Generator) else 256, species))


def _addresses(trainer: Trainer) -> dict[str, int]:
    """Where everything lies that one step leaves to the next. A fused SGD keeps nothing."""
    kept = {name: value for name, value in vars(trainer).items() if isinstance(value, torch.Tensor)}
    kept |= {f"earlier {name}": tensor for name, tensor in trainer._earlier.state_dict().items()}
    networks = {"g": trainer.bare_generator, "d": trainer.bare_discriminator, "ema": trainer.ema.network}
    for name, module in networks.items():
        kept |= {f"{name}.{key}": tensor for key, tensor in module.state_dict().items()}
    for name, optimizer in (("adam g", trainer.optimizer_g), ("adam d", trainer.optimizer_d)):
        for index, state in optimizer.state_dict()["state"].items():
            kept |= {f"{name} {index} {key}": value for key, value in state.items() if isinstance(value, torch.Tensor)}
    return {name: tensor.data_ptr() for name, tensor in kept.items()}


def random_batch(step: int, size: int, species: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    image = torch.randint(0, 256, (6, 3, size, size), dtype=torch.uint8, generator=generator)
    return Batch(image, torch.randn(6, T, generator=generator), torch.arange(6) % species, [""] * 6)


def _equal(one: Trainer, other: Trainer) -> bool:
    pairs = [
        (one.bare_generator, other.bare_generator),
        (one.bare_discriminator, other.bare_discriminator),
        (one.ema.network, other.ema.network),
    ]
    return all(torch.equal(tensor, b.state_dict()[name]) for a, b in pairs for name, tensor in a.state_dict().items())
