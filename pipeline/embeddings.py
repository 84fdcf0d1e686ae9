"""The folder of embeddings: `embeddings.npy`, float16 [captions, dim] in the manifest's order, and `index.json`."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.files import atomic_folder, read_json, read_slice, require, write_json
from pipeline.manifest import Picture
from stackgan.errors import UserError, make_anew

Vectors = NDArray[np.float16]


@dataclass(frozen=True)
class Rows:
    """Where the embeddings of one picture lie."""

    file: Path
    offset: int  # bytes
    shape: tuple[int, int]  # captions, dim

    def read(self) -> Vectors:
        """float16 [captions, dim]; only these rows are read from disk."""
        count, dim = self.shape
        content = read_slice(self.file, self.offset, count * dim * np.float16().itemsize)
        return np.frombuffer(content, np.float16).reshape(self.shape)


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of a whole manifest."""

    dim: int
    kind: str  # of the text encoder
    rows: list[Rows]  # of every picture


def write(folder: Path, vectors: Vectors, pictures: Sequence[Picture], kind: str) -> None:
    """Write float16 [captions of all pictures, dim]; the old folder stays until the new one is whole."""
    counts = [len(picture.captions) for picture in pictures]
    with atomic_folder(folder) as temporary:
        packed = io.BytesIO()  # np.save straight to a file would not say that a disk is full
        np.save(packed, np.ascontiguousarray(vectors), allow_pickle=False)
        (temporary / "embeddings.npy").write_bytes(packed.getbuffer())
        write_json(temporary / "index.json", {"captions": counts, "dim": int(vectors.shape[1]), "kind": kind})


def read(folder: Path, pictures: Sequence[Picture]) -> Embeddings:
    """Find the embeddings of every picture; those of another manifest are a `UserError`."""
    index = read_json(folder / "index.json", made_by="embed")
    file = require(folder / "embeddings.npy", made_by="embed")
    try:
        vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UserError(f"{file} is damaged ({error}): {make_anew('embed')}") from error
    counts = [len(picture.captions) for picture in pictures]
    if not isinstance(index, dict) or index.keys() != {"captions", "dim", "kind"}:
        raise UserError(f"{folder / 'index.json'} is no index of embeddings: {make_anew('embed')}")
    dim = index["dim"]
    if index["captions"] != counts or vectors.shape != (sum(counts), dim) or vectors.dtype != np.float16:
        raise UserError(f"{folder} does not belong to this manifest: run `dvc repro embed`")
    offsets = (vectors.offset + first * vectors.strides[0] for first in accumulate(counts, initial=0))
    rows = [Rows(file, offset, (count, dim)) for offset, count in zip(offsets, counts, strict=False)]
    return Embeddings(dim, index["kind"], rows)
