"""A clone of the project, small enough for real `dvc repro` runs in a test."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import PROJECT

TINY_PRESET = {
    "source": {"species": 8, "pictures": 12},
    "text_encoder": {
        "max_length": 64,
        "conv_widths": [16],
        "rnn_width": 16,
        "dim": 16,
        "image_size": 32,
        "image_width": 8,
        "epochs": 2,
        "batch_size": 4,
    },
    "judge": {"width": 4, "epochs": 2, "batch_size": 16},
    "gf_dim": 4,
    "df_dim": 4,
    "stage1": {"epochs": 2, "batch_size": 16},
    "stage2": {"epochs": 1, "batch_size": 8},
}


@dataclass(frozen=True)
class Clone:
    """A Git repository with the project's files in it, and its own DVC."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert not check or result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return result

    def ran(self, *command: str) -> list[str]:
        """The stages that a `dvc` command really ran, in their order."""
        lines = self.run("dvc", *command).stdout.splitlines()
        return [line.split("'")[1] for line in lines if line.startswith("Running stage")]


def copy_of_project(folder: Path) -> Clone:
    """Copy every file that Git tracks or would track, as it is now, and commit it to a new repository."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(folder.parent / "dvc-global"),
        "DVC_SYSTEM_CONFIG_DIR": str(folder.parent / "dvc-system"),
        "DVC_SITE_CACHE_DIR": str(folder.parent / "dvc-site"),
        "TMPDIR": str(folder.parent / "tmp"),
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@example.invalid",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@example.invalid",
    }
    clone = Clone(folder, environment)
    (folder / "dvc.lock").unlink(missing_ok=True)
    Path(environment["TMPDIR"]).mkdir()
    clone.run("git", "init", "-q", "-b", "main")
    return clone


def tiny_clone(folder: Path, preset: Mapping[str, Any] = TINY_PRESET) -> Clone:
    """A copy of the project whose sample preset has the changes of `preset` and checkpoints every step; not yet run."""
    clone = copy_of_project(folder)
    change(folder / "presets" / "sample.yaml", preset)
    change(folder / "params.yaml", {"species": 8, "runtime": {"checkpoint_seconds": 0}})
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "tiny")
    return clone


def change(file: Path, changes: Mapping[str, Any]) -> None:
    """Change values of a YAML file, sections key by key."""
    yaml = YAML()
    values = yaml.load(file.read_text())
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    with file.open("w") as stream:
        yaml.dump(values, stream)


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """The whole pipeline run once on a tiny flock, committed as a user would commit it."""
    folder = tmp_path_factory.mktemp("clone") / "project"
    clone = tiny_clone(folder)
    clone.run("dvc", "repro")
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "baseline")
    yield clone
    shutil.rmtree(folder)
