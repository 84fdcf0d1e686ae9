"""Experiments that change the data, and several at once: in a file apart, so that another process tests them."""

import hashlib
import json
import time
from pathlib import Path

from tests.integration.conftest import Clone

ALL = ["download", "prepare", "text_encoder", "embed", "shard@64", "shard@256", "judge", "stage1", "stage2", "evaluate"]


def test_species_rerun_the_manifest_and_after_but_neither_download_nor_judge(clone: Clone) -> None:
    ran = clone.ran("exp", "run", "-S", "species=7")
    assert ran == [stage for stage in ALL if stage not in ("download", "judge")]
    clone.run("git", "checkout", "-q", "--", ".")
    assert clone.ran("repro") == []


def test_one_species_by_image_trains_without_mismatched_pairs(clone: Clone) -> None:
    small = "presets/sample.yaml:stage1.batch_size=8"  # of nine training pictures; three are too few to evaluate
    clone.run("dvc", "exp", "run", "-S", "species=1", "-S", "split=by-image", "-S", small, "stage2")
    stage1 = json.loads((clone.folder / "metrics" / "sample" / "stage1.json").read_text())
    assert stage1
    clone.run("git", "checkout", "-q", "--", ".")
    clone.run("dvc", "checkout", "-q")


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
