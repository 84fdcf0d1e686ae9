"""Where a training runs, and in which precision."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from stackgan.errors import UserError

if TYPE_CHECKING:
    from pipeline.params import RuntimeConfig


def fabric(runtime: "RuntimeConfig") -> Fabric:
    """A launched `Fabric` for `runtime.device`, `devices` and `precision`; with several devices, one process each."""
    cuda = torch.cuda.is_available() if runtime.device == "auto" else runtime.device == "cuda"
    if cuda and torch.cuda.device_count() < runtime.devices:
        raise UserError(
            f"runtime: {runtime.devices} GPUs are wanted and {torch.cuda.device_count()} are there:"
            " set runtime.device=cpu or fewer runtime.devices"
        )
    bfloat16 = computes_in_bfloat16(cuda) if runtime.precision == "auto" else runtime.precision == "bfloat16"
    result = Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=runtime.devices,
        strategy=_strategy(runtime.devices),
        precision="bf16-mixed" if bfloat16 else "32-true",
    )
    result.launch()
    return result


def _strategy(devices: int) -> DDPStrategy | str:
    if devices == 1:
        return "auto"
    # D runs twice before one backward pass, which a broadcast of its buffers in between would spoil.
    return DDPStrategy(broadcast_buffers=False)


def computes_in_bfloat16(cuda: bool) -> bool:
    """Whether bfloat16 convolutions are faster than float32 ones here.

    The instructions alone do not say: Intel's AVX512-BF16 without AMX runs at half the float32 rate, AMD's at double.
    """
    if cuda:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        return _cpu_profits(Path("/proc/cpuinfo").read_text())
    except OSError:
        return False


def _cpu_profits(cpuinfo: str) -> bool:
    words = set(cpuinfo.split())
    return "amx_bf16" in words or ("avx512_bf16" in words and "AuthenticAMD" in words)
