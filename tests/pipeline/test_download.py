"""The download stage against a local server that misbehaves in the ways that real ones do."""

import errno
import gzip
import hashlib
import io
import re
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import download
from pipeline.files import read_json
from pipeline.source_config import Archive, ArchivesSource, FlockSource, Mirrors
from stackgan.errors import UserError

RAW = Path("data/test/raw")
# Several of gdown's blocks of 512 KiB.
IMAGES = gzip.compress(b"".join(hashlib.sha256(number.to_bytes(4)).digest() for number in range(80_000)), 1, mtime=0)
HTML = b"<!DOCTYPE html><html><title>Quota exceeded</title></html>"


def _zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("birds/text_c10/a.txt", "a bird")
    return content.getvalue()


CAPTIONS = _zip()


@dataclass
class Server:
    """What is served at each path; `cut` paths lose the connection midway, `rangeless` ones ignore Range."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)
    rangeless: set[str] = field(default_factory=set)
    ranges: list[str | None] = field(default_factory=list)

    def respond(self, request: BaseHTTPRequestHandler) -> None:
        content, asked = self.files.get(request.path), request.headers["Range"]
        self.ranges.append(asked)
        if content is None:
            request.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if asked and request.path not in self.rangeless:
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            start = 0
            request.send_response(200)
        request.send_header("ETag", '"same"')
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        body = content[start:]
        if self.cuts.get(request.path, 0) > 0:
            self.cuts[request.path] -= 1
            body = body[: len(body) // 2]
        request.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.respond(self)

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_address[1]}"
    state.files = {"/images": IMAGES, "/captions": CAPTIONS, "/html": HTML}
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STACKGAN_ARCHIVES", raising=False)
    monkeypatch.setattr(download, "RETRIES", 0)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _run(server: Server, *images: str, sha256: str | None = None, captions: str = "/captions") -> None:
    source = ArchivesSource(
        kind="archives",
        images=Archive(name="CUB_200_2011.tgz", sha256=sha256),
        captions=Archive(name="birds.zip", sha256=None),
    )
    mirrors = Mirrors(images=tuple(server.url + path for path in images), captions=(server.url + captions,))
    download.run(SimpleNamespace(preset="test", source=source, mirrors=mirrors))  # type: ignore[arg-type]


def _expect_error(
    server: Server, pattern: str, *images: str, sha256: str | None = None, captions: str = "/captions"
) -> str:
    with pytest.raises(UserError) as caught:
        _run(server, *images, sha256=sha256, captions=captions)
    message = str(caught.value)
    assert re.search(pattern, message), message
    assert "\n" not in message
    assert not RAW.exists() and not list(Path().glob("data/test/*")), "something half-written is left"
    return message


def test_both_archives_arrive_whole_and_are_recorded(server: Server) -> None:
    _run(server, "/images", sha256=_digest(IMAGES))
    assert (RAW / "CUB_200_2011.tgz").read_bytes() == IMAGES
    assert (RAW / "birds.zip").read_bytes() == CAPTIONS
    assert read_json(RAW / "source.json", made_by="download")["captions"] == {
        "name": "birds.zip",
        "bytes": len(CAPTIONS),
        "sha256": _digest(CAPTIONS),
    }
    assert not list(Path(".cache/downloads").iterdir())


def test_a_cut_connection_is_resumed_by_the_next_run(server: Server) -> None:
    server.cuts["/images"] = 1
    _expect_error(server, r"CUB_200_2011.tgz could not be had .*incomplete.*run again to resume", "/images")
    _run(server, "/images", sha256=_digest(IMAGES))
    assert (RAW / "CUB_200_2011.tgz").read_bytes() == IMAGES
    resumed_at = [int(asked[6:-1]) for asked in server.ranges if asked]
    assert len(resumed_at) == 1 and resumed_at[0] > len(IMAGES) // 4


def test_a_cut_connection_is_resumed_within_a_run(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "RETRIES", 2)
    server.cuts["/images"] = 1
    _run(server, "/images", sha256=_digest(IMAGES))
    assert (RAW / "CUB_200_2011.tgz").read_bytes() == IMAGES


def test_a_server_that_cannot_resume_starts_afresh(server: Server) -> None:
    server.cuts["/images"], server.rangeless = 1, {"/images"}
    _expect_error(server, "incomplete", "/images")
    _run(server, "/images", sha256=_digest(IMAGES))
    assert (RAW / "CUB_200_2011.tgz").read_bytes() == IMAGES


def test_partial_files_lie_under_dvc_root(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "parent"))
    server.cuts["/images"] = 1
    _expect_error(server, "incomplete", "/images")
    assert list((tmp_path / "parent/.cache/downloads").rglob("*.part"))


def test_the_next_mirror_is_tried(server: Server) -> None:
    server.files["/wrong"] = IMAGES[:-1] + b"x"
    _run(server, "/none", "/html", "/wrong", "/images", sha256=_digest(IMAGES))
    assert (RAW / "CUB_200_2011.tgz").read_bytes() == IMAGES


def test_every_mirror_that_failed_is_named(server: Server) -> None:
    message = _expect_error(server, "404", "/none", "/html", sha256=_digest(IMAGES))
    assert "web page" in message and "STACKGAN_ARCHIVES" in message


@pytest.mark.parametrize("sha256", [None, _digest(IMAGES)])
def test_a_web_page_is_named_as_such(server: Server, sha256: str | None) -> None:
    _expect_error(server, "sent a file that is a web page, not an archive", "/html", sha256=sha256)


def test_a_wrong_checksum_is_named(server: Server) -> None:
    _expect_error(server, f"SHA-256 {_digest(IMAGES)} where {'0' * 64} is expected", "/images", sha256="0" * 64)


def test_a_rejected_file_is_fetched_again_next_time(server: Server) -> None:
    server.files["/images"] = HTML
    _expect_error(server, "web page", "/images")
    server.files["/images"] = IMAGES
    _run(server, "/images")
    assert (RAW / "CUB_200_2011.tgz").read_bytes() == IMAGES


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (IMAGES[: len(IMAGES) // 2 + 7], "cut short"),
        (b"\x1f\x8b\x08 rubbish" * 9, "no sound gzip"),
        (b"", "is empty"),
        (gzip.compress(b"\0" * (80 << 20), 1), "sent a file that unpacks to more than 20 times its size"),
    ],
    ids=["cut short", "rubbish", "empty", "bomb"],
)
def test_unsound_gzip_is_found_without_a_checksum(server: Server, content: bytes, problem: str) -> None:
    server.files["/bad"] = content
    _expect_error(server, problem, "/bad")


def test_an_unsound_zip_is_found_and_the_good_archive_kept_for_next_time(server: Server) -> None:
    server.files["/bad"] = CAPTIONS[:-9]
    _expect_error(server, "birds.zip could not be had .*no sound zip", "/images", captions="/bad")
    assert list(Path(".cache/downloads").rglob("CUB_200_2011.tgz"))


def test_a_zip_bomb_is_found(server: Server) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", b"\0" * (80 << 20))
    server.files["/bad"] = content.getvalue()
    _expect_error(server, "birds.zip could not be had .* more than 20 times its size", "/images", captions="/bad")


def test_an_unreachable_server_is_one_line(server: Server) -> None:
    server.url = "http://127.0.0.1:9"
    _expect_error(server, r"127.0.0.1:9: .*STACKGAN_ARCHIVES", "/images")


def test_without_mirrors_the_folder_is_named(server: Server) -> None:
    _expect_error(server, "no mirror is given.*STACKGAN_ARCHIVES")


def test_the_users_folder_comes_first_and_is_left_alone(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "CUB_200_2011.tgz").write_bytes(IMAGES)
    monkeypatch.setenv("STACKGAN_ARCHIVES", str(folder))
    _run(server, "/none")
    said = capsys.readouterr().err
    assert "CUB_200_2011.tgz: taken from STACKGAN_ARCHIVES" in said
    assert f"birds.zip: from {server.url.removeprefix('http://')}" in said
    (RAW / "CUB_200_2011.tgz").write_bytes(b"")
    assert (folder / "CUB_200_2011.tgz").read_bytes() == IMAGES


@pytest.mark.parametrize(
    ("content", "sha256", "problem"),
    [
        (IMAGES, "0" * 64, r"SHA-256.*set presets/test.yaml: source.images.sha256 to null"),
        (IMAGES[:-20], None, "cut short"),
        (HTML, None, "web page"),
    ],
)
def test_a_wrong_file_in_the_users_folder_is_an_error(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, sha256: str | None, problem: str
) -> None:
    (tmp_path / "CUB_200_2011.tgz").write_bytes(content)
    monkeypatch.setenv("STACKGAN_ARCHIVES", str(tmp_path))
    _expect_error(server, problem, "/images", sha256=sha256)


def test_a_folder_that_is_not_there_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKGAN_ARCHIVES", "no/such/folder")
    _expect_error(server, "no/such/folder, which is no folder", "/images")


def test_a_failure_leaves_the_old_archives(server: Server) -> None:
    _run(server, "/images")
    with pytest.raises(UserError):
        _run(server, "/html")
    assert (RAW / "CUB_200_2011.tgz").read_bytes() == IMAGES


def test_a_full_disk_leaves_nothing_half_written(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copyfile

    def fail_on_captions(source: Path, target: Path) -> None:
        copy(source, target)
        if target.name == "birds.zip":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fail_on_captions)
    _expect_error(server, "No space left on device.*free some space", "/images")


def test_drive_links_keep_their_resource_key() -> None:
    direct = "https://drive.usercontent.google.com/download?id=0B3y&resourcekey=0-key&export=download&confirm=t"
    assert download._direct("https://drive.google.com/file/d/0B3y/view?resourcekey=0-key") == direct
    assert download._direct("https://drive.google.com/uc?id=0B3y&resourcekey=0-key") == direct
    for url in ("https://drive.google.com/uc?id=0B3y", "https://data.caltech.edu/files/CUB.tgz?download=1"):
        assert download._direct(url) == url


def test_kind_flock_draws_and_records() -> None:
    source = FlockSource(kind="flock", species=8, pictures=1, scenes="wild", seed=0)
    download.run(SimpleNamespace(preset="test", source=source, mirrors=Mirrors()))  # type: ignore[arg-type]
    record = read_json(RAW / "source.json", made_by="download")["images"]
    assert record["sha256"] == _digest((RAW / "CUB_200_2011.tgz").read_bytes())
