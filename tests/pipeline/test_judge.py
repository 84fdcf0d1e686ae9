"""The stage `judge` on tiny archives: what it writes, when it goes on after a kill, and when there is a probe."""

import json
from pathlib import Path

import pytest

import pipeline.judge as stage
from pipeline.paths import Paths
from stackgan import judge, probe
from stackgan.classifier_training import ClassifierTraining
from stackgan.errors import UserError
from tests.pipeline.conftest import PRESET, Project
from tests.pipeline.tiny import SPECIES, tiny

QUICK = (
    "judge.size=64",
    "judge.width=4",
    "judge.epochs=3",
    "judge.batch_size=8",
    "runtime.device=cpu",
    "runtime.checkpoint_seconds=0",
)
PATHS = Paths(PRESET)


def weights(folder: Path) -> bytes:
    return (folder / "judge.safetensors").read_bytes()


def test_it_writes_a_judge_of_all_species_and_says_how_good_it_is(project: Project) -> None:
    stage.run(project(tiny(6), "species=2", *QUICK))
    made = judge.load(PATHS.judge)
    assert made.card.species_ids == (1, 2, 3, 4)  # whatever the run chose
    assert len(made.held_out) == len(SPECIES)  # a fifth of six is one of each
    report = json.loads(PATHS.judge_metrics.read_text())
    assert report["pictures"] == 24 and report["held_out"] == 4 and report["chance"] == 0.25
    assert report["accuracy"] == made.card.accuracy
    assert report["verdict"].startswith(("weak: ", "fair: ", "good: "))
    assert not (PATHS.judge / "probe").exists()
    assert not list(Path("checkpoints").rglob("*.pt"))


def test_it_does_without_a_picture_that_cannot_be_read(project: Project) -> None:
    archives = tiny(6)
    broken = next(name for name in archives.images if name.endswith("_0003_3.jpg"))
    archives.images[broken] = archives.images[broken][:200]
    stage.run(project(archives, *QUICK))
    assert json.loads(PATHS.judge_metrics.read_text())["pictures"] == 23


def test_it_hangs_on_its_own_seed_alone(project: Project) -> None:
    params = project(tiny(6), *QUICK)
    stage.run(params)
    first = weights(PATHS.judge)
    stage.run(params.model_copy(update={"seed": 99, "species": 3}))
    assert weights(PATHS.judge) == first
    stage.run(params.model_copy(update={"judge": params.judge.model_copy(update={"seed": 1})}))
    assert weights(PATHS.judge) != first


def test_after_a_kill_it_goes_on_where_it_was(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    params = project(tiny(6), *QUICK)
    stage.run(params)
    whole = weights(PATHS.judge)

    epochs: list[int] = []
    run_epoch = ClassifierTraining.run_epoch

    def killed(training: ClassifierTraining) -> float:
        if training.epoch == 2 and 2 not in epochs:
            epochs.append(2)
            raise KeyboardInterrupt
        epochs.append(training.epoch)
        return run_epoch(training)

    monkeypatch.setattr(ClassifierTraining, "run_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        stage.run(params)
    assert weights(PATHS.judge) == whole  # the old one is still whole
    stage.run(params)
    assert epochs == [0, 1, 2, 2]
    assert weights(PATHS.judge) == whole


def test_known_truth_gets_a_probe(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []
    run_epoch = ClassifierTraining.run_epoch

    def counted(training: ClassifierTraining) -> float:
        trained.extend(training.targets)
        return run_epoch(training)

    monkeypatch.setattr(ClassifierTraining, "run_epoch", counted)
    data = tiny(6)
    names = [name.partition("images/")[2] for name in data.images if name.endswith(".jpg")]
    lines = [
        json.dumps({"name": name, "head": "red" if int(name[:3]) % 2 else "blue", "pose": "flying"}) for name in names
    ]
    data.images["CUB_200_2011/truth.jsonl"] = "\n".join(lines).encode()
    stage.run(project(data, *QUICK, "judge.epochs=4"))
    assert trained == ["species"] * 4 + ["head"] * 2  # half as long
    card = probe.load(PATHS.judge / "probe").card
    assert card.parts == ("head",) and card.colours == ("blue", "red")
    assert json.loads(PATHS.judge_metrics.read_text())["probe_accuracy"] == card.accuracy


def test_one_species_is_nothing_to_judge(project: Project) -> None:
    data = tiny(4)
    for name in [name for name in data.images if name.endswith(".jpg") and SPECIES[0] not in name]:
        del data.images[name]
    with pytest.raises(UserError, match="pictures of one species"):
        stage.run(project(data, *QUICK))


def test_single_pictures_leave_none_to_measure_by(project: Project) -> None:
    with pytest.raises(UserError, match="no species has two pictures"):
        stage.run(project(tiny(1), *QUICK))
    assert not PATHS.judge.exists()


def test_missing_archives_name_the_stage_to_run(project: Project) -> None:
    params = project(tiny(2), *QUICK)
    (PATHS.raw / params.source.images.name).unlink()
    with pytest.raises(UserError, match="dvc repro download"):
        stage.run(params)
