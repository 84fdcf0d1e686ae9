import hashlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stackgan import mirror as module
from stackgan.errors import UserError
from stackgan.mirror import mirror
from stackgan.reader import loader, samples
from tests.stackgan.shard_maker import make_shards

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
ROOM = 10**9


class Server(ThreadingHTTPServer):
    """Serves a folder, notes what was asked for, and answers 503 as often as `failures` says."""

    asked: list[str]
    failures = 0


class Handler(SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path.rpartition("/")[2])
        if self.server.failures > 0:
            self.server.failures -= 1
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """A shards folder as the pipeline writes it, checksums and all."""
    folder = make_shards(tmp_path / "bucket" / "64", 5, 6, 5)
    index = json.loads((folder / "index.json").read_text())
    for shard in index["splits"]["train"]["shards"]:
        shard["sha256"] = hashlib.sha256((folder / shard["name"]).read_bytes()).hexdigest()
    (folder / "index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture
def server(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    with Server(("127.0.0.1", 0), partial(Handler, directory=str(bucket.parent))) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/64"


@pytest.mark.parametrize("workers", [0, 2])
def test_training_reads_the_same_batches_over_http(
    bucket: Path, server: Server, url: str, tmp_path: Path, workers: int
) -> None:
    folder = mirror(url, tmp_path / "cache", ROOM)
    for number in range(2):
        near, far = (
            loader(place, "train", batch_size=4, size=64, seed=0, workers=workers) for place in (bucket, folder)
        )
        near.set_epoch(number)
        far.set_epoch(number)
        assert [batch.key for batch in far] == [batch.key for batch in near]
    assert sorted(server.asked) == ["index.json", *(f"train-{number:06d}.tar" for number in range(3))]
    assert not list(folder.glob(".*")), "neither locks nor parts stay behind"


def test_a_second_run_fetches_the_index_alone(server: Server, url: str, tmp_path: Path) -> None:
    for _ in range(2):
        assert len(list(samples(mirror(url, tmp_path / "cache", ROOM), "train", size=64))) == 16
    assert server.asked.count("index.json") == 2
    assert len(server.asked) == 5


def test_other_shards_have_another_mirror(bucket: Path, url: str, tmp_path: Path) -> None:
    before = mirror(url, tmp_path / "cache", ROOM)
    index = bucket / "index.json"
    index.write_text(index.read_text() + "\n")
    assert mirror(url, tmp_path / "cache", ROOM) != before


def test_shards_made_in_parts_lie_in_a_folder_each(bucket: Path, url: str, tmp_path: Path) -> None:
    index = json.loads((bucket / "index.json").read_text())
    for number, shard in enumerate(index["splits"]["train"]["shards"]):
        (bucket / f"part{number}").mkdir()
        (bucket / shard["name"]).rename(bucket / f"part{number}" / "train-000000.tar")
        shard["name"] = f"part{number}/train-000000.tar"
    (bucket / "index.json").write_text(json.dumps(index))
    assert len(list(samples(bucket, "train", size=64))) == 16
    assert len(list(samples(mirror(url, tmp_path / "cache", ROOM), "train", size=64))) == 16


def test_processes_fetch_a_shard_once(server: Server, url: str, tmp_path: Path) -> None:
    folder = mirror(url, tmp_path / "cache", ROOM)
    with ThreadPoolExecutor(4) as pool:  # each with a lock file of its own, as processes have
        counts = list(pool.map(lambda _: len(list(samples(folder, "train", size=64))), range(4)))
    assert counts == [16] * 4
    assert len(server.asked) == 4


def test_what_was_read_longest_ago_makes_room(bucket: Path, server: Server, url: str, tmp_path: Path) -> None:
    largest = max(path.stat().st_size for path in bucket.glob("*.tar"))
    folder = mirror(url, tmp_path / "cache", 2 * largest)
    assert len(list(samples(folder, "train", size=64))) == 16
    assert [path.name for path in sorted(folder.glob("*.tar"))] == ["train-000001.tar", "train-000002.tar"]
    assert len(list(samples(folder, "train", size=64))) == 16, "the first is fetched again"


def test_what_a_killed_process_left_goes(url: str, tmp_path: Path) -> None:
    folder = mirror(url, tmp_path / "cache", ROOM)
    part = folder / ".train-000000.tar.0a1b2c.tmp"
    part.write_bytes(b"the beginning of a shard")
    assert len(list(samples(folder, "train", size=64))) == 16
    assert not part.exists()


def test_who_waits_for_a_lock_that_is_removed_is_still_alone(tmp_path: Path) -> None:
    inside, most = [], []

    def visit(_: int) -> None:
        with module._alone(tmp_path / "lock"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    with ThreadPoolExecutor(6) as pool:  # some wait while others, who come when the first has gone, find no file
        list(pool.map(visit, range(18)))
    assert max(most) == 1
    assert not (tmp_path / "lock").exists()


def test_a_shard_that_is_not_there_is_named_as_such(bucket: Path, url: str, tmp_path: Path) -> None:
    folder = mirror(url, tmp_path / "cache", ROOM)
    (bucket / "train-000001.tar").unlink()
    with pytest.raises(UserError, match=r"train-000001\.tar is missing: copy the shards anew"):
        list(samples(folder, "train", size=64))


def test_a_passing_failure_is_outlasted(server: Server, url: str, tmp_path: Path) -> None:
    server.failures = 3
    assert len(list(samples(mirror(url, tmp_path / "cache", ROOM), "train", size=64))) == 16


def test_a_shard_with_another_checksum_is_refused(bucket: Path, url: str, tmp_path: Path) -> None:
    path = bucket / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    folder = mirror(url, tmp_path / "cache", ROOM)
    with pytest.raises(UserError, match=r"train-000001\.tar could not be had in 5 tries .*another checksum"):
        list(samples(folder, "train", size=64))
    assert not (folder / "train-000001.tar").exists()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("{url}/64", "index.json is missing: name the URL of the folder that holds 64/ and 256/"),
        ("http://127.0.0.1:1/64", "could not be had in 5 tries"),
        ("nowhere://bucket/64", "cannot be read .*Protocol not known"),
    ],
)
def test_a_place_without_shards_is_one_clear_line(url: str, tmp_path: Path, place: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        mirror(place.format(url=url), tmp_path / "cache", ROOM)
    assert "\n" not in str(error.value)
