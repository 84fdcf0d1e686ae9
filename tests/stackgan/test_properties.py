"""What must hold for all values: mismatched captions, and batches shared by workers and ranks."""

from types import SimpleNamespace
from unittest.mock import patch

import torch
from hypothesis import given
from hypothesis import strategies as st

from stackgan import reader
from stackgan.losses import mismatch
from stackgan.reader import OwnBatches, Shuffle
from stackgan.shards import Raw


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 2**31))
def test_a_mismatched_caption_is_never_of_the_same_species(species: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    batch = torch.tensor(species)
    indices, valid = mismatch(batch, len(species), "other-species")
    assert ((indices >= 0) & (indices < len(species))).all()
    assert (batch[indices] != batch)[valid].all()
    assert valid.tolist() == [len(set(species)) > 1] * len(species)
    indices, valid = mismatch(batch, len(species), "shuffled")
    assert sorted(indices.tolist()) == list(range(len(species)))
    assert (indices != torch.arange(len(species)))[valid].all()


def numbered(count: int) -> list[list[Raw]]:
    return [[{"__key__": str(number)}] for number in range(count)]


def shared(total: int, world: int, rank: int, workers: int, start: int) -> list[str]:
    """Keys of the batches of one rank in the order in which a DataLoader takes them from its workers in turn."""
    position = torch.tensor([0, start])
    parts = []
    for worker in range(max(workers, 1)):
        info = SimpleNamespace(id=worker, num_workers=workers) if workers else None
        with patch.object(reader, "get_worker_info", lambda info=info: info):
            own = OwnBatches(total // world, rank, world, position)(numbered(total))
            parts.append([group[0]["__key__"] for group in own])
    longest = max(map(len, parts))
    return [part[turn] for turn in range(longest) for part in parts if turn < len(part)]


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 5), st.integers(0, 12))
def test_batches_hang_on_neither_workers_nor_ranks(total: int, world: int, workers: int, start: int) -> None:
    each = total // world
    ranks = [shared(total, world, rank, workers, start) for rank in range(world)]
    assert {len(keys) for keys in ranks} == {max(each - start, 0)}
    together = [key for step in zip(*ranks, strict=True) for key in step]
    assert together == [str(number) for number in range(start * world, each * world)]


@given(st.integers(0, 60), st.integers(1, 70), st.integers(0, 3), st.integers(0, 3))
def test_shuffling_loses_and_doubles_nothing(count: int, buffer: int, seed: int, epoch: int) -> None:
    raws: list[Raw] = [{"__key__": str(number)} for number in range(count)]
    with patch.object(reader, "SHUFFLE_BUFFER", buffer):
        once, again = (
            [raw["__key__"] for raw in Shuffle(seed, torch.tensor([epoch, 0]))(iter(raws))] for _ in range(2)
        )
    assert once == again
    assert sorted(once, key=int) == [raw["__key__"] for raw in raws]
