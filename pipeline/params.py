"""The parameters of a run: params.yaml with one preset merged in, validated and frozen.

A value lives in exactly one file: params.yaml holds what is the same for every preset, `presets/<preset>.yaml`
the data, the text encoder, the widths and the budget. Nothing else in the project reads YAML.
"""

import difflib
import os
import reprlib
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.data_config import ShardConfig, Transform
from pipeline.evaluate_config import EvaluateConfig
from pipeline.source_config import Mirrors, Source
from stackgan.config import NetworkConfig, StageConfig, TrainingConfig
from stackgan.errors import UserError
from stackgan.judge_config import JudgeConfig
from stackgan.strict import Strict
from stackgan.text.config import TextEncoderConfig

PARAMS = Path("params.yaml")
PRESETS = Path("presets")
_DEEPEST = 50  # brackets within brackets

# For what stands in a file: a few aliases in YAML can make a value whose whole text no memory holds.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 80, 80

SpeciesChoice = Annotated[StrictInt, Field(ge=1)] | Annotated[str, Field(min_length=1)]


class RuntimeConfig(Strict):
    """How a run uses the machine. Untracked by DVC: devices and precision move last digits, all else none."""

    device: Literal["auto", "cpu", "cuda"]
    devices: int = Field(ge=1, description="processes on each node, one per device")
    nodes: int = Field(ge=1, description="machines")
    shards: Annotated[str, Field(pattern=r"^[a-z0-9]+://")] | None
    shards_room: float = Field(gt=0, allow_inf_nan=False, description="gigabytes of disk for the shards of a URL")
    precision: Literal["auto", "float32", "bfloat16"]
    workers: Annotated[StrictInt, Field(ge=0)] | Literal["auto"]
    checkpoint_seconds: float = Field(ge=0, allow_inf_nan=False, description="least time between two checkpoints")


class Params(NetworkConfig, TrainingConfig):
    """Every parameter of the pipeline by the name that it has in YAML and on the command line."""

    preset: str
    species: Annotated[StrictInt, Field(ge=1)] | Literal["all"] | tuple[SpeciesChoice, ...]
    split: Literal["zero-shot", "by-image"]
    seed: int = Field(ge=0, lt=2**32)
    shard: ShardConfig
    transform: Transform
    captions_per_sample: int = Field(ge=1, le=10, description="1 = one random caption, k = the mean of k")
    evaluate: EvaluateConfig
    runtime: RuntimeConfig
    source: Source
    mirrors: Mirrors
    text_encoder: TextEncoderConfig
    judge: JudgeConfig
    stage1: StageConfig
    stage2: StageConfig


def load(preset: str | None = None, overrides: Iterable[str] = ()) -> Params:
    """Read params.yaml and the preset that it names (or `preset`), then apply overrides like `stage1.epochs=3`.

    An override may name its file, as `dvc exp run -S` wants it (`presets/cub.yaml:gf_dim=32`), or choose the preset
    (`preset=cub`). Raises a `UserError` that names file and key for anything missing, unknown, misspelt or out of
    range.
    """
    changes = [_file_and_change(override) for override in overrides]
    common = _read(PARAMS)
    if preset is not None:
        common["preset"] = preset
    for file, change in changes:
        if file == PARAMS and change.startswith("preset="):  # before all others, since it says which file they change
            _apply(change, common)
    known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    if common.get("preset") not in known:
        raise UserError(f"there is no preset {_SHORT.repr(common.get('preset'))}: choose one of {', '.join(known)}")
    chosen = PRESETS / f"{common['preset']}.yaml"
    specific = _read(chosen)
    if twice := sorted(common.keys() & specific.keys(), key=str):
        raise UserError(f"{chosen}: {twice[0]!r} stands in {PARAMS} too: keep it in one of them")
    values = common | specific
    for file, change in changes:
        if file not in (PARAMS, chosen):
            raise UserError(f"override '{file}:{change}': this run reads {PARAMS} and {chosen}, not {file}")
        _apply(change, values)
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        # DVC has written what -S said, and removed the outs of the stage that was to run.
        back = "; mend it, or go back by `git checkout params.yaml presets && dvc checkout`"
        raise UserError(_describe(error, chosen, specific) + (back if "DVC_STAGE" in os.environ else "")) from None


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path} is missing: run this in the project's root folder")
    try:
        values = _parse(path.read_text(encoding="utf-8"))
    except (YAMLError, ValueError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold `key: value` lines")
    return values


def _parse(text: str) -> Any:
    """A YAML value; a bad one is a `YAMLError` or, with numbers, dates or a depth out of range, a `ValueError`.

    YAML 1.2, as DVC writes it: PyYAML would read 1e-05 as a string and `no` as False.
    """
    if max(accumulate((letter in "[{") - (letter in "]}") for letter in text), default=0) > _DEEPEST:
        raise ValueError("its brackets nest too deep")  # to find out otherwise takes the parser minutes
    try:
        return YAML(typ="safe", pure=True).load(text)
    except RecursionError:
        raise ValueError("it nests too deep") from None


def _file_and_change(override: str) -> tuple[Path, str]:
    """The file that an override names, params.yaml if none, and the rest of it."""
    file, named, change = override.partition(".yaml:")
    return (Path(f"{file}.yaml"), change) if named and "=" not in file else (PARAMS, override)


def _apply(override: str, values: dict[str, Any]) -> None:
    path, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"override {override!r} must have the form key=value, as in lr_g=0.0005")
    *parents, key = path.split(".")
    for parent in parents:
        if parent not in values:
            raise UserError(f"override {override!r}: {_unknown(parent, values)}")
        if not isinstance(values[parent], dict):
            raise UserError(f"override {override!r}: {parent!r} is a value and has no parts")
        values = values[parent]
    if key not in values:
        raise UserError(f"override {override!r}: {_unknown(key, values)}")
    try:
        values[key] = _parse(text)
    except (YAMLError, ValueError):
        raise UserError(f"override {_SHORT.repr(override)}: {_SHORT.repr(text)} is not valid YAML") from None


def _describe(error: ValidationError, preset_file: Path, specific: dict[str, Any]) -> str:
    """All that is wrong in one line, an unknown key first: it often explains a missing one."""
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    return "; ".join(dict.fromkeys(_problem(problem, preset_file, specific) for problem in problems))


def _problem(problem: Any, preset_file: Path, specific: dict[str, Any]) -> str:
    if problem["loc"][:1] == ("species",):
        choices = "a number N (the first N), all, or a list of numbers, names and globs, as in [14, '*Warbler']"
        return f"{PARAMS}: species should be {choices}"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    location = [str(part) for part in problem["loc"]]
    if problem["type"] == "value_error":  # a check of our own, whose message begins with the key
        message = message.removeprefix("value error, ")
        file = preset_file if (location or message.split())[0] in specific else PARAMS
        return ": ".join([str(file), *location, message])
    # A tagged union puts the tag into the path, which is no key of the file.
    keys = [part for index, part in enumerate(location) if not (index == 1 and location[0] == "source")]
    file = preset_file if keys[0] in specific else PARAMS
    name = ".".join(keys)
    if problem["type"] == "extra_forbidden":
        return f"{file}: {_unknown(keys[-1], _siblings(keys[:-1]), shown=name)}"
    if problem["type"] == "missing":
        return f"{name!r} is missing: give it in {PARAMS} or in {preset_file}"
    return f"{file}: {name}: {message}, not {_SHORT.repr(problem['input'])}"


def _siblings(parents: Sequence[str]) -> Iterable[str]:
    """Names that are known at this place of the tree of parameters."""
    model: Any = Params
    for parent in parents:
        model = model.model_fields[parent].annotation if parent in getattr(model, "model_fields", {}) else None
    return getattr(model, "model_fields", {})


def _unknown(key: str, known: Iterable[str], *, shown: str | None = None) -> str:
    nearest = difflib.get_close_matches(key, [str(name) for name in known], n=1, cutoff=0.5)
    return f"unknown key {shown or key!r}" + (f": did you mean {nearest[0]!r}?" if nearest else "")
