"""Shards on disk: which tars a split has, their samples as raw bytes, and the decoding of these."""

import errno
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import webdataset as wds
from numpy.typing import NDArray
from PIL import Image

from stackgan.errors import UserError
from stackgan.mirror import Origin

Raw = dict[str, Any]  # a sample as bytes: __key__, __url__ (the shard's path), jpg, json, npy
Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float16]
_SAMPLE_ERRORS = (
    KeyError,
    ValueError,
    OverflowError,
    OSError,
    SyntaxError,
    TypeError,
    EOFError,
    MemoryError,
    RecursionError,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Shards:
    """The tars of one split."""

    paths: list[Path]
    counts: list[int]  # samples in each
    bytes: int
    origin: Origin | None = None  # for a mirror: where they come from
    checksums: list[str] = field(default_factory=list)  # for a mirror: SHA-256 of each

    @staticmethod
    def find(folder: Path, split: str) -> "Shards":
        path = folder / "index.json"
        try:
            shards = json.loads(path.read_bytes())["splits"][split]["shards"]
            if strange := [shard["name"] for shard in shards if not _stays_inside(shard["name"])]:
                raise ValueError(f"{strange[0]!r} is no file's name")
            paths = [folder / shard["name"] for shard in shards]
            counts = [int(shard["samples"]) for shard in shards]
            origin = Origin.of(folder)
            checksums = [str(shard["sha256"]) for shard in shards] if origin else []
            return Shards(paths, counts, sum(int(shard["bytes"]) for shard in shards), origin, checksums)
        except FileNotFoundError:
            raise UserError(f"{path} is missing: make the shards first") from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path} is no index of shards with a {split} split ({error}): make the shards again"
            ) from error

    @property
    def samples(self) -> int:
        return sum(self.counts)

    @cached_property
    def _places(self) -> dict[Path, int]:
        return {path: place for place, path in enumerate(self.paths)}

    def read(self, paths: Iterable[Path]) -> Iterator[Raw]:
        """Raw samples of the given shards, in order; a damaged shard is a `UserError`."""
        for path in paths:
            count = 0
            try:
                with self._open(path) as stream:
                    files = wds.tariterators.tar_file_expander([{"url": str(path), "stream": stream}])
                    for raw in wds.tariterators.group_by_keys(files):
                        count += 1
                        yield raw
            except (tarfile.TarError, OSError, EOFError, ValueError, TypeError, MemoryError, OverflowError) as error:
                if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
                    raise UserError(f"{path} cannot be read: {error.strerror}") from error
                reason = error.args[0] if error.args else type(error).__name__
                raise UserError(f"{path} is missing or damaged ({reason}): make the shards again") from error
            if count != (expected := self.counts[self._places[path]]):
                raise UserError(f"{path} holds {count} samples instead of {expected}: make the shards again")

    def _open(self, path: Path) -> BinaryIO:
        if self.origin is None:
            return path.open("rb")
        return self.origin.open(path, self.checksums[self._places[path]])


def _stays_inside(name: str) -> bool:
    """Whether it names something below the folder; shards made in parts have a folder each."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def decode(raw: Raw) -> tuple[Pixels, Vectors, dict[str, Any]]:
    """Crop, embeddings and picture of a raw sample, by hand: nothing here runs code that a shard could bring."""
    try:
        image = np.asarray(Image.open(io.BytesIO(raw["jpg"]), formats=("JPEG",)))
        embeddings = np.lib.format.read_array(io.BytesIO(raw["npy"]), allow_pickle=False)
        picture = json.loads(raw["json"])
        if image.ndim != 3 or embeddings.ndim != 2 or not embeddings.size or embeddings.dtype.kind != "f":
            raise ValueError(f"crop of shape {image.shape}, embeddings {embeddings.dtype} of shape {embeddings.shape}")
        picture["species_id"] = int(picture["species_id"])
    except _SAMPLE_ERRORS as error:
        where = f"{raw['__url__']}, sample {raw['__key__']}"
        raise UserError(f"{where} is damaged ({type(error).__name__}: {error}): make the shards again") from error
    return image, embeddings, picture
