"""On which device a stage runs, and what that computes well in."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from stackgan.errors import UserError

if TYPE_CHECKING:
    from pipeline.params import RuntimeConfig


def single_device(runtime: "RuntimeConfig") -> torch.device:
    """The device of a stage that is one process's work."""
    return torch.device("cuda", 0) if takes_cuda(runtime) else torch.device("cpu")


def takes_cuda(runtime: "RuntimeConfig") -> bool:
    """Whether a GPU is used; one that is asked for and not there is a `UserError`."""
    there = torch.cuda.is_available()
    if runtime.device == "cuda" and not there:
        raise UserError("runtime.device is cuda, but torch finds no GPU here: set runtime.device=cpu or auto")
    return there and runtime.device != "cpu"


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
