import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import cli
from tests.conftest import PROJECT


def run(*arguments: str, cwd: Path = PROJECT, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *arguments]
    environment = {"PYTHONPATH": str(PROJECT), "PATH": ""} | variables
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)


def test_every_stage_of_the_graph_is_a_command_with_help() -> None:
    for stage in [*cli.STAGES, "shard"]:
        result = run(stage, "--help")
        assert result.returncode == 0
        assert "Writes" in result.stdout or "writes" in result.stdout


def test_help_imports_nothing_heavy() -> None:
    probe = (
        "import sys, pipeline.cli; print(sorted({'torch', 'albumentations', 'pydantic', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", probe], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_users_mistake_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    result = run("stage1", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines() == ["error: params.yaml is missing: run this in the project's root folder"]


def test_a_wrong_option_is_exit_code_2() -> None:
    assert run("stage1", "--prest", "cub").returncode == 2


def test_a_terminal_of_any_encoding_is_written_to() -> None:
    result = run("--help", PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert result.stdout.isascii()
    assert "Traceback" not in result.stderr


def test_processes_can_be_started_where_the_temporary_folder_has_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    script = f"""
import sys, tempfile
from multiprocessing.connection import Listener
from pipeline import cli
sys.argv[1:] = ["--help"]
try:
    cli.main()
finally:
    Listener(family="AF_UNIX").close()
    assert tempfile.gettempdir() == {str(folder)!r}, "all else stays where the user wants it"
"""
    command = [sys.executable, "-c", script]
    subprocess.run(
        command, cwd=PROJECT, env=os.environ | {"TMPDIR": str(folder)}, stdout=subprocess.DEVNULL, check=True
    )


def test_a_stderr_that_has_gone_does_not_end_the_work() -> None:
    script = """
import os
from pipeline import console
read, write = os.pipe()
os.dup2(write, 2)
os.close(read)
for _ in console.track(range(2), "work"):
    console.info("nobody hears this")
print("done")
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert (result.returncode, result.stdout) == (0, "done\n")


def test_parameters_load_without_torch() -> None:
    probe = "import sys, pipeline.params as p; p.load(); print(sorted({'torch', 'albumentations'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", probe], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("variable", ["RANK", "SLURM_PROCID"])
def test_what_is_one_process_s_work_is_left_to_the_first_of_a_launcher(tmp_path: Path, variable: str) -> None:
    first, second = (run("evaluate", cwd=tmp_path, **{variable: rank}) for rank in "01")
    assert first.returncode == 1
    assert "params.yaml is missing" in first.stderr
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert run("stage1", cwd=tmp_path, **{variable: "1"}).returncode == 1, "a training is every process's work"
