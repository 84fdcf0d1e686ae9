"""Model folders from anywhere: one clear line for each way to be wrong, and no memory for absurd sizes."""

import json
import os
import pickle
import resource
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from stackgan.errors import UserError
from stackgan.model import StackGAN
from tests.messages import agrees
from tests.stackgan.test_model import make_model, parts

__all__ = ["parts"]  # a fixture


@pytest.fixture
def folder(parts: dict[str, Path], tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    return make_model(parts, tmp_path / "model")


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """What asks for 16 GB more than there is now gets an error, not the machine's last memory."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + (16 << 30), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


def edit_config(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text())
        change(values)
        (folder / "config.json").write_text(json.dumps(values))

    return spoil


def edit_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / "stage1.safetensors")
        change(tensors)
        save_file(tensors, folder / "stage1.safetensors")

    return spoil


def overwrite(file: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_bytes(change((folder / file).read_bytes()))


def header(content: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A safetensors file with another header before the same data."""
    length = struct.unpack("<Q", content[:8])[0]
    values = json.loads(content[8 : 8 + length])
    change(values)
    text = json.dumps(values).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("owned",)


def a_folder_instead(folder: Path) -> None:
    (folder / "stage1.safetensors").unlink()
    (folder / "stage1.safetensors").mkdir()


BROKEN = "{folder}/stage1.safetensors is no readable weights file: "
UNFIT = "{folder}/stage1.safetensors does not fit config.json: "
ADVICE = "; train again, or take both from one place"
CONFIG = "{folder}/config.json is no StackGAN's config: "

CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights: truncated": (overwrite("stage1.safetensors", lambda content: content[:-100]), BROKEN),
    "weights: empty": (overwrite("stage1.safetensors", lambda _: b""), BROKEN),
    "weights: a web page": (overwrite("stage1.safetensors", lambda _: b"<!DOCTYPE html>"), BROKEN),
    "weights: a pickle": (overwrite("stage1.safetensors", lambda _: pickle.dumps(Hostile())), BROKEN),
    "weights: a checkpoint of torch": (lambda folder: torch.save({}, folder / "stage1.safetensors"), BROKEN),
    "weights: a header of terabytes": (
        overwrite("stage1.safetensors", lambda content: struct.pack("<Q", 1 << 42) + content[8:]),
        BROKEN,
    ),
    "weights: a tensor beyond the file": (
        overwrite(
            "stage1.safetensors",
            lambda content: header(content, lambda values: values["to_rgb.weight"].update(data_offsets=[0, 1 << 40])),
        ),
        BROKEN,
    ),
    "weights: a folder": (
        a_folder_instead,
        BROKEN,
    ),
    "weights: missing": (
        lambda folder: (folder / "stage1.safetensors").unlink(),
        "{folder}/stage1.safetensors is missing: the folder is not whole; train again",
    ),
    "weights: a tensor less": (
        edit_weights(lambda tensors: tensors.pop("to_rgb.weight")),
        UNFIT + "to_rgb.weight is missing" + ADVICE,
    ),
    "weights: a tensor more": (
        edit_weights(lambda tensors: tensors.update(trojan=torch.zeros(1))),
        UNFIT + "trojan is unknown" + ADVICE,
    ),
    "weights: another shape": (
        edit_weights(lambda tensors: tensors.update({"to_rgb.weight": torch.zeros(3, 1, 3, 3)})),
        UNFIT + "to_rgb.weight has the shape [3, 1, 3, 3], not [3, 2, 3, 3]" + ADVICE,
    ),
    "weights: no numbers": (
        edit_weights(lambda tensors: tensors["to_rgb.weight"][0, 0, 0].fill_(torch.nan)),
        "{folder}/stage1.safetensors holds no finite numbers in to_rgb.weight: train again, or copy the file anew",
    ),
    "weights: those of the other stage": (
        lambda folder: shutil.copy(folder / "stage2.safetensors", folder / "stage1.safetensors"),
        UNFIT + "encode.0.weight is unknown" + ADVICE,
    ),
    "config: absurd sizes": (
        edit_config(lambda values: values["stage1"].update(embedding_dim=10**12)),
        UNFIT + "augmentation.linear.weight has the shape [16, 8], not [16, 1000000000000]" + ADVICE,
    ),
    "config: a size beyond all numbers": (
        edit_config(lambda values: values["stage1"].update(embedding_dim=10**30)),
        "{folder}/config.json asks for sizes that no network has: take both from one place",
    ),
    "config: a product of sizes beyond all numbers": (
        edit_config(lambda values: values["stage1"].update(embedding_dim=2**62)),
        "{folder}/config.json asks for sizes that no network has: take both from one place",
    ),
    "config: largest sizes": (
        edit_config(lambda values: values["stage1"]["network"].update(gf_dim=512, z_dim=1024)),
        UNFIT + "enlarge.0.conv.weight has the shape …" + ADVICE,
    ),
    "config: sizes out of range": (
        edit_config(lambda values: values["stage1"]["network"].update(gf_dim=10**9)),
        CONFIG + "1 validation error for StageCard network.gf_dim Input should be less than or equal to 512 …",
    ),
    "config: a key of another version": (
        edit_config(lambda values: values["stage2"].update(format=2)),
        CONFIG + "1 validation error for StageCard format Extra inputs are not permitted …",
    ),
    "config: without a stage": (
        edit_config(lambda values: values.pop("stage2")),
        CONFIG + "it has no 'stage2'; give models/<preset>/stackgan",
    ),
    "config: nested without end": (
        overwrite("config.json", lambda _: b"[" * 100_000),
        CONFIG + "maximum recursion depth exceeded…",
    ),
    "config: no text": (overwrite("config.json", lambda _: b"\xff\xfe"), CONFIG + "'utf-8' codec can't decode …"),
    "text encoder: other dimensions": (
        overwrite("text_encoder/config.json", lambda content: content.replace(b'"dim": 8', b'"dim": 16')),
        "{folder}/text_encoder/encoder.safetensors does not fit config.json: "
        "project.bias has the shape [8], not [16]" + ADVICE,
    ),
    "text encoder: a pickle": (
        overwrite("text_encoder/encoder.safetensors", lambda _: pickle.dumps(Hostile())),
        "{folder}/text_encoder/encoder.safetensors is no readable weights file: …",
    ),
    "text encoder: absurd sizes": (
        overwrite("text_encoder/config.json", lambda content: content.replace(b'"dim": 8', b'"dim": 1000000000')),
        "{folder}/text_encoder/config.json is no text encoder's: 1 validation error for TextEncoderConfig dim …",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_folder(name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spoil, message = CASES[name]
    spoil(folder)
    with pytest.raises(UserError) as error:
        StackGAN.from_pretrained(folder, "cpu")
    said = str(error.value)
    assert "\n" not in said
    # What safetensors says of a damaged file is its own affair.
    expected = message.format(folder=folder) + ("…" if message == BROKEN else "")
    assert agrees(said, expected), said
    assert not Path("owned").exists()
