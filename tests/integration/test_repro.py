"""What people do with the project: real `dvc repro` and `dvc exp run` on a tiny flock."""

import hashlib
import json
import signal
import time
from pathlib import Path

from PIL import Image

from tests.integration.conftest import Clone
from tests.integration.runs import Run, after_steps, leftovers

ALL = ["download", "prepare", "text_encoder", "embed", "shard@64", "shard@256", "judge", "stage1", "stage2", "evaluate"]


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


def test_species_rerun_the_manifest_and_after_but_neither_download_nor_judge(clone: Clone) -> None:
    ran = clone.ran("exp", "run", "-S", "species=7")
    assert ran == [stage for stage in ALL if stage not in ("download", "judge")]
    clone.run("git", "checkout", "-q", "--", ".")
    assert clone.ran("repro") == []


def test_a_queue_of_experiments_leaves_the_workspace_alone(clone: Clone) -> None:
    clone.run("dvc", "exp", "run", "--queue", "-S", "lr_g=0.0003,0.0005")
    clone.run("dvc", "queue", "start", "-j", "2")
    deadline = time.monotonic() + 300
    while "Queued" in (status := clone.run("dvc", "queue", "status").stdout) or "Running" in status:
        assert time.monotonic() < deadline, status
        time.sleep(1)
    assert status.count("Success") == 2, status
    shown = json.dumps(json.loads(clone.run("dvc", "exp", "show", "--json").stdout))
    assert "0.0003" in shown
    assert "0.0005" in shown
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert damaged(clone) == []


def damaged(clone: Clone) -> list[Path]:
    """Files in DVC's cache that have not the content that their name says."""
    cached = (clone.folder / ".dvc" / "cache" / "files" / "md5").glob("??/*")
    return [path for path in cached if hashlib.md5(path.read_bytes()).hexdigest() != (path.parent.name + path.stem)]


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


def test_one_species_by_image_trains_without_mismatched_pairs(clone: Clone) -> None:
    small = "presets/sample.yaml:stage1.batch_size=8"  # of nine training pictures; three are too few to evaluate
    clone.run("dvc", "exp", "run", "-S", "species=1", "-S", "split=by-image", "-S", small, "stage2")
    stage1 = json.loads((clone.folder / "metrics" / "sample" / "stage1.json").read_text())
    assert stage1
    clone.run("git", "checkout", "-q", "--", ".")
    clone.run("dvc", "checkout", "-q")
