from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import manifest
from pipeline.manifest import Picture
from stackgan.errors import UserError

PICTURE = Picture(3, "001.Ani/b.jpg", 1, "001.Ani", "train", (1.0, 2.0, 3.5, 4.0), ("a café bird", "it’s black"))


def test_what_is_written_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    drawn = replace(PICTURE, id=9, name="001.Ani/a.jpg", truth={"head": "red"})
    path = tmp_path / "data" / "manifest.jsonl"
    manifest.write(path, [PICTURE, drawn])
    assert manifest.read(path) == [drawn, PICTURE]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert '"truth": {"head": "red"}' in lines[0]
    assert "truth" not in lines[1]
    assert "café" in lines[1]


@pytest.mark.parametrize("line", ["{", "[]", '{"id": 1}', '{"bbox": [1, 2]}'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(manifest.line(PICTURE) + "\n" + line + "\n")
    with pytest.raises(UserError, match=r"manifest\.jsonl:2 is not a manifest line"):
        manifest.read(path)


def test_a_missing_manifest_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc repro prepare"):
        manifest.read(tmp_path / "manifest.jsonl")
