"""Spoilt parameters through the command line: one clear line, exit code 1, nothing run."""

import shutil
import sys
import warnings
from pathlib import Path

import pytest

from pipeline import cli
from tests.conftest import PROJECT
from tests.messages import agrees

LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'ha'}]\n" for n in range(12))
BAD_YAML = "params.yaml is not valid YAML: "
LINE = 'in "<unicode string>", line'

# What stands in params.yaml, what takes its place, what is said; `…` stands for words of a library. Where only the key
# stands, the value becomes a comment: a new default is no reason to fail.
CASES: dict[str, tuple[str, str, str]] = {
    "unknown key": (
        "seed: 0",
        "seeds: 0",
        "params.yaml: unknown key 'seeds': did you mean 'seed'?; 'seed' is missing: …",
    ),
    "unknown key with terminal escapes": ("seed: 0", '"\\e[2J": 1\nseed: 0', "params.yaml: unknown key '\\x1b[2J'"),
    "key that is a number": ("seed: 0", "1: x\nseed: 0", "params.yaml: 1: keys should be strings, not 1"),
    "wrong type": ("z_dim: ", "z_dim: many  # ", "params.yaml: z_dim: input should be a valid integer…, not 'many'"),
    "out of range": (
        "lr_g: ",
        "lr_g: 2  # ",
        "params.yaml: lr_g: input should be less than or equal to 0.1, not 2",
    ),
    "not a number": ("lr_g: ", "lr_g: .nan  # ", "params.yaml: lr_g: input should be …, not nan"),
    "infinite": (
        "kl_weight: ",
        "kl_weight: .inf  # ",
        "params.yaml: kl_weight: input should be less than or equal to 100, not inf",
    ),
    "decimal comma": (
        "lr_g: ",
        "lr_g: 0,0002  # ",
        "params.yaml: lr_g: input should be a valid number…, not '0,0002'",
    ),
    "yes for a number": (
        "kl_weight: ",
        "kl_weight: yes  # ",
        "params.yaml: kl_weight: input should be a valid number…, not 'yes'",
    ),
    "true for a number": ("kl_weight: ", "kl_weight: true  # ", "params.yaml: kl_weight cannot be true or false"),
    "true for an integer in a section": (
        "  samples_per_shard: ",
        "  samples_per_shard: true  # ",
        "params.yaml: shard: samples_per_shard cannot be true or false",
    ),
    "a section that is a list": (
        "evaluate:\n",
        "evaluate: [1]\nother:\n",
        "params.yaml: unknown key 'other'…; params.yaml: evaluate: input should be …, not [1]",
    ),
    "a date": (
        "seed: 0",
        "seed: 2001-01-01",
        "params.yaml: seed: input should be a valid integer, not datetime.date(2001, 1, 1)",
    ),
    "an impossible date": ("seed: 0", "seed: 2001-99-99", f"{BAD_YAML}month must be in 1..12…"),
    "a number of 5,000 digits": ("seed: 0", f"seed: {'9' * 5000}", f"{BAD_YAML}Exceeds the limit (4300 digits)…"),
    "tab": ("  crop:", "\tcrop:", f"{BAD_YAML}while scanning for the next token found character '\\t'…"),
    "no space after the colon": ("seed: 0", "seed:0", f"{BAD_YAML}while scanning a simple key {LINE}…"),
    "duplicate key": (
        "seed: 0",
        "seed: 0\nseed: 1",
        f'{BAD_YAML}while constructing a mapping {LINE}…found duplicate key "seed"…',
    ),
    "two documents": ("seed: 0", "seed: 0\n---\na: 1", f"{BAD_YAML}expected a single document in the stream {LINE}…"),
    "code": (
        "seed: 0",
        "seed: !!python/object/apply:os.system [x]",
        f"{BAD_YAML}could not determine a constructor for the tag…",
    ),
    "aliases without end": (
        "species: all",
        LAUGHS + "species: *a11",
        "params.yaml: unknown key 'a0'…species should be a number N (the first N), all, or a list of…",
    ),
    "an alias of itself": (
        "seed: 0",
        "seed: &a [*a]",
        "params.yaml: seed: input should be a valid integer, not [[[...]]]",
    ),
    "brackets without end": ("seed: 0", f"seed: {'[' * 5000}{']' * 5000}", f"{BAD_YAML}its brackets nest too deep"),
    "blocks without end": (
        "seed: 0",
        "seed:\n" + "\n".join(" " * n + "-" for n in range(1, 800)),
        f"{BAD_YAML}it nests too deep",
    ),
    "a preset elsewhere": (
        "preset: sample",
        "preset: ../presets/sample",
        "there is no preset '../presets/sample': choose one of cub, sample",
    ),
    "no preset": ("preset: sample", "preset:", "there is no preset None: choose one of cub, sample"),
}
OVERRIDES = {
    "lr_g": "override 'lr_g' must have the form key=value, as in lr_g=0.0005",
    "=3": "override '=3': unknown key ''",
    "lr_gg=1": "override 'lr_gg=1': unknown key 'lr_gg': did you mean 'lr_g'?",
    "stage1.epochs.x=3": "override 'stage1.epochs.x=3': 'epochs' is a value and has no parts",
    "stage1=3": "presets/sample.yaml: stage1: input should be a valid dictionary…, not 3",
    "diffaugment=[cutout, cutout]": "presets/sample.yaml: diffaugment names an augmentation twice",
    "seed=2001-99-99": "override 'seed=2001-99-99': '2001-99-99' is not valid YAML",
    f"seed={'[' * 5000}": "override 'seed=[[[[[[[…[': '[[[[…' is not valid YAML",
    'species="*Warbler"': "params.yaml: species should be a number N (the first N), all, or a list of numbers…",
    "runtime.shards_room=.inf": "params.yaml: runtime.shards_room: input should be a finite number, not inf",
    "evaluate.seed=99999999999": "params.yaml: evaluate.seed: input should be less than 4294967296, not 99999999999",
    "seed=\x1b[2J": "override 'seed=\\x1b[2J': '\\x1b[2J' is not valid YAML",
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    shutil.copytree(PROJECT / "presets", tmp_path / "presets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which the command ends; it must leave nothing behind."""
    monkeypatch.setattr(sys, "argv", ["stackgan", "stage1", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    assert sorted(path.name for path in Path().iterdir()) == ["params.yaml", "presets"]
    [line] = capsys.readouterr().err.splitlines()
    return line.removeprefix("error: ")


@pytest.mark.parametrize("name", CASES)
def test_a_spoilt_file(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, message = CASES[name]
    text = Path("params.yaml").read_text()
    assert old in text
    Path("params.yaml").write_text(text.replace(old, new, 1))
    line = said(monkeypatch, capsys)
    assert agrees(line, message), line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "params.yaml must hold `key: value` lines"),
        (b"- 1\n", "params.yaml must hold `key: value` lines"),
        (b"\xff\xfe", f"{BAD_YAML}'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b"a: \x00", f"{BAD_YAML}unacceptable character #x0000: special characters are not allowed…"),
    ],
)
def test_a_file_that_is_no_parameters(
    content: bytes, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("params.yaml").write_bytes(content)
    line = said(monkeypatch, capsys)
    assert agrees(line, message), line


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda override: override[:20])
def test_a_spoilt_override(override: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    line = said(monkeypatch, capsys, "-S", override)
    assert agrees(line, OVERRIDES[override]), line
