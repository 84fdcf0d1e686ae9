import gzip
import io
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.archives import open_tar, open_zip
from stackgan.errors import UserError


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def make_tar(
    path: Path, *members: tuple[str, bytes], special: tarfile.TarInfo | None = None, mode: str = "w:gz"
) -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if special:
            tar.addfile(special)
    return path


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_is_read_at_random_and_leaves_nothing_behind(tmp_path: Path, temporary_folder: Path, mode: str) -> None:
    path = make_tar(tmp_path / "a.tgz", ("./x/one", b"1"), ("x/two", b"22"), ("x/one", b"last"), mode=mode)
    with open_tar(path) as tar:
        assert tar.read("x/two") == b"22"
        assert tar.read("x/one") == b"last"
        assert "x/three" not in tar
        with pytest.raises(UserError, match="x/three is missing"):
            tar.read("x/three")
    assert list(temporary_folder.iterdir()) == []


def test_the_temporary_file_goes_after_an_error(tmp_path: Path, temporary_folder: Path) -> None:
    path = make_tar(tmp_path / "a.tgz", ("x", b"1"))
    with pytest.raises(ZeroDivisionError), open_tar(path):
        assert list(temporary_folder.iterdir())
        raise ZeroDivisionError
    assert list(temporary_folder.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "./../x"])
def test_names_that_lead_out_of_an_archive_are_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError) as error, open_tar(make_tar(tmp_path / "a.tgz", ("fine", b"1"), (name, b"2"))):
        pass
    assert "points outside the archive" in one_line(error)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(name, b"2")
    with pytest.raises(UserError, match="points outside the archive"), open_zip(tmp_path / "a.zip"):
        pass


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_link_or_device_is_an_error_only_where_it_is_read(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("trap")
    info.type, info.linkname = kind, "/etc/passwd"
    with open_tar(make_tar(tmp_path / "a.tgz", ("fine", b"1"), special=info)) as tar:
        assert tar.read("fine") == b"1"
        with pytest.raises(UserError) as error:
            tar.read("trap")
    assert "trap is a link or a device" in one_line(error)


def test_a_symlink_in_a_zip_is_an_error_where_it_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("trap")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    with open_zip(tmp_path / "a.zip") as opened, pytest.raises(UserError, match="trap is a link"):
        opened.read("trap")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="truncated gzip"),
        pytest.param(lambda content: content[:40] + b"????" + content[44:], id="damaged gzip"),
        pytest.param(lambda content: gzip.decompress(content)[:1500], id="truncated tar"),
        pytest.param(lambda content: b"<html>Quota exceeded</html>", id="no archive"),
        pytest.param(lambda content: b"", id="empty"),
    ],
)
def test_a_damaged_tar_is_an_error(tmp_path: Path, temporary_folder: Path, damage: Callable[[bytes], bytes]) -> None:
    path = make_tar(tmp_path / "a.tgz", ("x", os.urandom(5000)))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError) as error, open_tar(path):
        pass
    assert "a.tgz" in one_line(error)
    assert list(temporary_folder.iterdir()) == []


def test_a_damaged_zip_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x", b"0123456789" * 10)
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"012345678x", 1))
    with open_zip(path) as opened:
        with pytest.raises(UserError, match="x cannot be read"):
            opened.read("x")
        with pytest.raises(UserError, match="y is missing"):
            opened.read("y")
    path.write_bytes(b"<html>")
    with pytest.raises(UserError, match="no zip archive"), open_zip(path):
        pass


def test_a_missing_archive_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc repro download"), open_tar(tmp_path / "a.tgz"):
        pass
