"""What `doctor` finds, and that looking changes nothing."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipeline import doctor, durations
from pipeline.doctor import Finding
from pipeline.files import write_json
from stackgan.errors import UserError
from tests.pipeline.conftest import PRESET, Project
from tests.pipeline.tiny import Tiny, tiny

NO_ARCHIVES = Tiny({}, {})
SUBJECTS = ["python", "packages", "extras", "parameters", "device", "disk", "archives", "model", "dvc repro"]

Edit = Callable[[str, str, str], None]


@pytest.fixture
def edit(project: Project) -> Edit:
    """A project of CUB, without archives; gives a function that replaces text in one of its files."""
    project(NO_ARCHIVES)
    for file in Path("data", PRESET, "raw").iterdir():
        file.unlink()

    def replace(file: str, old: str, new: str) -> None:
        text = Path(file).read_text()
        assert old in text
        Path(file).write_text(text.replace(old, new, 1))

    replace("params.yaml", "preset: sample", f"preset: {PRESET}")
    return replace


def found(subject: str) -> Finding:
    return next(finding for finding in doctor.findings() if finding.subject == subject)


def test_outside_the_project_it_says_where_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="parameters"):
        doctor.run()
    assert "stop  parameters  params.yaml is missing: run this in the project's root folder" in capsys.readouterr().out


def test_piped_it_is_one_plain_line_a_finding(edit: Edit, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="dvc repro"):  # this folder is no repository of DVC
        doctor.run()
    out = capsys.readouterr().out
    assert [line[6:].split("  ")[0] for line in out.splitlines()] == SUBJECTS
    assert out.replace("\n", "").isprintable()


def test_a_package_of_a_wrong_version_or_missing_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda name: ["torch>=99", "nowhere", "gone; extra == 'demo'"])
    finding = doctor._packages()
    assert finding.blocks
    assert "nowhere is missing" in finding.text
    assert ">=99 is wanted" in finding.text
    assert "gone" not in finding.text


def test_more_gpus_than_there_are_block(edit: Edit) -> None:
    assert not found("device").blocks
    edit("params.yaml", "device: auto", "device: cuda")
    edit("params.yaml", "devices: 1", "devices: 99")
    finding = found("device")
    assert finding.blocks
    assert "99 GPUs are wanted" in finding.text
    assert "runtime.device" in finding.remedy


def test_a_full_disk_blocks(edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10**8})())
    assert found("disk").blocks
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 2 * 10**9})())
    assert found("disk").verdict == "note"


def test_archives_are_told_from_where_download_takes_them(
    edit: Edit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STACKGAN_ARCHIVES", raising=False)
    assert "CUB_200_2011.tgz from data.caltech.edu" in found("archives").text

    monkeypatch.setenv("STACKGAN_ARCHIVES", str(tmp_path / "nowhere"))
    assert found("archives").blocks

    monkeypatch.setenv("STACKGAN_ARCHIVES", str(tiny().save(tmp_path / "archives")))
    unofficial = found("archives")
    assert unofficial.blocks
    assert "source.images.sha256" in unofficial.remedy
    edit(f"presets/{PRESET}.yaml", "0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081", "null")
    assert str(tmp_path / "archives" / "birds.zip") in found("archives").text

    tiny().save(Path("data", PRESET, "raw"))
    assert f"data/{PRESET}/raw/birds.zip" in found("archives").text


def test_packed_archives_are_told_or_missed(edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STACKGAN_ARCHIVES", raising=False)
    preset = Path(f"presets/{PRESET}.yaml")
    mirrors = "mirrors:\n  images: [archives/a.tgz]\n  captions: [archives/b.zip]\n\n"
    preset.write_text(re.sub(r"mirrors:.*?\n\n", mirrors, preset.read_text(), flags=re.DOTALL))
    missing = found("archives")
    assert missing.blocks and missing.text == "archives/a.tgz is missing"
    Path("archives").mkdir()
    for name in ("a.tgz", "b.zip"):
        Path("archives", name).write_bytes(b"0" * 1_000_000)
    assert found("archives").verdict == "ok"
    assert "archives/a.tgz 1 MB" in found("archives").text


def test_the_sample_needs_no_archive(edit: Edit) -> None:
    edit("params.yaml", f"preset: {PRESET}", "preset: sample")
    assert found("archives").verdict == "ok"


def test_a_broken_model_is_noted(edit: Edit) -> None:
    assert found("model").verdict == "ok"
    write_json(Path("models", PRESET, "stackgan", "config.json"), {})
    finding = found("model")
    assert finding.verdict == "note"
    assert "config.json" in finding.text


@pytest.fixture
def chain(edit: Edit) -> Repo:
    """Stages first → second → third, run once, in place of the pipeline's."""
    stages = {"first": ("params.yaml", "one"), "second": ("one", "two"), "third": ("two", "three")}
    text = "".join(
        f"  {name}:\n    cmd: cp {dep} {out}\n    deps: [{dep}]\n    outs: [{out}]\n"
        for name, (dep, out) in stages.items()
    )
    repo = Repo.init(".", no_scm=True)
    Path("dvc.yaml").write_text(f"stages:\n{text}")
    repo.reproduce()
    return repo


def snapshot() -> dict[str, bytes]:
    """All files but DVC's own scratch folder."""
    files = (path for path in Path().rglob("*") if path.is_file() and ".dvc/tmp" not in str(path))
    return {str(path): path.read_bytes() for path in files}


def test_what_dvc_repro_would_do_is_told_and_not_done(chain: Repo, edit: Edit) -> None:
    assert found("dvc repro").text == "nothing to do: all is up to date"
    edit("params.yaml", "seed: 0", "seed: 1")
    Path("three").unlink()
    before = snapshot()
    finding = found("dvc repro")
    assert not finding.blocks
    assert finding.text.startswith("runs first, third; then, where they bring anything new, second\n")
    assert snapshot() == before


def test_the_time_is_what_the_stages_took_here(chain: Repo, edit: Edit) -> None:
    edit("params.yaml", "seed: 0", "seed: 1")
    assert "how long is unknown" in found("dvc repro").text
    write_json(Path(".cache/durations.json"), {PRESET: {"first": 100.0, "second": 80.0}, "other": {"third": 1.0}})
    assert "about 3 min, as last time, and third, whose time is unknown" in found("dvc repro").text


def test_while_dvc_runs_it_says_so(chain: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.lock import LockError

    def busy(self: Repo) -> None:
        raise LockError("busy")

    monkeypatch.setattr(Repo, "status", busy)
    assert found("dvc repro").verdict == "note"


@pytest.mark.parametrize("case", ["by hand", "failed", "resumed", "beside another", "whole"])
def test_only_whole_runs_by_dvc_are_timed(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if case != "by hand":
        monkeypatch.setenv("DVC_STAGE", "shard@64")
    checkpoint = tmp_path / "checkpoints" / "shard" / "0123456789abcdef"
    if case in ("resumed", "beside another"):
        checkpoint.mkdir(parents=True)
    try:
        with durations.recorded("shard", "sample"):
            if case == "failed":
                raise UserError("no")
            if case == "resumed":  # a stage forgets its own checkpoint when it has ended well
                checkpoint.rmdir()
    except UserError:
        pass
    assert list(durations.of_stages("sample")) == (["shard@64"] if case in ("beside another", "whole") else [])
    assert durations.of_stages("cub") == {}


def test_a_record_that_cannot_be_kept_fails_no_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "shard@64")
    Path(".cache").touch()
    with durations.recorded("shard", "sample"):
        pass
    assert durations.of_stages("sample") == {}


def test_a_broken_record_of_times_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".cache").mkdir()
    Path(".cache/durations.json").write_text("{")
    assert durations.of_stages("sample") == {}
