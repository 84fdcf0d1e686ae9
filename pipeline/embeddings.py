"""The folder of embeddings: `embeddings.npy`, float16 [captions, dim] in the manifest's order, and `index.json`."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.files import atomic_folder, read_json, require, write_json
from pipeline.manifest import Picture
from stackgan.errors import UserError

Vectors = NDArray[np.float16]


@dataclass(frozen=True)
class Rows:
    """Where the embeddings of one picture lie."""

    file: Path
    first: int
    count: int

    def read(self) -> Vectors:
        """float16 [count, dim]; only these rows are read from disk."""
        vectors = np.load(self.file, mmap_mode="r", allow_pickle=False)
        return np.ascontiguousarray(vectors[self.first : self.first + self.count])


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
        np.save(packed, vectors, allow_pickle=False)
        (temporary / "embeddings.npy").write_bytes(packed.getbuffer())
        write_json(temporary / "index.json", {"captions": counts, "dim": int(vectors.shape[1]), "kind": kind})


def read(folder: Path, pictures: Sequence[Picture]) -> Embeddings:
    """Find the embeddings of every picture; those of another manifest are a `UserError`."""
    index = read_json(folder / "index.json", made_by="embed")
    file = require(folder / "embeddings.npy", made_by="embed")
    try:
        shape = np.load(file, mmap_mode="r", allow_pickle=False).shape
    except (ValueError, EOFError) as error:
        raise UserError(f"{file} is damaged ({error}): run `dvc repro --force embed`") from error
    counts = [len(picture.captions) for picture in pictures]
    if not isinstance(index, dict) or index.keys() != {"captions", "dim", "kind"}:
        raise UserError(f"{folder / 'index.json'} is no index of embeddings: run `dvc repro --force embed`")
    if index["captions"] != counts or shape != (sum(counts), index["dim"]):
        raise UserError(f"{folder} does not belong to this manifest: run `dvc repro embed`")
    firsts = accumulate(counts, initial=0)
    rows = [Rows(file, first, count) for first, count in zip(firsts, counts, strict=False)]
    return Embeddings(index["dim"], index["kind"], rows)
