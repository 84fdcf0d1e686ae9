"""A project folder with tiny archives in place of CUB-200-2011."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import params
from pipeline.params import Params
from pipeline.paths import Paths
from tests.conftest import PROJECT
from tests.pipeline.tiny import Tiny

PRESET = "cub"
Project = Callable[..., Params]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Give a function that puts archives in place, makes the folder current and loads the parameters."""
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    shutil.copytree(PROJECT / "presets", tmp_path / "presets")
    monkeypatch.chdir(tmp_path)

    def make(data: Tiny, *overrides: str) -> Params:
        data.save(Paths(PRESET).raw)
        return params.load(PRESET, ["species=all", "seed=0", *overrides])

    return make
