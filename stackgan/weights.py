"""Weights files: safetensors, read into none but a network that they fit."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as pack
from torch import Tensor, nn

from stackgan.errors import UserError

Network = TypeVar("Network", bound=nn.Module)


def save(network: nn.Module, path: Path, without: str | None = None) -> None:
    """Write the network's tensors, but those whose names begin with `without`. Equal weights make equal bytes."""
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if without is None or not name.startswith(without)
    }
    path.write_bytes(pack(tensors))


def load(build: Callable[[], Network], path: Path, config: str, given: Mapping[str, Tensor] | None = None) -> Network:
    """`build()` filled from `path`: on the CPU, in eval mode, without gradients.

    `given` are tensors of the network that the file does not repeat. The file's header is compared with the shapes that
    `build` asks for before any are allocated, so that a config of absurd sizes costs nothing. A missing, damaged or
    unfit file is a `UserError` that names it and the file `config` beside it.
    """
    given = given or {}
    try:
        with torch.device("meta"):
            wanted = {name: tuple(value.shape) for name, value in build().state_dict().items() if name not in given}
    except (TypeError, OverflowError, RuntimeError):  # a size, or a product of sizes, that is no 64-bit number
        raise UserError(
            f"{path.with_name(config)} asks for sizes that no network has: take both from one place"
        ) from None
    try:
        if misfit := _misfit(wanted, _shapes(path)):
            raise UserError(f"{path} does not fit {config}: {misfit}; train again, or take both from one place")
        tensors = load_file(path)
        if spoilt := [name for name in sorted(tensors) if not tensors[name].isfinite().all()]:
            raise UserError(f"{path} holds no finite numbers in {spoilt[0]}: train again, or copy the file anew")
        network = build()
        network.load_state_dict({**tensors, **given})
    except FileNotFoundError:  # safetensors calls a file so that may not be read, too
        if path.exists():
            raise UserError(f"{path} cannot be read: check its permissions") from None
        raise UserError(f"{path} is missing: the folder is not whole; train again") from None
    except (SafetensorError, OSError, RuntimeError) as error:
        raise UserError(f"{path} is no readable weights file: {' '.join(str(error).split())[:200]}") from None
    return network.requires_grad_(False).eval()


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    with safe_open(path, framework="pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 — not a mapping


def _misfit(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> str | None:
    """What is wrong with the first tensor in the order of names, if any is."""
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            return f"{name} is missing"
        if name not in wanted:
            return f"{name} is unknown"
        if found[name] != wanted[name]:
            return f"{name} has the shape {list(found[name])}, not {list(wanted[name])}"
    return None
