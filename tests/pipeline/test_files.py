from pathlib import Path

import pytest

from pipeline import files
from stackgan.errors import UserError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a" / "file"
    files.atomic_write(target, "old")
    with pytest.raises(RuntimeError), files.atomic_file(target) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert target.read_text() == "old"
    assert names(target.parent) == ["file"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with files.atomic_folder(target) as folder:
        (folder / "old").touch()
    with pytest.raises(RuntimeError), files.atomic_folder(target) as folder:
        (folder / "new").touch()
        raise RuntimeError
    assert names(target) == ["old"]
    with files.atomic_folder(target) as folder:
        (folder / "new").touch()
    assert names(target) == ["new"]
    assert names(tmp_path) == ["folder"]


def test_json_is_the_same_bytes_for_equal_values_and_refuses_nan(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"b": 1, "a": "×"})
    files.write_json(tmp_path / "b.json", {"a": "×", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "c.json", {"a": float("nan")})
    assert not (tmp_path / "c.json").exists()


def test_missing_and_broken_inputs_name_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `dvc repro prepare` first"):
        files.read_json(tmp_path / "a.json", made_by="prepare")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"not valid JSON.*dvc repro --force prepare"):
        files.read_json(tmp_path / "a.json", made_by="prepare")


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="cannot be written: No space left on device"),
        files.atomic_file(tmp_path / "x"),
    ):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []
