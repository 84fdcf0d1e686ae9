"""The command that writes ONNX files; what is in them, tests/stackgan/test_onnx_export.py says."""

from pathlib import Path

import pytest

from pipeline import export_onnx
from stackgan import onnx_export
from stackgan.errors import UserError
from stackgan.model import StackGAN
from tests.stackgan.test_model import make_model, make_parts


def test_each_stage_has_a_file_and_what_fails_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    model = make_model(make_parts(tmp_path / "parts"), tmp_path / "model")
    monkeypatch.setattr(onnx_export, "require_packages", lambda: None)

    def export(model: StackGAN, stage: int, path: Path) -> float:
        path.write_text(f"stage {stage}")
        if stage == 2:
            raise UserError("another picture")
        return 0.0

    monkeypatch.setattr(onnx_export, "export", export)
    with pytest.raises(UserError, match="another picture"):
        export_onnx.run(tmp_path / "out", model)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["stage1.onnx"]
    assert (tmp_path / "out" / "stage1.onnx").read_text() == "stage 1"
