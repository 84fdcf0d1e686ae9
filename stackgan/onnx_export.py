"""The generators as ONNX files, for runtimes without PyTorch; needs the extra `onnx`.

Inputs   embedding float32 [B, T], standardised as `StackGAN.encode` gives it; noise float32 [B, noise_dim], any B ≥ 1
Output   image float32 [B, 3, S, S] in [-1, 1]: S = 64 by stage 1, 256 by stage 2, which holds stage 1 in itself

The text encoder is not exported: its recurrent steps depend on the caption's length.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from stackgan.errors import UserError
from stackgan.model import StackGAN
from stackgan.networks import Generator

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-4  # of the image; 1/255 of its range is 0.008


class Picture(nn.Module):
    """A generator's image alone."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, embedding: Tensor, noise: Tensor) -> Tensor:
        image: Tensor = self.generator(embedding, noise).image
        return image


def export(model: StackGAN, stage: int, path: Path) -> float:
    """Write one stage of a model on the CPU to `path`; the largest difference of ONNX Runtime's picture from PyTorch's.

    A difference beyond `TOLERANCE`, or the extra not being installed, is a `UserError`.
    """
    require_packages()
    picture = Picture(model.generators[stage]).eval()
    batch = torch.export.Dim("batch")
    with _quiet():
        program = torch.onnx.export(
            picture,
            _inputs(model, 2),  # a batch of one would be taken for a constant
            dynamo=True,
            input_names=["embedding", "noise"],
            output_names=["image"],
            dynamic_shapes={"embedding": {0: batch}, "noise": {0: batch}},
            verbose=False,
        )
    assert program is not None  # it is None without `dynamo` alone
    program.save(path)
    difference = _difference(path, picture, _inputs(model, 3))
    if not difference <= TOLERANCE:
        raise UserError(f"stage {stage}: ONNX Runtime draws another picture than PyTorch, off by {difference:.1g}")
    return difference


def require_packages() -> None:
    """Refuse, by a `UserError`, where the extra is not installed."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(f"ONNX needs {', '.join(missing)}: run `pip install -e '.[onnx]'`")


def _inputs(model: StackGAN, count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, model.text_encoder.dim, generator=generator), model.noise(count, seed=0)


@torch.no_grad()
def _difference(path: Path, picture: Picture, inputs: tuple[Tensor, Tensor]) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {name: tensor.numpy() for name, tensor in zip(("embedding", "noise"), inputs, strict=True)}
    (image,) = session.run(["image"], feed)
    return float((torch.from_numpy(image) - picture(*inputs)).abs().max())


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's remarks on its own insides tell a user nothing."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
