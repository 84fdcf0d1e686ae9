"""The manifest: one JSON line per picture, sorted by name. Later stages take pictures, split and captions from it."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from pipeline.files import atomic_write, require
from stackgan.errors import UserError, make_anew

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Picture:
    """A picture of one bird, as the archives describe it."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    id: int  # CUB's own
    name: str  # "001.Black_footed_Albatross/Black_Footed_Albatross_0001_796111.jpg"
    species_id: int
    species: str  # "001.Black_footed_Albatross"
    split: str  # "train" | "test"
    bbox: Box  # x, y, width, height in pixels
    captions: tuple[str, ...]
    truth: dict[str, str] = field(default_factory=dict)  # part -> colour, where the picture was drawn; else empty


def is_possible(box: Box) -> bool:
    """Whether the box has a place and a size."""
    return all(map(math.isfinite, box)) and box[2] > 0 and box[3] > 0


def line(picture: Picture) -> str:
    """The picture as one line of JSON, the same for equal pictures; `truth` is left out where it is empty."""
    values = dict(vars(picture))
    if not picture.truth:
        del values["truth"]
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def write(path: Path, pictures: Iterable[Picture]) -> None:
    """Write the manifest atomically, sorted by name."""
    ordered = sorted(pictures, key=lambda picture: picture.name)
    atomic_write(path, "".join(line(picture) + "\n" for picture in ordered))


def read(path: Path) -> list[Picture]:
    """Read the manifest, in its order (by name); a missing or damaged one is a `UserError`."""
    with require(path, made_by="prepare").open("rb") as file:
        return [_parse(text, f"{path}:{number}") for number, text in enumerate(file, start=1)]


def _parse(text: bytes, where: str) -> Picture:
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([*map(str, first["loc"][:1]), first["msg"][0].lower() + first["msg"][1:]])
        raise UserError(f"{where} is not a manifest line ({reason}): {make_anew('prepare')}") from None


@cache
def _adapter() -> TypeAdapter[Picture]:
    return TypeAdapter(Picture)
