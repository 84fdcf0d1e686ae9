"""Reads WebDataset shards for training (`loader`) and for looking at them in order (`samples`).

"Slice by batch", while the shards fit into memory: every process reads all samples raw, puts them in the same order,
which depends on seed and epoch alone, cuts that order into batches, and decodes only those that are its own. So the
batches are the same for any number of workers, ranks get equally many different ones, and training resumes at any batch
without decoding those before.

"Split by shard", beyond: each epoch deals the shards to the ranks, as many to each, and the few left over sit out.
Within a rank its workers slice by batch, so that all of the above still holds.
"""

import hashlib
import os
import random
import signal
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import webdataset as wds
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from stackgan.errors import UserError
from stackgan.shards import Pixels, Raw, Shards, Vectors, decode
from stackgan.transforms import Transform

SHUFFLE_BUFFER = 16_384  # samples; more than CUB-200-2011 has, so that every epoch is a true permutation
CACHE_BYTES = 1 << 30  # raw shards up to this size stay in memory between epochs
GRACE_SECONDS = 2  # that a process which loads lives on after SIGTERM
DECODED_BYTES = 1 << 30  # and so many bytes of decoded samples, in each process that decodes


class Batch(NamedTuple):
    """Training samples: `image` uint8 [B, 3, S, S], `embedding` float32 [B, T], `species` int64 [B] (CUB's numbers)."""

    image: Tensor
    embedding: Tensor
    species: Tensor
    key: list[str]


class Sample(NamedTuple):
    """One sample: `image` uint8 [3, S, S], `embeddings` float32 [captions, T], `picture` the manifest's line."""

    key: str
    image: Tensor
    embeddings: Tensor
    picture: dict[str, Any]


def samples(folder: Path, split: str, *, size: int, rows: Container[int] | None = None) -> Iterator[Sample]:
    """The samples of a split in the order of the shards, the middle `size` × `size` pixels of each crop.

    All of them, or those of some `rows` by their place in that order; the others are not decoded then. A missing or
    damaged shard is a `UserError` that names shard and key.
    """
    shards = Shards.find(folder, split)
    middle, rng = Transform("none", size), random.Random(0)
    for row, raw in enumerate(shards.read(shards.paths)):
        if rows is not None and row not in rows:
            continue
        image, embeddings, picture = decode(raw)
        yield Sample(raw["__key__"], _channels_first(middle(image, rng)), torch.from_numpy(embeddings).float(), picture)


def loader(
    folder: Path,
    split: str,
    *,
    batch_size: int,
    size: int,
    seed: int,
    transform: str = "crop-flip",
    captions: int = 1,
    workers: int = 0,
    pin: bool = False,
    rank: int = 0,
    world: int = 1,
) -> "Loader":
    """Batches of `batch_size` samples for one of `world` ranks, shuffled anew every epoch; see `Loader`.

    `transform` is one of `stackgan.transforms.NAMES`. An embedding is that of a random caption, or the mean of
    `captions` random ones. `pin` puts batches into page-locked memory, from where they reach a GPU without its being
    waited for. A split with less than one batch for every rank is a `UserError`.
    """
    shards = Shards.find(folder, split)
    decoder = Decoder(Transform(transform, size), captions, seed)
    result = Loader(shards, batch_size, decoder, workers, pin=pin, rank=rank, world=world)
    if not len(result):
        raise UserError(
            f"{folder}: {shards.samples} {split} pictures do not make a batch of {batch_size} for each of {world} "
            f"device{'s'[: world > 1]}: choose a smaller batch_size or more species"
        )
    return result


class Loader:
    """Iterates over the batches of one epoch; the same for any number of workers.

    Call `set_epoch` before each epoch. Pictures stay uint8: to normalise them is the device's work. `len` is the number
    of whole batches an epoch has for this rank, the same for every rank.
    """

    def __init__(
        self, shards: Shards, batch_size: int, decoder: "Decoder", workers: int, *, pin: bool, rank: int, world: int
    ) -> None:
        by_shard = shards.bytes > CACHE_BYTES and len(shards.paths) >= world
        fewest = sum(sorted(shards.counts)[: len(shards.paths) // world]) if by_shard else shards.samples // world
        self._batches = fewest // batch_size
        # Shared memory, since the workers live through all epochs: epoch, first batch.
        self._position = torch.zeros(2, dtype=torch.int64).share_memory_()
        dataset = wds.DataPipeline(
            EpochShards(shards, decoder.seed, self._position, *((rank, world) if by_shard else (0, 1))),
            RawSamples(shards),
            Shuffle(decoder.seed, self._position),
            wds.batched(batch_size, collation_fn=None, partial=False),
            OwnBatches(self._batches, *((0, 1) if by_shard else (rank, world)), self._position),
            Decode(decoder, self._position),
        )
        self._loader: DataLoader[Batch] = DataLoader(
            dataset,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin,
            worker_init_fn=_outlast_the_training,
            generator=torch.Generator(),  # else each epoch would draw from the global one, that of the training
        )

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """The next iteration is that of `epoch`, from batch `start` on."""
        self._position[0], self._position[1] = epoch, start

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Batch]:
        try:
            yield from self._loader
        except UserError as error:
            # From a worker it comes with the worker's traceback, whose last line is the message.
            raise UserError(str(error).strip().rpartition(f"{UserError.__name__}: ")[2]) from error
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise UserError(
                "a process that loads pictures died, most likely for lack of memory, in a container of shared memory: "
                "give it more (--shm-size), or set runtime.workers to 0"
            ) from error


@dataclass(frozen=True)
class EpochShards:
    """The shards of `rank` out of `world`, in the order of the epoch; each rank has as many."""

    shards: Shards
    seed: int
    position: Tensor
    rank: int
    world: int

    def __call__(self) -> Iterator[Path]:
        paths = list(self.shards.paths)
        random.Random(f"shards {self.seed} {int(self.position[0])}").shuffle(paths)
        return iter(paths[self.rank : len(paths) // self.world * self.world : self.world])


class RawSamples:
    """Raw samples of the shards, from memory where they were read before and are few enough to be kept."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self.kept: dict[Path, list[Raw]] = {}

    def __call__(self, paths: Iterable[Path]) -> Iterator[Raw]:
        for path in paths:
            if path in self.kept:
                yield from self.kept[path]
            elif self.shards.bytes <= CACHE_BYTES:
                yield from self.kept.setdefault(path, list(self.shards.read([path])))
            else:
                yield from self.shards.read([path])


@dataclass(frozen=True)
class Shuffle:
    """Shuffles through a buffer; a permutation where all samples fit in."""

    seed: int
    position: Tensor

    def __call__(self, raws: Iterable[Raw]) -> Iterator[Raw]:
        rng = random.Random(f"samples {self.seed} {int(self.position[0])}")
        held: list[Raw] = []
        for raw in raws:
            held.append(raw)
            if len(held) > SHUFFLE_BUFFER:
                index = rng.randrange(len(held))
                held[index], held[-1] = held[-1], held[index]
                yield held.pop()
        rng.shuffle(held)
        yield from held


@dataclass(frozen=True)
class OwnBatches:
    """Batches of this rank and this worker: the worker's number is known only where it runs."""

    batches: int  # of each rank
    rank: int
    world: int
    position: Tensor

    def __call__(self, groups: Iterable[list[Raw]]) -> Iterator[list[Raw]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        first = int(self.position[1]) + number
        stop = self.batches * self.world
        return islice(groups, first * self.world + self.rank, stop, workers * self.world)


class Decoded:
    """Decodes samples, and keeps as many as there is room for: to decode costs more than all the rest of loading."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[Pixels, Vectors, int]] = {}
        self._room = DECODED_BYTES

    def get(self, raw: Raw) -> tuple[Pixels, Vectors, int]:
        """Crop, embeddings and species of a sample."""
        name = raw["__url__"], raw["__key__"]
        if name in self._kept:
            return self._kept[name]
        image, embeddings, picture = decode(raw)
        sample = image, embeddings, picture["species_id"]
        self._room -= image.nbytes + embeddings.nbytes
        if self._room >= 0:
            self._kept[name] = sample
        return sample


@dataclass(frozen=True)
class Decoder:
    """Makes batches of raw samples; chance depends on seed, epoch and key, never on who decodes."""

    transform: Transform
    captions: int
    seed: int
    decoded: Decoded = field(default_factory=Decoded)

    def batch(self, raws: Sequence[Raw], epoch: int) -> Batch:
        images, embeddings, species = zip(*(self._sample(raw, epoch) for raw in raws), strict=True)
        return Batch(
            torch.stack(images),
            torch.from_numpy(np.stack(embeddings)),
            torch.tensor(species),
            [raw["__key__"] for raw in raws],
        )

    def _sample(self, raw: Raw, epoch: int) -> tuple[Tensor, NDArray[np.float32], int]:
        image, embeddings, species = self.decoded.get(raw)
        name = f"{self.seed} {epoch} {raw['__key__']}"
        rng = random.Random(hashlib.blake2b(name.encode(), digest_size=8).digest())
        chosen = rng.sample(range(len(embeddings)), min(self.captions, len(embeddings)))
        return (
            _channels_first(self.transform(image, rng)),
            embeddings[chosen].mean(0, dtype=np.float32),
            species,
        )


@dataclass(frozen=True)
class Decode:
    """The last step of the pipeline, with the epoch that only the running process knows."""

    decoder: Decoder
    position: Tensor

    def __call__(self, groups: Iterable[list[Raw]]) -> Iterator[Batch]:
        epoch = int(self.position[0])
        return (self.decoder.batch(group, epoch) for group in groups)


def _outlast_the_training(worker: int) -> None:
    """Ctrl-C and a scheduler's SIGTERM reach all processes at once, but until it stops the training needs its batches.

    SIGTERM is also how Python itself ends what is left of its processes; so it is obeyed, a little later.
    They exit in good order: a death by signal would be raised in the training, which may be saving its checkpoint.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE_SECONDS))


def _channels_first(image: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
