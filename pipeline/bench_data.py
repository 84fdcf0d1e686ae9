"""What `bench` measures of the data's way: sharding beside its limit, and the loader. On pictures made on the fly."""

import io
import random
import statistics
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from lightning_fabric import Fabric
from PIL import Image

from pipeline import embeddings
from pipeline.archives import open_tar
from pipeline.cores import cores
from pipeline.crops import Cutter, sources
from pipeline.cub import image_member
from pipeline.files import write_json
from pipeline.manifest import Picture
from pipeline.shard import Entry, Packer, Shard
from pipeline.training import stage_loader
from pipeline.workers import parallel

if TYPE_CHECKING:
    from pipeline.params import Params

PICTURES, PER_SHARD, CAPTIONS = 256, 32, 10
_TURNS = 3
_WIDTH, _HEIGHT = 500, 375  # as most of CUB's


@dataclass(frozen=True)
class Sharding:
    """images/s of all processes together: of `shard`, and of nothing but decoding, cutting and encoding."""

    rate: float
    limit: float


@dataclass(frozen=True)
class _Timed:
    """Packs a shard and only makes its JPEGs, in turn, so that noise hits both."""

    packer: Packer

    def seconds(self, shard: Shard) -> tuple[float, float]:
        """Of packing and of making alone, `_TURNS` times each."""
        self._make(shard)  # what a process does once, it has done then, and the pictures lie in the cache for both
        packing = making = 0.0
        for _ in range(_TURNS):
            start = time.perf_counter()
            self.packer.write(shard)
            middle = time.perf_counter()
            self._make(shard)
            packing += middle - start
            making += time.perf_counter() - middle
        return packing, making

    def _make(self, shard: Shard) -> None:
        for entry in shard.entries:
            self.packer.jpeg(entry)


def measure_sharding(folder: Path, size: int, params: "Params") -> Sharding:
    """Write shards of `size` into `folder`, from pictures and embeddings made there. Processes' start is left out."""
    pictures = [_picture(number) for number in range(PICTURES)]
    archive, vectors = folder / "pictures.tar", folder / "embeddings"
    _write_archive(archive, pictures)
    chance = np.random.default_rng(0)
    embedded = chance.standard_normal((PICTURES * CAPTIONS, params.text_encoder.dim)).astype(np.float16)
    embeddings.write(vectors, embedded, pictures, "bench")
    with open_tar(archive) as tar:
        rows = embeddings.read(vectors, pictures).rows
        entries = [
            Entry(f"{number:06d}", source, own)
            for number, (source, own) in enumerate(zip(sources(tar, pictures), rows, strict=True))
        ]
        shards = [
            Shard(f"train-{start:06d}.tar", entries[start : start + PER_SHARD])
            for start in range(0, PICTURES, PER_SHARD)
        ]
        timed = _Timed(Packer(folder, Cutter(size * 19 // 16, params.shard.crop)))
        times = list(parallel(timed.seconds, shards))
    index = [
        {"name": shard.name, "samples": len(shard.entries), "bytes": (folder / shard.name).stat().st_size}
        for shard in shards
    ]
    write_json(folder / "index.json", {"splits": {"train": {"shards": index}}})
    # Medians: one shard that something else on the machine slowed would count for many.
    limit = _TURNS * PER_SHARD * min(cores(), len(shards)) / statistics.median(making for _, making in times)
    return Sharding(limit * statistics.median(making / packing for packing, making in times), limit)


def measure_loader(
    folder: Path, size: int, batch_size: int, params: "Params", machine: Fabric, seconds: float
) -> float:
    """images/s from shards as `measure_sharding` leaves them, after the first epoch."""
    batches = stage_loader(folder, size, min(batch_size, PICTURES), params, machine)
    epoch, pictures, start = 0, 0, time.perf_counter()
    while epoch < 2 or time.perf_counter() - start < seconds:
        if epoch == 1:
            pictures, start = 0, time.perf_counter()
        batches.set_epoch(epoch)
        pictures += sum(len(batch.image) for batch in batches)
        epoch += 1
    return pictures / (time.perf_counter() - start)


def _picture(number: int) -> Picture:
    rng = random.Random(number)
    width, height = rng.uniform(120, 320), rng.uniform(120, 260)
    box = (rng.uniform(0, _WIDTH - width), rng.uniform(0, _HEIGHT - height), width, height)
    species = f"{number % 40 + 1:03d}.Bench"
    captions = ("a small bird with a red head and a white belly",) * CAPTIONS
    return Picture(number + 1, f"{species}/{number:04d}.jpg", number % 40 + 1, species, "train", box, captions)


def _write_archive(path: Path, pictures: list[Picture]) -> None:
    """Smooth pictures with a little noise: their JPEGs are as large as photographs'."""
    chance = np.random.default_rng(0)
    with tarfile.open(path, "w") as tar:
        for picture in pictures:
            coarse = chance.integers(0, 256, (24, 32, 3)).astype(np.float32)
            smooth = cv2.resize(coarse, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC)
            pixels = (smooth + chance.normal(0, 3, smooth.shape)).clip(0, 255).astype(np.uint8)
            content = io.BytesIO()
            Image.fromarray(pixels).save(content, "JPEG", quality=90)
            info = tarfile.TarInfo(image_member(picture.name))
            info.size = content.tell()
            content.seek(0)
            tar.addfile(info, content)
