"""Stage `download`: put the images archive and the captions archive into data/<preset>/raw/, whole and checked.

Reads    kind flock: nothing, it draws; kind archives: the folder STACKGAN_ARCHIVES, then the mirrors in order
Writes   data/<preset>/raw/: both archives, never unpacked, and source.json: name, bytes and SHA-256 of each
Params   source (mirrors only say where the same bytes may be had: they are no reason to download again)

A cut download stays in .cache/downloads, outside the stage's outs, and the next run goes on from there. Nothing
appears in raw/ before both archives have proved sound.
"""

import os
import shutil
import textwrap
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gdown.download import download
from gdown.exceptions import DownloadError
from gdown.parse_url import parse_url
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from pipeline.console import console, info, track
from pipeline.files import atomic_folder, claim, sha256, write_json
from pipeline.flock import archive as flock
from pipeline.paths import Paths, project_root
from pipeline.source_config import Archive, ArchivesSource, FlockSource, Mirrors
from pipeline.unpacking import GZIP_ERRORS, ZIP_ERRORS, BombError, check_sizes, gunzip
from stackgan.errors import UserError

if TYPE_CHECKING:
    from pipeline.params import Params

FOLDER_VARIABLE = "STACKGAN_ARCHIVES"
RETRIES = 5
TIMEOUT = 60.0  # seconds without a byte


class UnsoundError(Exception):
    """What came is not the archive that was asked for; the message ends a sentence that begins with its origin."""


def run(params: "Params") -> None:
    raw = Paths(params.preset).raw
    if isinstance(params.source, FlockSource):
        _draw(params.source, raw)
    else:
        with claim(Paths.downloads() / "lock", "fetches archives"):
            _fetch(params.source, params.mirrors, raw, f"presets/{params.preset}.yaml")


def _draw(source: FlockSource, raw: Path) -> None:
    entries = flock.entries(source)
    with atomic_folder(raw) as folder:
        images, captions = folder / source.images.name, folder / source.captions.name
        pictures = track(flock.draw(source, entries), "drawing birds", len(entries))
        flock.pack(source, pictures, images, captions)
        write_json(folder / "source.json", {"images": _record(images), "captions": _record(captions)})


def _fetch(source: ArchivesSource, mirrors: Mirrors, raw: Path, preset_file: str) -> None:
    wanted = {"images": (source.images, mirrors.images), "captions": (source.captions, mirrors.captions)}
    found = {
        role: _from_folder(archive, f"{preset_file}: source.{role}.sha256") or _from_mirrors(archive, urls)
        for role, (archive, urls) in wanted.items()
    }
    with atomic_folder(raw) as folder:
        records = {}
        for role, path in found.items():
            target = folder / wanted[role][0].name
            # A copy even where a link would do: DVC takes over the outs, down to their permissions.
            shutil.copyfile(path, target)
            records[role] = _record(target)
        write_json(folder / "source.json", records)
    for archive, _ in wanted.values():
        shutil.rmtree(Paths.downloads() / archive.name, ignore_errors=True)


def _record(path: Path) -> dict[str, str | int]:
    # Not where it came from: the same bytes from another mirror must not make every later stage run again.
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}


def _from_folder(archive: Archive, setting: str) -> Path | None:
    """The archive in the user's own folder, if there is one; a folder or file that cannot be right is an error."""
    named = os.environ.get(FOLDER_VARIABLE)
    if not named:
        return None
    if not Path(named).is_dir():
        raise UserError(f"{FOLDER_VARIABLE} is {named}, which is no folder: name one that holds {archive.name}")
    path = Path(named) / archive.name
    if not path.is_file():
        return None
    try:
        _check(path, archive)
    except UnsoundError as error:
        hint = f", or set {setting} to null to take it as it is" if archive.sha256 else ""
        raise UserError(f"{path} {error}: put the right file there{hint}") from error
    info(f"{archive.name}: taken from {FOLDER_VARIABLE}")
    return path


def _from_mirrors(archive: Archive, urls: tuple[str, ...]) -> Path:
    """The archive from the first mirror that gives a sound one."""
    failures = []
    for url in urls:
        if "://" not in url:
            return _from_file(project_root() / url, archive)
        host = urllib.parse.urlsplit(url).netloc
        target = Paths.download(archive.name, url)
        try:
            _transfer(url, target, archive.name)
            _check(target, archive)
            info(f"{archive.name}: from {host}")
            return target
        except UnsoundError as error:
            shutil.rmtree(target.parent)
            failures.append(f"{host} sent a file that {error}")
        except (OSError, DownloadError) as error:
            failures.append(f"{host}: {textwrap.shorten(str(error), 400, placeholder=' …')}")
    tried = "; ".join(failures) or "no mirror is given"
    raise UserError(
        f"{archive.name} could not be had ({tried}): "
        f"run again to resume, or put the file into a folder and set {FOLDER_VARIABLE} to that folder"
    )


def _from_file(path: Path, archive: Archive) -> Path:
    """The archive that command `pack` made on this machine."""
    try:
        _check(path, archive)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `stackgan pack` again") from None
    except UnsoundError as error:
        raise UserError(f"{path} {error}: run `stackgan pack` again") from error
    return path


def _transfer(url: str, target: Path, name: str) -> None:
    """Download `url` to `target`, going on with what an earlier run left; a server that cannot go on starts afresh."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with _progress(name) as progress:
        for fresh in (False, True):
            try:
                download(_direct(url), str(target), quiet=True, use_cookies=False, resume=True, timeout=TIMEOUT,
                         retries=RETRIES, progress=progress)  # fmt: skip
                return
            except DownloadError as error:
                if fresh or "byte range" not in str(error):
                    raise
                for partial in target.parent.glob("*.part"):
                    partial.unlink()


def _direct(url: str) -> str:
    """A Google Drive link with a resource key as the plain download that it leads to (gdown drops the key)."""
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
    drive_id, _ = parse_url(url)
    if drive_id is None or "resourcekey" not in query:
        return url
    fields = {"id": drive_id, "resourcekey": query["resourcekey"][0], "export": "download", "confirm": "t"}
    return f"https://drive.usercontent.google.com/download?{urllib.parse.urlencode(fields)}"


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar, fed with the bytes so far and in all; nothing where the output is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    info(f"{name}: downloading")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _check(path: Path, archive: Archive) -> None:
    """Raise `UnsoundError` unless the file has the checksum or, where none is known, is an archive whole to its end."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise UnsoundError("is empty")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise UnsoundError("is a web page, not an archive")
    if archive.sha256 is not None:
        if (actual := sha256(path)) != archive.sha256:
            raise UnsoundError(f"has the SHA-256 {actual} where {archive.sha256} is expected")
    elif archive.name.endswith(".zip"):
        _check_zip(path)
    else:
        _check_gzip(path)


def _check_gzip(path: Path) -> None:
    try:
        for _ in gunzip(path):
            pass
    except EOFError as error:
        raise UnsoundError("is a gzip archive cut short") from error
    except GZIP_ERRORS as error:
        raise UnsoundError(f"is no sound gzip archive ({error})") from error
    except BombError as error:
        raise UnsoundError(str(error)) from error


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            check_sizes(path, archive)
            damaged = archive.testzip()
    except ZIP_ERRORS as error:
        raise UnsoundError(f"is no sound zip archive ({error})") from error
    except BombError as error:
        raise UnsoundError(str(error)) from error
    if damaged:
        raise UnsoundError(f"is a zip archive whose member {damaged} is damaged")
