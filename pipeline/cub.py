"""CUB-200-2011 as its two archives tell it: pictures, species, boxes (.tgz); captions and the zero-shot split (.zip).

The layout is that of Wah et al. 2011 and of StackGAN's birds.zip. The images archive may lack pictures, even whole
species; its tables must agree with each other and with the captions archive, else a `UserError` names file and line.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.archives import Tar, Zip, open_tar, open_zip
from pipeline.manifest import Box, Picture, is_possible
from pipeline.pickles import load_pickle
from pipeline.source_config import ArchivesSource, FlockSource
from stackgan.errors import UserError

ROOT = "CUB_200_2011"
SPLITS = ("train", "test")
_DIGITS = 9  # of the numbers in the tables


@dataclass(frozen=True)
class Dataset:
    """Everything that the archives describe.

    `species` holds every known species by number, also those without pictures; `pictures` those really in the archive,
    by name, with the split of the zero-shot lists and with as many captions as there are (none at all is possible).
    """

    species: Mapping[int, str]
    pictures: list[Picture]


def read_dataset(raw: Path, source: ArchivesSource | FlockSource) -> list[Picture]:
    """All pictures in the archives of folder `raw`, of every species, sorted by name."""
    with open_tar(raw / source.images.name) as images:
        return read(images, raw / source.captions.name).pictures


def read(images: Tar, captions: Path) -> Dataset:
    """Read all tables and captions; see the module on what is checked."""
    species = {number: name for number, (name,) in _table(images, "classes.txt", 1).items()}
    if not species:
        raise UserError(f"{images.path}: classes.txt lists no species")
    names = _names(images)
    labels = _labels(images, names, species)
    boxes = _boxes(images, names)
    truths = _truths(images)
    with open_zip(captions) as texts:
        split_of = _splits(texts, {names[id]: labels[id] for id in names})
        pictures = [
            Picture(
                id=id,
                name=name,
                species_id=labels[id],
                species=species[labels[id]],
                split=split_of[name],
                bbox=boxes[id],
                captions=_captions(texts, name),
                truth=truths.get(name, {}),
            )
            for id, name in sorted(names.items(), key=lambda item: item[1])
            if image_member(name) in images
        ]
    if not pictures:
        raise UserError(f"{images.path}: it holds none of the {len(names)} pictures that images.txt lists")
    return Dataset(species, pictures)


def image_member(name: str) -> str:
    """The member of the images archive that holds picture `name`."""
    return f"{ROOT}/images/{name}"


def _names(images: Tar) -> dict[int, str]:
    names: dict[int, str] = {}
    seen: set[str] = set()
    for id, (name,) in _table(images, "images.txt", 1).items():
        if len(PurePosixPath(name).parts) != 2 or not name.endswith(".jpg"):
            raise UserError(f"{images.path}: images.txt gives picture {id} the name {name!r}, not species/picture.jpg")
        if name in seen:
            raise UserError(f"{images.path}: images.txt lists {name} twice")
        seen.add(name)
        names[id] = name
    return names


def _labels(images: Tar, names: Mapping[int, str], species: Mapping[int, str]) -> dict[int, int]:
    file = "image_class_labels.txt"
    rows = _table(images, file, 1)
    _same_ids(images, file, rows, names)
    labels = {}
    for id, (label,) in rows.items():
        folder = PurePosixPath(names[id]).parent.name
        if not _is_number(label) or species.get(int(label)) != folder:
            raise UserError(f"{images.path}: {file} gives picture {id} species {label}, but its folder is {folder}")
        labels[id] = int(label)
    return labels


def _boxes(images: Tar, names: Mapping[int, str]) -> dict[int, Box]:
    file = "bounding_boxes.txt"
    rows = _table(images, file, 4)
    _same_ids(images, file, rows, names)
    return {id: _box(row, f"{images.path}: {file}, picture {id}") for id, row in rows.items()}


def _box(row: list[str], where: str) -> Box:
    try:
        x, y, width, height = map(float, row)
    except ValueError:
        raise UserError(f"{where}: {' '.join(row)!r} are not four numbers") from None
    if not is_possible((x, y, width, height)):
        raise UserError(f"{where}: a box of {width} × {height} pixels at {x}, {y} is impossible")
    return x, y, width, height


def _truths(images: Tar) -> dict[str, dict[str, str]]:
    """What drawn pictures show, by name; real ones have no such file."""
    file = "truth.jsonl"
    if f"{ROOT}/{file}" not in images:
        return {}
    truths = {}
    for number, text in _lines(images, file):
        try:
            truth = json.loads(text)
            if not all(isinstance(value, str) for value in truth.values()):
                raise ValueError("not every value is a text")
            truths[truth.pop("name")] = truth
        except (ValueError, KeyError, AttributeError, RecursionError) as error:
            raise UserError(f"{images.path}: {file}, line {number} is not a picture's truth ({error})") from error
    return truths


def _table(images: Tar, file: str, columns: int) -> dict[int, list[str]]:
    """Rows `id value…` of a text file by id."""
    rows: dict[int, list[str]] = {}
    for number, text in _lines(images, file):
        where = f"{images.path}: {file}, line {number}"
        id, *values = text.split()
        if not _is_number(id) or len(values) != columns:
            raise UserError(f"{where}: {text.strip()!r} is not a number and {columns} value{'s'[: columns > 1]}")
        if int(id) in rows:
            raise UserError(f"{where}: number {id} is there twice")
        rows[int(id)] = values
    return rows


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _DIGITS


def _lines(images: Tar, file: str) -> Iterator[tuple[int, str]]:
    try:
        text = images.read(f"{ROOT}/{file}").decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{images.path}: {file} is not text ({error})") from error
    return ((number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())


def _same_ids(images: Tar, file: str, rows: Mapping[int, list[str]], names: Mapping[int, str]) -> None:
    if missing := sorted(names.keys() - rows.keys()):
        raise UserError(f"{images.path}: {file} has no line for picture {missing[0]} ({len(missing)} such)")
    if unknown := sorted(rows.keys() - names.keys()):
        raise UserError(
            f"{images.path}: {file} names picture {unknown[0]}, which images.txt lacks ({len(unknown)} such)"
        )


def _splits(texts: Zip, species_of: Mapping[str, int]) -> dict[str, str]:
    """Split of every picture by the lists of StackGAN's birds.zip, which share no species."""
    split_of: dict[str, str] = {}
    for split in SPLITS:
        for name, species in _split_list(texts, split):
            if species_of.get(name) != species:
                raise UserError(
                    f"{texts.path}: {split}/filenames.pickle and class_info.pickle give {name} species "
                    f"{species}, the images archive {species_of.get(name)}"
                )
            if name in split_of:
                raise UserError(
                    f"{texts.path}: {name} is listed twice in the filenames.pickle of {' and '.join(SPLITS)}"
                )
            split_of[name] = split
    if missing := sorted(species_of.keys() - split_of.keys()):
        raise UserError(f"{texts.path}: {missing[0]} is in neither filenames.pickle ({len(missing)} such)")
    sides = {split: {species_of[name] for name in split_of if split_of[name] == split} for split in SPLITS}
    if shared := sorted(sides["train"] & sides["test"]):
        raise UserError(
            f"{texts.path}: species {shared[0]} has both train and test pictures; zero-shot needs disjoint ones"
        )
    return split_of


def _split_list(texts: Zip, split: str) -> Iterator[tuple[str, int]]:
    files = [f"birds/{split}/{kind}.pickle" for kind in ("filenames", "class_info")]
    stems, species = (load_pickle(texts.read(file), f"{texts.path}: {file}") for file in files)
    for values, fits, file in zip((stems, species), (_is_stem, _is_species_number), files, strict=True):
        if not isinstance(values, list | tuple | np.ndarray):
            raise UserError(f"{texts.path}: {file} holds a {type(values).__name__}, not a list")
        for place, value in enumerate(values, start=1):
            if not fits(value):
                kind = type(value).__name__.strip("_").lower()
                raise UserError(
                    f"{texts.path}: {file}, entry {place} is no picture's, but a wrong value of type {kind}"
                )
    if len(stems) != len(species):
        raise UserError(f"{texts.path}: {files[0]} has {len(stems)} entries, {files[1]} {len(species)}")
    return ((f"{stem}.jpg", number) for stem, number in zip(stems, species, strict=True))


def _is_stem(value: object) -> bool:
    return isinstance(value, str)


def _is_species_number(value: object) -> bool:
    return isinstance(value, int | np.integer) and 0 < value < 10**_DIGITS


def _captions(texts: Zip, name: str) -> tuple[str, ...]:
    """Captions of a picture, one a line; unreadable characters, as CUB's files have them, and invisible ones that could
    steer a terminal stand for spaces."""
    member = f"birds/text_c10/{PurePosixPath(name).with_suffix('.txt')}"
    if member not in texts:
        return ()
    lines = texts.read(member).decode(errors="replace").replace("\ufffd", " ").splitlines()
    plain = ("".join(letter if letter.isprintable() else " " for letter in line).split() for line in lines)
    return tuple(" ".join(words) for words in plain if words)
