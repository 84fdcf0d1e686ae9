"""A DVC remote, as docs/scaling.md has it: what one machine pushed another pulls, and has nothing left to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Clone


@pytest.fixture
def pushed(clone: Clone, tmp_path: Path) -> Iterator[Clone]:
    """The project with a remote that holds everything; as it was, afterwards."""
    clone.run("dvc", "remote", "add", "-d", "storage", str(tmp_path / "storage"))
    clone.run("git", "commit", "-qam", "Add a remote")
    clone.run("dvc", "push")
    yield clone
    clone.run("git", "reset", "-q", "--hard", "HEAD~1")


def test_a_fresh_clone_pulls_everything_and_has_nothing_to_do(pushed: Clone, tmp_path: Path) -> None:
    pushed.run("git", "clone", "-q", str(pushed.folder), str(tmp_path / "fresh"))
    fresh = Clone(tmp_path / "fresh", pushed.environment)
    fresh.run("dvc", "pull")
    assert fresh.ran("repro") == []
    assert fresh.run("git", "status", "--porcelain").stdout == ""
    made = Path("models") / "sample" / "stackgan" / "stage2.safetensors"
    assert (fresh.folder / made).read_bytes() == (pushed.folder / made).read_bytes()


def test_what_a_launcher_trained_is_taken_over_as_the_stage_s_result(pushed: Clone, tmp_path: Path) -> None:
    pushed.run("git", "clone", "-q", str(pushed.folder), str(tmp_path / "fresh"))
    fresh = Clone(tmp_path / "fresh", pushed.environment)
    fresh.run("dvc", "pull", "stage1", "shard@64")
    launch = ("torchrun", "--standalone", "--nproc_per_node=2", "-m", "pipeline", "stage1")
    before = fresh.run("git", "hash-object", "models/sample/stage1/generator.safetensors").stdout
    fresh.run(*launch)
    assert fresh.run("git", "hash-object", "models/sample/stage1/generator.safetensors").stdout != before
    fresh.run("dvc", "commit", "-f", "stage1")
    assert "up to date" in fresh.run("dvc", "status", "stage1").stdout
    assert "dvc.lock" in fresh.run("git", "status", "--porcelain").stdout
