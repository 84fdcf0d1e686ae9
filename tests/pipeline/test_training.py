import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from pipeline import params, stage1, stage2, training
from pipeline.paths import Paths
from stackgan.checkpoint import GENERATOR, load_card, load_discriminator, load_stage1, read_stage2
from stackgan.errors import UserError
from tests.conftest import PROJECT
from tests.pipeline.tiny_training import DIM, make_project, overrides

PATHS = Paths("sample")
OUTS = [
    PATHS.stage(1) / "config.json",
    PATHS.stage(1) / "generator.safetensors",
    PATHS.stage(1) / "discriminator.safetensors",
    PATHS.stage_metrics(1),
    PATHS.stage_report(1) / "history.csv",
    PATHS.stage_report(1) / "curves.png",
    PATHS.stage_report(1) / "grid.png",
    PATHS.stage_report(1) / "through_epochs.png",
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    """The outs of a Stage-I training that nobody disturbed."""
    folder = make_project(tmp_path_factory.mktemp("uninterrupted") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        torch.set_num_threads(1)
        stage1.run(params.load(overrides=overrides()))
        assert not any((folder / "checkpoints").rglob("*.pt"))
        return {path: path.read_bytes() for path in OUTS}


def test_outs_are_complete_and_legible(uninterrupted: dict[Path, bytes], tmp_path: Path) -> None:
    for path, content in uninterrupted.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
        if path.suffix == ".png":
            Image.open(tmp_path / path).verify()
    rows = list(csv.DictReader((tmp_path / PATHS.stage_report(1) / "history.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["steps"] for row in rows] == ["6", "12", "18"]
    metrics = json.loads((tmp_path / PATHS.stage_metrics(1)).read_text())
    assert metrics["loss_d"] == float(rows[-1]["loss_d"])
    assert {"d_real", "d_generated", "d_mismatched", "d_heldout", "diversity", "kl"} <= metrics.keys() & rows[0].keys()
    generator = load_stage1(tmp_path / PATHS.stage(1))
    assert generator(torch.randn(2, DIM), torch.randn(2, generator.noise_dim)).image.shape == (2, 3, 64, 64)
    assert not load_discriminator(tmp_path / PATHS.stage(1)).training


@pytest.mark.parametrize("number", [1, 2])
def test_dvc_knows_every_value_that_determines_a_training(number: int) -> None:
    params_of_dvc: set[str] = set()
    for entry in YAML(typ="safe").load(PROJECT / "dvc.yaml")["stages"][f"stage{number}"]["params"]:
        params_of_dvc |= {entry} if isinstance(entry, str) else set(*entry.values())
    determining = training._identity(number, params.load("sample"))
    assert params_of_dvc == determining.keys() - {"format"}
    assert ("residual_blocks" in determining) == (number == 2)
    assert ("redraw_weight" in determining) == (number == 2)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130), (signal.SIGTERM, 143)],
    ids=["SIGKILL", "SIGINT", "SIGTERM"],
)
def test_a_stopped_run_ends_as_if_it_had_not_been(
    number: signal.Signals,
    code: int,
    uninterrupted: dict[Path, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = make_project(tmp_path / "project")
    run = _start(project, "runtime.checkpoint_seconds=0")
    _wait_for(lambda: len(list((project / "checkpoints" / "stage1").glob("*/*.pt"))) == 2, run)
    run.send_signal(number)
    assert run.wait(60) == code
    assert not (project / PATHS.stage(1)).exists()
    monkeypatch.chdir(project)
    stage1.run(params.load(overrides=overrides("runtime.checkpoint_seconds=1000")))
    for path, content in uninterrupted.items():
        assert path.read_bytes() == content, path


def test_divergence_stops_the_run_and_keeps_a_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project", spoilt=3))
    with pytest.raises(UserError, match=r"not a finite number at step \d"):
        stage1.run(params.load(overrides=overrides("stage1.epochs=2", "runtime.checkpoint_seconds=0")))
    checkpoints = sorted(Path("checkpoints").rglob("*.pt"))
    assert checkpoints
    state = torch.load(checkpoints[-1], weights_only=True)["trainer"]
    assert all(tensor.isfinite().all() for tensor in state["generator"].values())
    assert not PATHS.stage(1).exists()


def test_other_params_do_not_find_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path / "project")
    run = _start(project, "runtime.checkpoint_seconds=0")
    _wait_for(lambda: any((project / "checkpoints" / "stage1").glob("*/*.pt")), run)
    run.kill()
    run.wait(60)
    monkeypatch.chdir(project)
    stage1.run(params.load(overrides=overrides("lr_g=0.001", "stage1.epochs=1")))
    assert len(list(csv.DictReader((PATHS.stage_report(1) / "history.csv").open()))) == 1
    assert any(Path("checkpoints").rglob("*.pt")), "the killed run's checkpoint waits for its own params"


def test_stage2_trains_on_a_frozen_stage1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project", sizes=(64, 256), train=8))
    chosen = params.load(overrides=overrides("stage1.epochs=1"))
    with pytest.raises(UserError, match="stage1 is missing: run `dvc repro stage1` first"):
        stage2.run(chosen)
    stage1.run(chosen)
    before = (PATHS.stage(1) / "generator.safetensors").read_bytes()
    for name in ("z_dim", "c_dim"):
        with pytest.raises(UserError, match=f"stage1 was trained with {name} 8, not 9: run stage1 again"):
            stage2.run(chosen.model_copy(update={name: 9}))
    stage2.run(chosen)
    assert (PATHS.stage(1) / "generator.safetensors").read_bytes() == before
    folder = PATHS.stage(2)
    generator = read_stage2(folder / GENERATOR, load_card(folder, 2), load_stage1(PATHS.stage(1)))
    assert generator(torch.randn(2, DIM), torch.randn(2, generator.noise_dim)).image.shape == (2, 3, 256, 256)
    assert PATHS.stage_metrics(2).exists()
    assert {path.name for path in PATHS.stage_report(2).iterdir()} == {path.name for path in OUTS[4:]}


def test_two_devices_see_different_batches_and_agree_on_the_weights(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    command = [sys.executable, "-m", "tests.pipeline.two_ranks"]
    done = subprocess.run(command, cwd=project, env=_environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((project / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first["weights"] == second["weights"]
    assert first["epoch_figures"] == second["epoch_figures"]
    assert len(first["keys"]) == len(second["keys"]) == 12
    assert not set(first["keys"]) & set(second["keys"])


@pytest.mark.parametrize("size", [2, 3])
def test_a_batch_that_devices_cannot_share_is_refused(size: int, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    options = _options(f"stage1.batch_size={size}", "runtime.devices=2")
    command = [sys.executable, "-m", "pipeline", "stage1", *options]
    done = subprocess.run(command, cwd=project, env=_environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert f"batch_size {size} cannot be shared by 2 devices" in done.stderr


def _start(project: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipeline", "stage1", *_options(*more)]
    return subprocess.Popen(command, cwd=project, env=_environment(), stderr=subprocess.DEVNULL)


def _options(*more: str) -> list[str]:
    return [part for override in overrides(*more) for part in ("-S", override)]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}


def _wait_for(condition: object, run: subprocess.Popen[bytes], seconds: float = 60) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert run.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < end
        time.sleep(0.01)
