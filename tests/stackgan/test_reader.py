import json
import os
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from stackgan import reader
from stackgan.errors import UserError
from stackgan.reader import Batch, Loader, loader, samples
from stackgan.shards import Raw, Shards, decode
from tests.stackgan.shard_maker import CAPTIONS, DIM, make_shards

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_shards(tmp_path / "shards", 9, 10, 10)  # 29: seven batches of four, one sample left over


def load(folder: Path, **options: int | str) -> Loader:
    return loader(folder, "train", **{"batch_size": 4, "size": 64, "seed": 0} | options)  # type: ignore[arg-type]


def epoch(batches: Loader, number: int, start: int = 0) -> list[Batch]:
    batches.set_epoch(number, start)
    return list(batches)


def keys(batches: list[Batch]) -> list[list[str]]:
    return [batch.key for batch in batches]


def assert_equal(one: list[Batch], other: list[Batch]) -> None:
    assert keys(one) == keys(other)
    for left, right in zip(one, other, strict=True):
        for a, b in zip(left[:3], right[:3], strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)


def test_a_batch_holds_what_was_packed(folder: Path) -> None:
    batches = epoch(load(folder), 0)
    assert len(batches) == 7
    for batch in batches:
        assert batch.image.shape == (4, 3, 64, 64)
        assert batch.image.dtype == torch.uint8
        assert batch.embedding.shape == (4, DIM)
        assert batch.embedding.dtype == torch.float32
        numbers = torch.tensor([int(key) for key in batch.key])
        assert torch.equal(batch.species, numbers % 5)
        caption = batch.embedding[:, 0] - 10 * numbers
        assert set(caption.tolist()) <= {0.0, 1.0, 2.0}


def test_an_epoch_is_a_permutation_and_each_is_another(folder: Path) -> None:
    batches = load(folder)
    orders = [[key for batch in epoch(batches, number) for key in batch.key] for number in range(4)]
    for order in orders:
        assert len(set(order)) == len(order) == 28
        assert order != sorted(order)
    assert all(one != other for one, other in pairwise(orders))
    assert keys(epoch(load(folder, seed=1), 0)) != keys(epoch(load(folder), 0))
    # Neighbours in a shard do not stay together.
    assert sum(int(b) - int(a) == 1 for a, b in pairwise(orders[0])) < 6


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_batches_are_the_same_for_any_number_of_workers(folder: Path, workers: int) -> None:
    alone, together = load(folder, captions=2), load(folder, captions=2, workers=workers)
    for number in (0, 1, 5):
        assert_equal(epoch(together, number), epoch(alone, number))


def test_signals_to_all_processes_leave_the_workers_to_the_training(folder: Path) -> None:
    """As Ctrl-C and a scheduler send them: the training ends its step and saves, so it still needs its batches."""
    before = set(psutil.Process().children())
    batches = load(folder, workers=2)
    found = iter(batches)
    first = [next(found), next(found)]  # one of each worker: both have begun
    workers = set(psutil.Process().children()) - before
    for worker in workers:
        worker.send_signal(signal.SIGINT)
        worker.send_signal(signal.SIGTERM)
    rest = list(found)
    time.sleep(reader.GRACE_SECONDS + 1)  # the training saves: that its workers end meanwhile is no error
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    assert_equal([*first, *rest], epoch(load(folder), 0))
    del batches, found  # or the workers would be missed by a later test


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_batches_evenly(folder: Path, world: int) -> None:
    whole = epoch(load(folder), 3)
    ranks = [load(folder, rank=rank, world=world, workers=rank % 3) for rank in range(world)]
    assert [len(rank) for rank in ranks] == [7 // world] * world
    parts = [epoch(rank, 3) for rank in ranks]
    together = [batch for step in zip(*parts, strict=True) for batch in step]
    assert_equal(together, whole[: 7 // world * world])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_at_any_batch(folder: Path, workers: int) -> None:
    whole = epoch(load(folder), 2)
    again = load(folder, workers=workers)
    for start in (0, 1, 4, 7):
        assert_equal(epoch(again, 2, start), whole[start:])
    again.set_epoch(2)
    next(iter(again))  # given up halfway
    assert_equal(epoch(again, 2), whole)


def test_what_was_skipped_is_not_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def spy(raw: Raw) -> Any:
        decoded.append(raw["__key__"])
        return decode(raw)

    monkeypatch.setattr(reader, "decode", spy)
    batches = epoch(load(folder, rank=1, world=2), 0, start=2)
    assert decoded == [key for batch in batches for key in batch.key]
    assert len(batches) == 1


@pytest.mark.parametrize(("room", "again"), [(1 << 30, 0), (0, 28)])
def test_samples_are_decoded_once_while_there_is_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch, room: int, again: int
) -> None:
    monkeypatch.setattr(reader, "DECODED_BYTES", room)
    batches = load(folder)
    for number in range(9):  # after so many, the one sample that an epoch leaves out was seen too
        epoch(batches, number)
    decoded: list[str] = []

    def spy(raw: Raw) -> Any:
        decoded.append(raw["__key__"])
        return decode(raw)

    monkeypatch.setattr(reader, "decode", spy)
    assert_equal(epoch(batches, 9), epoch(load(folder), 9))
    assert len(decoded) == again + 28  # the fresh loader decodes all in any case


def test_small_buffers_and_no_cache_still_give_every_sample_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "SHUFFLE_BUFFER", 5)
    monkeypatch.setattr(reader, "CACHE_BYTES", 0)
    batches = load(folder, batch_size=1)
    orders = [[key for batch in epoch(batches, number) for key in batch.key] for number in (0, 1)]
    assert all(sorted(order) == [f"{number:06d}" for number in range(29)] for order in orders)
    assert orders[0] != orders[1]
    monkeypatch.setattr(reader, "CACHE_BYTES", 1 << 30)
    assert keys(epoch(load(folder, batch_size=1), 1)) == [[key] for key in orders[1]]


def test_captions_are_chosen_at_random_or_averaged(folder: Path) -> None:
    def offsets(captions: int) -> list[float]:
        batches = load(folder, captions=captions)
        return [
            float(row[0]) - 10 * int(key)
            for number in range(4)
            for batch in epoch(batches, number)
            for row, key in zip(batch.embedding, batch.key, strict=True)
        ]

    one = offsets(1)
    assert all(20 < one.count(value) < 60 for value in (0.0, 1.0, 2.0))
    assert set(offsets(2)) == {0.5, 1.0, 1.5}
    assert set(offsets(CAPTIONS)) == set(offsets(10)) == {1.0}


def test_the_caption_does_not_depend_on_the_transform(folder: Path) -> None:
    one, other = (epoch(load(folder, transform=name), 0) for name in ("none", "strong"))
    assert all(torch.equal(a.embedding, b.embedding) for a, b in zip(one, other, strict=True))


def test_the_loader_leaves_the_global_generators_alone(folder: Path) -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].tolist()
    epoch(load(folder, transform="strong"), 0)
    epoch(load(folder, workers=2), 0)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state(legacy=False)["state"]["key"].tolist() == before[1]


def test_samples_come_in_order_and_whole(folder: Path) -> None:
    found = list(samples(folder, "train", size=64))
    assert [sample.key for sample in found] == [f"{number:06d}" for number in range(29)]
    assert found[7].image.shape == (3, 64, 64)
    assert found[7].image.dtype == torch.uint8
    assert found[7].embeddings.dtype == torch.float32
    assert found[7].embeddings[:, 0].tolist() == [70, 71, 72]
    assert found[7].picture["species_id"] == 2
    plain = {
        key: image
        for batch in epoch(load(folder, transform="none"), 0)
        for key, image in zip(batch.key, batch.image, strict=True)
    }
    assert torch.equal(plain[found[7].key], found[7].image)


def test_of_some_rows_no_others_are_decoded(folder: Path) -> None:
    damage(folder, b"000012.jpg", b"\0" * 64)
    found = list(samples(folder, "train", size=64, rows={28, 3, 13}))
    assert [sample.key for sample in found] == ["000003", "000013", "000028"]


def damage(folder: Path, member: bytes, content: bytes) -> None:
    """Overwrite the start of a member's content."""
    path = folder / "train-000001.tar"
    data = bytearray(path.read_bytes())
    start = data.index(member) + 512
    data[start : start + len(content)] = content
    path.write_bytes(data)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("member", "content"),
    [(b"000012.jpg", b"\0" * 64), (b"000012.npy", b"\x93NUMPY\x01\0v\0{'descr': '|O'"), (b"000012.json", b"]")],
)
def test_a_damaged_sample_is_named(folder: Path, member: bytes, content: bytes, workers: int) -> None:
    damage(folder, member, content)
    with pytest.raises(UserError, match=r"train-000001\.tar, sample 000012 is damaged") as error:
        epoch(load(folder, batch_size=1, workers=workers), 0)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"train-000001\.tar, sample 000012 is damaged"):
        list(samples(folder, "train", size=64))


@pytest.mark.parametrize(
    "change",
    [
        {"jpg": lambda content: content[:-200]},
        {"npy": lambda content: content[:-1]},
        {"json": lambda content: b'{"species_id": null}'},
        {"json": lambda content: b"7"},
    ],
)
def test_a_cut_or_foreign_member_is_named(tmp_path: Path, change: dict[str, Callable[[bytes], bytes]]) -> None:
    [raw] = Shards.find(make_shards(tmp_path, 1), "train").read([tmp_path / "train-000000.tar"])
    decode(raw)
    for member, damaged in change.items():
        raw[member] = damaged(raw[member])
    with pytest.raises(UserError, match=r"train-000000\.tar, sample 000000 is damaged"):
        decode(raw)
    del raw[member]
    with pytest.raises(UserError, match="sample 000000 is damaged"):
        decode(raw)


def test_a_loading_process_that_dies_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackgan.reader.decode", lambda raw: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UserError, match="a process that loads pictures died"):
        epoch(load(folder, workers=2), 0)


def test_shards_that_are_short_missing_or_unknown_are_errors(folder: Path) -> None:
    path = folder / "train-000002.tar"
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"000025.jpg")])
    with pytest.raises(UserError, match=r"train-000002\.tar"):
        epoch(load(folder), 0)
    path.unlink()
    with pytest.raises(UserError, match=r"train-000002\.tar is missing or damaged"):
        epoch(load(folder), 0)
    with pytest.raises(UserError, match="test split"):
        load_test = loader(folder, "test", batch_size=1, size=64, seed=0)
        epoch(load_test, 0)
    with pytest.raises(UserError, match=r"index\.json is missing"):
        load(folder / "elsewhere")
    (folder / "index.json").write_text(json.dumps([]))
    with pytest.raises(UserError, match="no index of shards"):
        load(folder)


def test_too_few_samples_for_a_batch_are_an_error(folder: Path) -> None:
    with pytest.raises(UserError, match="29 train pictures do not make a batch of 10 for each of 3 devices"):
        load(folder, batch_size=10, world=3)


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_beyond_memory_are_dealt_to_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setattr(reader, "CACHE_BYTES", 0)
    folder = make_shards(tmp_path / "many", 9, 10, 10, 10, 10)
    ranks = [load(folder, rank=rank, world=2, workers=workers) for rank in range(2)]
    assert [len(rank) for rank in ranks] == [4, 4]  # of two shards each, 19 samples at least
    dealt: set[frozenset[int]] = set()
    for number in range(3):
        parts = [epoch(rank, number) for rank in ranks]
        assert [len(part) for part in parts] == [4, 4]
        assert_equal(epoch(ranks[1], number, start=3), parts[1][3:])
        first, second = ({int(key) for batch in part for key in batch.key} for part in parts)
        assert len(first) == len(second) == 16
        assert not first & second
        shards = [{max(0, key - 9) // 10 + (key >= 9) for key in keys} for keys in (first, second)]
        assert not shards[0] & shards[1]
        dealt.add(frozenset(shards[0]))
    assert len(dealt) > 1, "epochs deal anew"


def test_a_shard_is_read_by_one_rank_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CACHE_BYTES", 0)
    folder = make_shards(tmp_path / "many", 8, 8, 8, 8)
    read: list[Path] = []
    whole = Shards.read

    def spy(self: Shards, paths: list[Path]) -> Any:
        read.extend(paths)
        return whole(self, paths)

    monkeypatch.setattr(Shards, "read", spy)
    for rank in range(2):
        epoch(load(folder, rank=rank, world=2), 0)
    assert sorted(read) == sorted(set(read))
    assert len(read) == 4
