"""Stage `shard`: pack crops, captions and embeddings into WebDataset tars, for Stage I (64) or Stage II (256).

Reads   data/<preset>/manifest.jsonl, data/<preset>/raw/ (images archive), data/<preset>/embeddings/
Writes  data/<preset>/shards/<size>/: {train,test}-000000.tar … and index.json
Params  shard, seed, source

A sample is <key>.jpg (76² or 304² pixels, so that a random crop of 64² or 256² is left to do), <key>.json (the
manifest's line) and <key>.npy (float16 [captions, dim]); the key is the picture's place in the manifest, six digits.
The order is drawn by seed, so that any shard is a fair sample. The bytes are the same for any number of processes.
"""

import io
import math
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image, features

from pipeline import console, embeddings, manifest
from pipeline.archives import open_tar
from pipeline.crops import Cutter, Pixels, Source, sources
from pipeline.embeddings import Rows, Vectors
from pipeline.files import atomic_folder, sha256, write_json
from pipeline.paths import Paths
from pipeline.selection import lot
from pipeline.workers import parallel
from stackgan.errors import UserError

if TYPE_CHECKING:
    from pipeline.params import Params

SIZES = (64, 256)
_BUFFER = 1 << 20  # bytes
_LIBRARIES = ("albumentations", "numpy", "opencv-python-headless", "pillow")


@dataclass(frozen=True)
class Entry:
    """A sample to be packed."""

    key: str
    source: Source
    rows: Rows


@dataclass(frozen=True)
class Shard:
    """A tar to be written."""

    name: str
    entries: Sequence[Entry]


def run(params: "Params", size: int) -> None:
    """Run the stage for one size; see the module's docstring."""
    if size not in SIZES:
        raise UserError(f"there are no shards of size {size}: choose {' or '.join(map(str, SIZES))}")
    paths = Paths(params.preset)
    pictures = manifest.read(paths.manifest)
    embedded = embeddings.read(paths.embeddings, pictures)
    crop_size = size * 19 // 16  # 76 for 64, as in the paper
    with open_tar(paths.raw / params.source.images.name) as images, atomic_folder(paths.shards(size)) as folder:
        members = sources(images, pictures)
        entries = [
            Entry(f"{place:06d}", source, rows)
            for place, (source, rows) in enumerate(zip(members, embedded.rows, strict=True))
        ]
        splits = {
            split: plan(entries, split, params.seed, params.shard.samples_per_shard) for split in ("train", "test")
        }
        written = pack(splits["train"] + splits["test"], folder, Cutter(crop_size, params.shard.crop))
        index = {
            "size": size,
            "crop_size": crop_size,
            "crop": params.shard.crop,
            "embedding_dim": embedded.dim,
            "embedding_kind": embedded.kind,
            "splits": {split: _describe(shards, written) for split, shards in splits.items()},
            "versions": {name: version(name) for name in _LIBRARIES}
            | {"libjpeg-turbo": str(features.version("libjpeg_turbo"))},
        }
        write_json(folder / "index.json", index)


def plan(entries: Sequence[Entry], split: str, seed: int, samples_per_shard: int) -> list[Shard]:
    """Deal the samples of a split, in an order drawn by seed, to shards of equal size (give or take one)."""
    chosen = [entry for entry in entries if entry.source.picture.split == split]
    chosen.sort(key=lambda entry: lot(seed, entry.source.picture.name))
    count = math.ceil(len(chosen) / samples_per_shard)
    ends = [len(chosen) * number // count for number in range(count + 1)]
    return [Shard(f"{split}-{number:06d}.tar", chosen[ends[number] : ends[number + 1]]) for number in range(count)]


def pack(
    shards: Sequence[Shard], folder: Path, cutter: Cutter, processes: int | None = None
) -> dict[str, dict[str, Any]]:
    """Write the shards into `folder`, one job each; give name, samples, bytes and sha256 of every one by name."""
    jobs = parallel(Packer(folder, cutter).write, shards, processes=processes)
    return {row["name"]: row for row in console.track(jobs, f"pack {cutter.size}² crops", total=len(shards))}


@dataclass(frozen=True)
class Packer:
    """Writes tars; holds one sample in memory at a time."""

    folder: Path
    cutter: Cutter

    def write(self, shard: Shard) -> dict[str, Any]:
        path = self.folder / shard.name
        # In large writes, since a system call for each header and each padding costs more than to make them.
        with path.open("wb", _BUFFER) as file:
            for entry in shard.entries:
                _add(file, f"{entry.key}.jpg", self.jpeg(entry))
                _add(file, f"{entry.key}.json", manifest.line(entry.source.picture).encode())
                _add(file, f"{entry.key}.npy", _npy(entry.rows.read()))
            file.write(bytes(2 * tarfile.BLOCKSIZE))
            file.write(bytes(-file.tell() % tarfile.RECORDSIZE))
        return {
            "name": shard.name,
            "samples": len(shard.entries),
            "bytes": path.stat().st_size,
            "sha256": sha256(path),
        }

    def jpeg(self, entry: Entry) -> bytes:
        """The crop of an entry as it is packed."""
        return _jpeg(self.cutter.cut(entry.source))


def _add(file: IO[bytes], name: str, content: bytes) -> None:
    """Add a member to a tar: the bytes that `TarFile.addfile` and WebDataset's own writer make, for less than half the
    time, most of which would go into copies and books that nobody reads."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    file.write(member.tobuf(tarfile.USTAR_FORMAT))
    file.write(content)
    file.write(bytes(-len(content) % tarfile.BLOCKSIZE))


def _jpeg(crop: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(crop).save(buffer, "JPEG", quality=95, subsampling="4:4:4")
    return buffer.getvalue()


def _npy(vectors: Vectors) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, vectors, allow_pickle=False)
    return buffer.getvalue()


def _describe(shards: Sequence[Shard], written: dict[str, dict[str, Any]]) -> dict[str, Any]:
    pictures = [entry.source.picture for shard in shards for entry in shard.entries]
    return {
        "samples": len(pictures),
        "species": dict(Counter(picture.species for picture in pictures)),
        "shards": [written[shard.name] for shard in shards],
    }
