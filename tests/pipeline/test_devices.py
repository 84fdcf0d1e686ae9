from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from lightning_fabric import Fabric

from pipeline import params
from pipeline.devices import _cpu_profits, single_device
from pipeline.launch import fabric, loading_processes
from pipeline.params import RuntimeConfig
from stackgan.errors import UserError


@pytest.mark.parametrize(
    ("cpuinfo", "profits"),
    [
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16 amx_bf16 amx_tile", True),
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16", False),
        ("vendor_id : AuthenticAMD\nflags : avx512f avx512_bf16", True),
        ("vendor_id : AuthenticAMD\nflags : avx2", False),
    ],
    ids=["AMX", "AVX512-BF16 of Intel", "AVX512-BF16 of AMD", "none"],
)
def test_bfloat16_is_chosen_where_it_is_faster(cpuinfo: str, profits: bool) -> None:
    assert _cpu_profits(cpuinfo) == profits


@pytest.mark.parametrize(("precision", "expected"), [("float32", "32-true"), ("bfloat16", "bf16-mixed")])
def test_precision_and_device_are_those_asked_for(precision: str, expected: str) -> None:
    runtime = params.load(overrides=["runtime.device=cpu", f"runtime.precision={precision}"]).runtime
    machine = fabric(runtime)
    assert machine.device.type == "cpu"
    assert machine._precision.precision == expected


@pytest.mark.parametrize(
    ("wanted", "environment", "message"),
    [
        ("runtime.nodes=2", {}, "2 nodes are wanted: start the stage on each by torchrun or srun"),
        ("runtime.nodes=1", {"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}, "srun must be told --ntasks-per-node"),
    ],
)
def test_a_launch_that_cannot_work_is_refused(
    wanted: str, environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        fabric(params.load(overrides=["runtime.device=cpu", wanted]).runtime)


@pytest.mark.parametrize(
    ("device", "cores", "devices", "override", "expected"),
    [
        ("cpu", 16, 1, "auto", 0),
        ("cuda", 16, 1, "auto", 4),
        ("cuda", 16, 4, "auto", 3),
        ("cuda", 2, 1, "auto", 1),
        ("cuda", 2, 4, "auto", 0),
        ("cuda", 1, 1, "auto", 0),
        ("cpu", 2, 1, 3, 3),
    ],
)
@pytest.mark.parametrize("launched", [False, True], ids=["by devices", "by torchrun"])
def test_a_gpu_gets_processes_that_load_and_a_cpu_gets_none(
    device: str,
    cores: int,
    devices: int,
    override: str | int,
    expected: int,
    launched: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.launch.cores", lambda: cores)
    if launched:
        monkeypatch.setattr("pipeline.launch._launched", lambda: (devices, 1))
    wanted = 1 if launched else devices
    runtime = params.load(overrides=[f"runtime.workers={override}", f"runtime.devices={wanted}"]).runtime
    machine = cast("Fabric", SimpleNamespace(device=torch.device(device)))
    assert loading_processes(runtime, machine) == expected


def test_a_task_of_srun_shares_its_cores_with_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.launch.cores", lambda: 8)
    job = {"SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2", "SLURM_STEP_ID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    machine = cast("Fabric", SimpleNamespace(device=torch.device("cuda")))
    assert loading_processes(params.load().runtime, machine) == 4


@pytest.mark.parametrize("where", [fabric, single_device])
def test_a_gpu_that_is_not_there_is_named(
    where: Callable[[RuntimeConfig], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds no GPU here"):
        where(params.load(overrides=["runtime.device=cuda"]).runtime)
