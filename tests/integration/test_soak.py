"""`make soak`: what days bring, in minutes. Every stage is killed again and again and ends with the bytes that it would
have had.

All chance comes from SOAK_SEED (0), and each point is printed, so that a failure can be had again.
"""

import hashlib
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.integration.conftest import TINY_PRESET, Clone, tiny_clone
from tests.integration.runs import Moment, Run, after_cpu, after_steps, leftovers, newest, small_disk, when_there

pytestmark = pytest.mark.soak

SEED = int(os.environ.get("SOAK_SEED", "0"))
PRESET: dict[str, Any] = TINY_PRESET | {
    "stage1": {"epochs": 6, "batch_size": 6},
    "stage2": {"epochs": 2, "batch_size": 8},
}
# What each stage writes first: a kill at that moment leaves the rest unwritten.
FIRST = {
    "download": "data/sample/raw",
    "prepare": "data/sample/manifest.jsonl",
    "text_encoder": "models/sample/text_encoder",
    "embed": "data/sample/embeddings",
    "shard@64": "data/sample/shards/64",
    "shard@256": "data/sample/shards/256",
    "judge": "models/sample/judge",
    "stage1": "models/sample/stage1",
    "stage2": "models/sample/stage2",
    "evaluate": "reports/sample/evaluate",
}
KILLS = dict.fromkeys(FIRST, 3) | {"stage1": 20, "stage2": 10}
READS_ARCHIVES = ("prepare", "text_encoder", "shard@64", "judge")


@dataclass(frozen=True)
class Reference:
    """The pipeline run without a disturbance, and the processor time that each stage took."""

    clone: Clone
    cpu: dict[str, float]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    clone = tiny_clone(tmp_path_factory.mktemp("undisturbed") / "project", PRESET)
    cpu = {}
    for stage in FIRST:
        with Run(clone, "dvc", "repro", stage) as run:
            assert run.finish() == 0, run.output
            cpu[stage] = run.cpu()
    print("seconds of processor time undisturbed:", {stage: round(seconds, 1) for stage, seconds in cpu.items()})
    yield Reference(clone, cpu)
    shutil.rmtree(clone.folder.parent)


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    clone = tiny_clone(tmp_path_factory.mktemp("disturbed") / "project", PRESET)
    yield clone
    shutil.rmtree(clone.folder.parent)


@pytest.mark.parametrize("stage", FIRST)
def test_a_stage_killed_again_and_again_ends_with_the_same_bytes(
    stage: str, undisturbed: Reference, disturbed: Clone
) -> None:
    chance = random.Random(f"{SEED} {stage}")
    done = 0
    while done < KILLS[stage]:
        name, moment = choose_moment(chance, stage, undisturbed.cpu[stage], disturbed, last=done == KILLS[stage] - 1)
        pause, whole = chance.uniform(0, 0.05), chance.random() < 0.7
        with Run(disturbed, "dvc", "repro", "--force", "--single-item", stage) as run:
            if hit := run.reaches(moment, pause):
                run.stop(signal.SIGKILL, whole=whole)
                done += 1
        who = "dvc and all" if whole else "the stage alone"
        print(f"{stage}: {name} + {pause:.3f} s, {who}: {f'kill {done}' if hit else 'it ended before'}", flush=True)
    if not lock(disturbed).get(stage):
        disturbed.run("dvc", "repro", stage)
    else:  # it ended once before a kill, and DVC's cache would answer
        disturbed.run("dvc", "repro", "--force", "--single-item", stage)
    assert lock(disturbed)[stage] == lock(undisturbed.clone)[stage]
    assert outs(disturbed, stage) == outs(undisturbed.clone, stage)
    assert leftovers(disturbed) == []


def choose_moment(chance: random.Random, stage: str, cpu: float, clone: Clone, *, last: bool) -> tuple[str, Moment]:
    if last:
        return f"when {FIRST[stage]} is there", when_there(clone.folder / FIRST[stage])
    if stage in ("stage1", "stage2") and chance.random() < 0.8:
        checkpoints, steps = clone.folder / "checkpoints" / stage, chance.randint(1, 2)
        return f"{steps} steps after step {newest(checkpoints)}", after_steps(checkpoints, steps)
    # A training that goes on where it was may need less time than this and end before: then it is tried again.
    seconds = cpu * chance.uniform(0.05, 0.6 if stage in ("stage1", "stage2") else 0.95)
    return f"after {seconds:.2f} s of processor time", after_cpu(seconds)


def test_a_second_clean_run_makes_the_same_bytes(undisturbed: Reference) -> None:
    before = {stage: outs(undisturbed.clone, stage) for stage in FIRST}, lock(undisturbed.clone)
    undisturbed.clone.run("dvc", "repro", "--force")
    assert ({stage: outs(undisturbed.clone, stage) for stage in FIRST}, lock(undisturbed.clone)) == before


@pytest.fixture(scope="module")
def spare(undisturbed: Reference, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A project that has run, without DVC, to run single stages in."""
    clone = copy_outs(undisturbed.clone, tmp_path_factory.mktemp("spare") / "project")
    yield clone
    shutil.rmtree(clone.folder.parent)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("stage", FIRST)
def test_ctrl_c_and_sigterm_end_a_stage_with_their_exit_code(
    stage: str, number: signal.Signals, code: int, undisturbed: Reference, spare: Clone
) -> None:
    chance = random.Random(f"{SEED} {stage} {code}")
    seconds, whole = undisturbed.cpu[stage] * chance.uniform(0.4, 0.8), chance.random() < 0.7
    print(f"{stage}: {number.name} after {seconds:.2f} s of processor time, {'all' if whole else 'alone'}", flush=True)
    shutil.rmtree(spare.folder / "checkpoints", ignore_errors=True)  # one that went on from there could end before
    before = tree(spare.folder)
    with Run(spare, *single(stage)) as run:
        assert run.reaches(after_cpu(seconds)), run.output
        assert run.stop(number, whole=whole) == code, run.output
    assert "Traceback" not in run.output
    assert tree(spare.folder) == before
    assert [name for name in leftovers(spare) if name.endswith(".tmp")] == []


@pytest.mark.parametrize("share", [0.2, 0.7])
@pytest.mark.parametrize("stage", FIRST)
def test_a_full_disk_ends_in_one_line(stage: str, share: float, undisturbed: Reference, disk: "Disk") -> None:
    # Of what it writes first: later on the old outs that were replaced have left room.
    need = sum(path.stat().st_size for path in files_of(undisturbed.clone.folder / FIRST[stage]))
    disk.leave_free(round(need * share) // 4096 * 4096)
    before = tree(disk.clone.folder)
    with Run(disk.clone, *single(stage, "runtime.checkpoint_seconds=1000")) as run:
        assert run.finish() == 1, run.output
    message = error_line(run.output)
    print(f"{stage}, {need * share / 1024:.0f} KiB free: {message}", flush=True)
    assert "No space left on device" in message
    assert tree(disk.clone.folder) == before
    assert leftovers(disk.clone) == []


@pytest.mark.parametrize("stage", ["text_encoder", "judge", "stage1"])
def test_a_full_disk_keeps_the_last_checkpoint(stage: str, disk: "Disk") -> None:
    disk.leave_free(4096)
    with Run(disk.clone, *single(stage, "runtime.checkpoint_seconds=0")) as run:
        assert run.finish() == 1, run.output
    assert "No space left on device" in error_line(run.output)
    assert leftovers(disk.clone) == []


@pytest.mark.parametrize("stage", FIRST)
def test_a_read_only_folder_ends_in_one_line(stage: str, disk: "Disk") -> None:
    disk.mount("ro")
    with Run(disk.clone, *single(stage)) as run:
        assert run.finish() == 1, run.output
    message = error_line(run.output)
    print(f"{stage}: {message}", flush=True)
    assert "Read-only file system" in message


@pytest.mark.parametrize("when", [0, 0.6], ids=["before", "amid"])
@pytest.mark.parametrize("stage", READS_ARCHIVES)
def test_a_vanished_archive_ends_in_one_line(stage: str, when: float, undisturbed: Reference, spare: Clone) -> None:
    raw = spare.folder / "data" / "sample" / "raw"
    elsewhere = raw.with_name("elsewhere")
    try:
        if not when:
            raw.rename(elsewhere)
        with Run(spare, *single(stage)) as run:
            if when:
                assert run.reaches(after_cpu(undisturbed.cpu[stage] * when)), run.output
                raw.rename(elsewhere)
            code = run.finish()
    finally:
        elsewhere.rename(raw)
    assert code == 1 or (when and code == 0), run.output  # what it had read already is enough
    if code:
        print(f"{stage}: {error_line(run.output)}", flush=True)
    assert [name for name in leftovers(spare) if name.endswith(".tmp")] == []


@dataclass
class Disk:
    """A project on a file system of its own, whose room can be taken away."""

    clone: Clone
    mount: Callable[[str], None]

    def leave_free(self, size: int) -> None:
        used = shutil.disk_usage(self.clone.folder).used
        self.mount(f"size={used + size}")


@pytest.fixture
def disk(undisturbed: Reference, tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    place = tmp_path / "disk"
    place.mkdir()
    with small_disk(place) as mount:
        clone = copy_outs(undisturbed.clone, place / "project")
        clone = replace(clone, environment=clone.environment | {"TMPDIR": str(tmp_path)})
        yield Disk(clone, mount)


def copy_outs(clone: Clone, folder: Path) -> Clone:
    ignored = shutil.ignore_patterns(".git", ".dvc", "checkpoints", "tests", "__pycache__")
    shutil.copytree(clone.folder, folder, ignore=ignored)
    temporary = folder.parent / "tmp"
    temporary.mkdir()
    return Clone(folder, clone.environment | {"TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"})


def single(stage: str, *overrides: str) -> list[str]:
    """The command of a stage of dvc.yaml, `shard@64` being `shard --size 64`."""
    name, _, size = stage.partition("@")
    command = ["python", "-m", "pipeline", name.replace("_", "-"), *(["--size", size] if size else [])]
    return [*command, *(part for override in overrides for part in ("-S", override))]


def lock(clone: Clone) -> dict[str, Any]:
    """The stages of dvc.lock, with the checksums of their deps and outs; {} where there is none yet."""
    path = clone.folder / "dvc.lock"
    stages: dict[str, Any] = YAML(typ="safe").load(path.read_text())["stages"] if path.exists() else {}
    return stages


def out_files(clone: Clone, stage: str) -> list[Path]:
    return sorted(path for out in lock(clone)[stage]["outs"] for path in files_of(clone.folder / out["path"]))


def files_of(place: Path) -> list[Path]:
    """The file itself, or every file of the folder."""
    return [path for path in (place.rglob("*") if place.is_dir() else [place]) if path.is_file()]


def outs(clone: Clone, stage: str) -> dict[str, str]:
    return {str(path.relative_to(clone.folder)): digest(path) for path in out_files(clone, stage)}


def tree(folder: Path) -> dict[str, str]:
    """Every file but checkpoints and what a training shows of itself as it goes."""
    watched = ("checkpoints", "reports/sample/stage1", "reports/sample/stage2")
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = {str(path.relative_to(folder)): path for path in files}
    return {name: digest(path) for name, path in sorted(names.items()) if not name.startswith(watched)}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def error_line(output: str) -> str:
    """The one line that says what went wrong; nothing but warnings and progress around it."""
    assert "Traceback" not in output, output
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, output
    return errors[0]
