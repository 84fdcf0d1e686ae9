"""docs/own-data.md, step by step: fruits instead of birds, from the folder to a trained Stage I."""

import json
from pathlib import Path

import pytest

from tests.integration.conftest import TINY_PRESET, Clone, change, copy_of_project
from tests.pipeline.fruits import draw_fruits


@pytest.fixture
def own(tmp_path: Path) -> Clone:
    clone = copy_of_project(tmp_path / "project")
    draw_fruits(clone.folder / "fruits", 6)
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "start")
    return clone


def test_fruits_are_packed_trained_on_and_noticed_when_they_change(own: Clone) -> None:
    said = own.run("python", "-m", "pipeline", "pack", "fruits").stderr
    assert "4 kinds, 24 pictures, 48 captions" in said
    command = said.splitlines()[-1].removeprefix("next: ").split()
    assert command[:3] == ["dvc", "exp", "run"]
    preset = own.folder / "presets" / "fruits.yaml"
    change(preset, {name: values for name, values in TINY_PRESET.items() if name != "source"})
    ran = own.ran(*command[1:], "stage1", "judge")
    assert set(ran) == {"download", "prepare", "text_encoder", "embed", "shard@64", "stage1", "judge"}
    assert json.loads((own.folder / "metrics" / "fruits" / "stage1.json").read_text())["loss_g"]
    assert json.loads((own.folder / "reports" / "fruits" / "dataset.json").read_text())["train"] == 20
    own.run("python", "-m", "pipeline", "pack", "fruits")
    assert own.ran("repro", "stage1", "judge") == []
    (own.folder / "fruits" / "lime" / "no 1.txt").write_text("a lime that is not ripe\n")
    own.run("python", "-m", "pipeline", "pack", "fruits")
    assert own.ran("repro", "prepare") == ["download", "prepare"]
