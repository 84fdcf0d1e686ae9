"""Command `pack`: make a preset of one's own pictures and captions.

Reads   FOLDER/<kind>/<picture>.jpg (jpeg, png, gif, bmp, tif, tiff, webp too), one folder for each kind of thing, and
        FOLDER/<kind>/<picture>.txt: its captions, one a line
        FOLDER/boxes.csv, if there: `name,x,y,width,height`, the name being <kind>/<picture>.jpg, in pixels of the
        upright picture; one without a line is shown whole
        FOLDER/test.txt, if there: kinds that training with split=zero-shot never sees, one a line; else every fourth
Writes  archives/<name>-pictures.tgz, archives/<name>-captions.zip (CUB's layout), presets/<name>.yaml

Equal content makes equal archives, and the preset names their checksums: packing again re-runs what changed, and
nothing else. A preset that is there keeps its sizes and budget.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from pipeline import console, cub_archives
from pipeline.crops import clip_box, open_picture, orientation, to_rgb
from pipeline.cub_archives import Packed
from pipeline.evaluate_config import LEAST_PICTURES
from pipeline.files import atomic_file, atomic_write, sha256
from pipeline.manifest import Box, is_possible
from pipeline.params import PRESETS
from stackgan.errors import UserError

ARCHIVES = Path("archives")
BOXES, TEST = "boxes.csv", "test.txt"
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp")
FEW_KINDS = 8  # below, too few to keep some from training altogether
CROP = 1.5  # side of a crop over the longer side of its box
_NO_NAMES = ("true", "false", "null", "nan", "inf")  # `dvc exp run -S preset=…` would not take them for names
_BUDGET = "\ntext_encoder:"  # where the part of a preset begins that says nothing of its data
_HEAD = """# {name}: your own pictures. `stackgan pack` writes anew all above text_encoder; the rest is yours.
# Sizes and budget are the sample's, for minutes on a CPU; presets/cub.yaml has those for a GPU.

source:                     # what identifies the data: packing something else makes other checksums
  kind: archives
  images:
    name: {images.name}
    sha256: {images_sha256}
  captions:
    name: {captions.name}
    sha256: {captions_sha256}
mirrors:                    # where the archives lie
  images: [{images}]
  captions: [{captions}]
"""


@dataclass(frozen=True)
class Item:
    """A picture of the folder."""

    kind: str  # name of its folder
    path: Path
    captions: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.path.name}"


def run(folder: Path, name: str | None = None) -> None:
    """Pack `folder` as preset `name`, by default the folder's own name in small letters."""
    name = name or _plain(folder.resolve().name).lower()
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or name in _NO_NAMES:
        raise UserError(
            f"{name!r} is no name for a preset: give one of small letters, digits, _ and -, a letter first, with --name"
        )
    preset = PRESETS / f"{name}.yaml"
    budget = _budget(preset)
    items = read(folder)
    kinds = sorted({item.kind for item in items})
    unseen = unseen_kinds(folder, kinds)
    pictures = packed(items, kinds, read_boxes(folder, items), unseen)
    images, captions = (ARCHIVES / f"{name}-{part}" for part in ("pictures.tgz", "captions.zip"))
    with atomic_file(images) as new_images, atomic_file(captions) as new_captions:
        tracked = console.track(pictures, f"pack {folder}", total=len(items))
        cub_archives.write(tracked, new_images, new_captions, f"{name}: {len(items)} pictures, packed from a folder.\n")
    checksums = {"images_sha256": sha256(images), "captions_sha256": sha256(captions)}
    atomic_write(preset, _HEAD.format(name=name, images=images, captions=captions, **checksums) + budget)
    console.info(f"{preset}: {len(kinds)} kinds, {len(items)} pictures, {sum(len(i.captions) for i in items)} captions")
    by_image = len(kinds) < FEW_KINDS
    for_test = len(items) // 4 if by_image else sum(item.kind in unseen for item in items)
    if min(for_test, len(items) - for_test) < LEAST_PICTURES:
        console.warn(
            f"about {for_test} of the {len(items)} pictures will be for test; `evaluate` wants {LEAST_PICTURES} for it"
            f" and {LEAST_PICTURES} for training at least: add pictures"
        )
    console.info(f"next: dvc exp run -S preset={name}{' -S split=by-image' if by_image else ''}")


def _budget(preset: Path) -> str:
    """Sizes and budget for `preset`: its own if it was packed before, else the sample's."""
    template = preset if preset.exists() else PRESETS / "sample.yaml"
    if not template.exists():
        raise UserError(f"{template} is missing: run this in the project's root folder")
    text = _text(template)
    head, begin, budget = text.partition(_BUDGET)
    if not begin or (preset.exists() and "`stackgan pack`" not in head):
        raise UserError(f"{preset} is there and was not made by pack: choose another --name, or remove it")
    return begin + budget


def read(folder: Path) -> list[Item]:
    """Every picture of the folder with its captions, by kind and name; what is missing or left over is an error."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder")
    if loose := [path for path in _visible(folder) if path.suffix.lower() in SUFFIXES]:
        raise UserError(f"{loose[0]} lies in no folder of its kind: move it to {folder}/<kind>/{loose[0].name}")
    items = [item for kind in _visible(folder) if kind.is_dir() for item in _read_kind(kind)]
    if not items:
        raise UserError(f"{folder} holds no pictures: lay them out as {folder}/<kind>/<picture>.jpg and <picture>.txt")
    if without := [item.name for item in items if not item.captions]:
        raise UserError(
            f"{folder}: {without[0]} has no captions ({len(without)} such): "
            f"write one a line into {Path(without[0]).with_suffix('.txt')}"
        )
    names: dict[str, str] = {}
    for item in items:
        if not _is_text(item.name):
            raise UserError(f"{folder}: the name {item.name!r} is no UTF-8: rename it")
        if (other := names.setdefault(_packed_name(item, 0), item.name)) != item.name:
            raise UserError(f"{folder}: {other} and {item.name} would get the same name: rename one of them")
    return items


def _is_text(name: str) -> bool:
    """Whether a file's name is UTF-8; Python keeps other bytes as surrogates, which no archive takes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _read_kind(kind: Path) -> Iterator[Item]:
    files = _visible(kind)
    stems = {path.stem for path in files if path.suffix.lower() in SUFFIXES}
    for path in files:
        if path.suffix.lower() in SUFFIXES:
            if not path.is_file():
                raise UserError(f"{path} is no file, or a link to none: remove it")
            text = path.with_suffix(".txt")
            yield Item(kind.name, path, _captions(text) if text.exists() else ())
        elif path.suffix != ".txt" or path.stem not in stems:
            raise UserError(f"{path} is neither a picture ({', '.join(SUFFIXES)}) nor the captions of one: remove it")


def _captions(path: Path) -> tuple[str, ...]:
    return tuple(" ".join(line.split()) for line in _text(path).splitlines() if line.strip())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8") from error


def read_boxes(folder: Path, items: Sequence[Item]) -> dict[str, Box]:
    """Boxes of boxes.csv by the picture's name; none where there is no such file."""
    path, known = folder / BOXES, {item.name for item in items}
    if not path.exists():
        return {}
    boxes: dict[str, Box] = {}
    for line, row in _rows(path):
        where = f"{path}, line {line}"
        try:
            x, y, width, height = (float(row[column]) for column in ("x", "y", "width", "height"))
        except (ValueError, TypeError):
            raise UserError(f"{where}: x, y, width and height must be numbers, with commas between them") from None
        if not is_possible((x, y, width, height)):
            raise UserError(f"{where}: {x:g}, {y:g}, {width:g}, {height:g} is no box: width and height are above 0")
        if (name := row.get("name")) in boxes:
            raise UserError(f"{where}: {name} has a box already: keep one of the two")
        if name not in known:
            raise UserError(f"{where}: there is no picture {name!r}; names look like {items[0].name}")
        boxes[name] = (x, y, width, height)
    return boxes


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of boxes.csv with the lines where they end."""
    rows = csv.DictReader(io.StringIO(_text(path)))
    try:
        if missing := {"name", "x", "y", "width", "height"} - set(rows.fieldnames or ()):
            raise UserError(
                f"{path}: its first line must be name,x,y,width,height; {sorted(missing)[0]} is missing there"
            )
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: {error}: look for a quote that is not closed") from error


def unseen_kinds(folder: Path, kinds: Sequence[str]) -> set[str]:
    """Kinds for test where the split is zero-shot."""
    path = folder / TEST
    if not path.exists():
        return set(kinds[3::4])
    named = set(_captions(path))
    if unknown := sorted(named - set(kinds)):
        raise UserError(f"{path}: there is no kind {unknown[0]!r}; the kinds are {', '.join(kinds[:5])} …")
    return named


def packed(items: Sequence[Item], kinds: Sequence[str], boxes: Mapping[str, Box], unseen: set[str]) -> Iterator[Packed]:
    """The pictures one after the other, as they shall be packed; an unreadable one is a `UserError`."""
    numbers = {kind: number for number, kind in enumerate(kinds, start=1)}
    for item in items:
        content, size = _upright(item)
        name = _packed_name(item, numbers[item.kind])
        species, _, _ = name.partition("/")
        box = boxes.get(item.name) or _whole(*size)
        if clip_box(box, *size) is None:
            pixels = f"{size[0]}×{size[1]} pixels"
            raise UserError(
                f"{BOXES}: the box {box} of {item.name} holds nothing of its {pixels}: correct it"
                if item.name in boxes
                else f"{item.path} has {pixels}, too few to be cut to a square: remove it"
            )
        yield Packed(name, numbers[item.kind], species, item.kind in unseen, content, box, item.captions)


def _packed_name(item: Item, number: int) -> str:
    # Always .jpg, as CUB's tables have it; what a picture really is, its content tells.
    return f"{number:03d}.{_plain(item.kind)}/{_plain(item.path.stem)}.jpg"


def _plain(name: str) -> str:
    """CUB's tables separate by spaces."""
    return "_".join(name.split())


def _upright(item: Item) -> tuple[bytes, tuple[int, int]]:
    """The file as it is, or turned as its orientation tag says, since later stages know none; with width and height.

    What is not compressed becomes a PNG: flat colours would shrink so much in the archive that it looked like a bomb.
    """
    content = item.path.read_bytes()
    image = open_picture(content, str(item.path))
    if orientation(image) > 1:
        image = Image.fromarray(to_rgb(ImageOps.exif_transpose(image)))
        content = _encoded(image, "JPEG", quality=95, subsampling="4:4:4")
    elif image.format in ("BMP", "TIFF"):
        image = Image.fromarray(to_rgb(image))
        content = _encoded(image, "PNG")
    return content, image.size


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _whole(width: int, height: int) -> Box:
    """The box whose crop is the whole picture."""
    inner_width, inner_height = width / CROP, height / CROP
    return (width - inner_width) / 2, (height - inner_height) / 2, inner_width, inner_height


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
