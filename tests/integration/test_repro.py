"""What people do with the project: real `dvc repro` and `dvc exp run` on a tiny flock."""

import json
import signal

from PIL import Image

from tests.integration.conftest import Clone
from tests.integration.runs import Run, after_steps, leftovers


def test_the_pipeline_ends_with_a_model_metrics_and_pictures(clone: Clone) -> None:
    model = clone.folder / "models" / "sample" / "stackgan"
    assert {path.name for path in model.iterdir()} >= {"config.json", "stage1.safetensors", "stage2.safetensors"}
    metrics = json.loads((clone.folder / "metrics" / "sample" / "evaluate.json").read_text())
    assert metrics
    pictures = list((clone.folder / "reports" / "sample").rglob("*.png"))
    assert len(pictures) >= 8
    for picture in pictures:
        Image.open(picture).verify()


def test_a_second_repro_does_nothing(clone: Clone) -> None:
    assert clone.ran("repro") == []
    assert "up to date" in clone.run("dvc", "status").stdout


def test_single_stages_run_from_the_command_line(clone: Clone) -> None:
    before = (clone.folder / "data" / "sample" / "shards" / "64" / "index.json").read_bytes()
    clone.run("python", "-m", "pipeline", "shard", "--size", "64")
    assert (clone.folder / "data" / "sample" / "shards" / "64" / "index.json").read_bytes() == before
    assert clone.ran("repro") == []


def test_lr_g_retrains_and_nothing_else_and_back_is_cached(clone: Clone) -> None:
    assert clone.ran("exp", "run", "-S", "lr_g=0.0006") == ["stage1", "stage2", "evaluate"]
    shown = json.loads(clone.run("dvc", "exp", "show", "--json").stdout)
    assert "0.0006" in json.dumps(shown)
    clone.run("git", "checkout", "-q", "--", ".")
    assert clone.ran("repro") == []  # the run cache has the old results


def test_a_killed_repro_is_taken_up_by_the_next(clone: Clone) -> None:
    again = ("dvc", "repro", "--force", "--single-item", "stage1")
    with Run(clone, *again) as run:
        assert run.reaches(after_steps(clone.folder / "checkpoints" / "stage1", 2)), run.output
        run.stop(signal.SIGKILL, whole=True)
    assert not (clone.folder / "models" / "sample" / "stage1").exists()
    assert "goes on after step" in clone.run(*again).stderr
    assert clone.run("git", "status", "--porcelain").stdout == "", (
        "dvc.lock and metrics, and so all bytes, are as before"
    )
    assert leftovers(clone) == []
    assert clone.ran("repro") == []
