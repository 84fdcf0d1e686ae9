"""The published embeddings of CUB's captions in the folder of an encoder that imitates them.

They lie in `official.safetensors`: one float16 tensor [captions, 1024] for every picture of the data set, under the
picture's name, in the order of its captions.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stackgan.errors import UserError

VECTORS = "official.safetensors"


def save_vectors(folder: Path, vectors: Mapping[str, Tensor]) -> None:
    """Write official.safetensors; see above for its layout."""
    halves = {name: values.half().contiguous() for name, values in vectors.items()}
    (folder / VECTORS).write_bytes(save(halves))


def load_vectors(folder: Path) -> dict[str, Tensor] | None:
    """The published vectors in an encoder's folder: picture name → float16 [captions, dim]; None for other kinds."""
    if not (folder / VECTORS).is_file():
        return None
    try:
        with safe_open(folder / VECTORS, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 — not a mapping
    except SafetensorError as error:
        raise UserError(f"{folder / VECTORS} cannot be read: {' '.join(str(error).split())}") from error
