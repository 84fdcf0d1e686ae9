from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from pipeline import params
from stackgan.errors import UserError
from tests.conftest import PROJECT


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project's own parameter files to spoil."""
    (tmp_path / "presets").mkdir()
    for name in ("params.yaml", "presets/sample.yaml", "presets/cub.yaml"):
        (tmp_path / name).write_text((PROJECT / name).read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edit(file: str, old: str, new: str) -> None:
    text = Path(file).read_text()
    assert old in text
    Path(file).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("preset", ["sample", "cub"])
def test_one_experiment_after_another_can_change_a_list(preset: str) -> None:
    file = Path("presets") / f"{preset}.yaml"
    for value in (["translation"], [], ["translation", "cutout"]):
        values = YAML().load(file)  # as DVC does for -S
        values["diffaugment"] = value
        YAML().dump(values, file)
        assert params.load(preset).diffaugment == tuple(value)


@pytest.mark.parametrize("preset", ["sample", "cub"])
def test_presets_are_valid(preset: str) -> None:
    assert params.load(preset).preset == preset


def test_scientific_notation_is_a_number() -> None:
    edit("params.yaml", "lr_g: ", "lr_g: 1e-05  # ")
    assert params.load().lr_g == 1e-05


def test_overrides_reach_both_files() -> None:
    loaded = params.load(overrides=["lr_g=5e-4", "stage1.epochs=3", "species=[7, '*Wren']", "diffaugment=[]"])
    assert loaded.lr_g == 0.0005
    assert loaded.stage1.epochs == 3
    assert loaded.species == (7, "*Wren")
    assert loaded.diffaugment == ()


def test_overrides_as_dvc_spells_them() -> None:
    loaded = params.load(overrides=["presets/cub.yaml:gf_dim=48", "params.yaml:preset=cub", "params.yaml:lr_g=5e-4"])
    assert (loaded.preset, loaded.gf_dim, loaded.lr_g) == ("cub", 48, 0.0005)
    assert loaded.source == params.load("cub").source  # all of that preset, not its name alone
    assert params.load("sample", ["preset=cub"]) == params.load("cub")


def test_params_are_frozen() -> None:
    with pytest.raises(ValidationError):
        params.load().lr_g = 1.0


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("params.yaml", "lr_g:", "lr_gg:", "params.yaml: unknown key 'lr_gg': did you mean 'lr_g'?; 'lr_g' is missing"),
        (
            "params.yaml",
            "lr_g: ",
            "lr_g: 5  # ",
            "params.yaml: lr_g: input should be less than or equal to 0.1, not 5",
        ),
        ("params.yaml", "lr_g: ", "lr_g: fast  # ", "params.yaml: lr_g: input should be a valid number"),
        ("params.yaml", "seed: 0", "seed: no", "params.yaml: seed: input should be a valid integer"),
        ("params.yaml", "species: all", "species: true", "params.yaml: species"),
        ("params.yaml", "preset: sample", "preset: cup", "there is no preset 'cup': choose one of cub, sample"),
        ("params.yaml", "preset: sample", "preset: sample\nlr_g: 1", "params.yaml is not valid YAML"),
        ("params.yaml", "preset: sample", "gf_dim: 8\npreset: sample", "'gf_dim' stands in params.yaml too"),
        (
            "presets/sample.yaml",
            "stage1:\n  epochs",
            "stage1:\n  epoch",
            "unknown key 'stage1.epoch': did you mean 'epochs'?",
        ),
        ("presets/sample.yaml", "kind: flock", "kind: zoo", "presets/sample.yaml: source: "),
        ("presets/sample.yaml", "pictures: ", "picture: ", "presets/sample.yaml: unknown key 'source.picture'"),
    ],
)
def test_mistakes_are_named(file: str, old: str, new: str, message: str) -> None:
    edit(file, old, new)
    with pytest.raises(UserError) as error:
        params.load()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr_g", "must have the form key=value"),
        ("lr_h=1", "unknown key 'lr_h': did you mean 'lr_g'?"),
        ("stage1.epoch=1", "unknown key 'epoch': did you mean 'epochs'?"),
        ("stage3.epochs=1", "unknown key 'stage3'"),
        ("lr_g=[", "is not valid YAML"),
        ("lr_g=-1", "lr_g: input should be greater than 0"),
        ("presets/cub.yaml:gf_dim=8", "this run reads params.yaml and presets/sample.yaml, not presets/cub.yaml"),
    ],
)
def test_bad_overrides_are_named(override: str, message: str) -> None:
    with pytest.raises(UserError, match=r"override|lr_g") as error:
        params.load(overrides=[override])
    assert message in str(error.value)


def test_a_preset_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="there is no preset 'cup': choose one of cub, sample"):
        params.load(overrides=["preset=cup"])


def test_outside_the_project_says_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="root folder"):
        params.load()


def test_where_dvc_has_written_a_mistake_the_way_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError) as by_hand:
        params.load(overrides=["lr_g=fast"])
    monkeypatch.setenv("DVC_STAGE", "stage1")
    with pytest.raises(UserError) as by_dvc:
        params.load(overrides=["lr_g=fast"])
    way_back = "; mend it, or go back by `git checkout params.yaml presets && dvc checkout`"
    assert str(by_dvc.value) == str(by_hand.value) + way_back
