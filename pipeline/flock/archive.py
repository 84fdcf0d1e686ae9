"""Pack a flock in CUB-200-2011's own two archives: the pictures with their lists (.tgz) and the captions (.zip).

Every byte follows from the number of species, of pictures and the seed: fixed times and owners, members in order,
and results taken in order from however many processes draw them.
"""

import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pipeline.flock.picture import FlockPicture, draw_picture
from pipeline.flock.species import Species, is_test, roster
from pipeline.source_config import FlockSource
from pipeline.workers import parallel

ROOT = "CUB_200_2011"
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_CHUNK = 8  # pictures that are worth sending to another process
README = """Drawn birds in the layout of CUB-200-2011
=========================================
{pictures} pictures of {species} species, drawn by a program (seed {seed}); no photograph is among them.
images/, images.txt, classes.txt, image_class_labels.txt, bounding_boxes.txt and train_test_split.txt are as in
CUB-200-2011. truth.jsonl says what each picture shows, in the words of its captions.
"""


@dataclass(frozen=True)
class Entry:
    """One picture to draw: `number` counts all pictures from 1, `name` is its path below images/."""

    number: int
    name: str
    species: Species
    index: int


def entries(source: FlockSource) -> list[Entry]:
    """All pictures of a flock, by species."""
    return [
        Entry(number, f"{species.name}/{species.name[4:].title()}_{index:04d}_{number}.jpg", species, index)
        for number, (species, index) in enumerate(
            (
                (species, index)
                for species in roster(source.species, source.seed)
                for index in range(1, source.pictures + 1)
            ),
            start=1,
        )
    ]


def draw(flock: Sequence[Entry], seed: int, processes: int | None = None) -> Iterator[FlockPicture]:
    """The pictures in order, drawn by a pool of processes (by default one per processor at hand)."""
    jobs = [flock[start : start + _CHUNK] for start in range(0, len(flock), _CHUNK)]
    processes = processes or len(os.sched_getaffinity(0))
    yield from chain.from_iterable(parallel(Painter(seed).draw, jobs, processes=processes))


@dataclass(frozen=True)
class Painter:
    """Draws pictures of one seed; fit for another process."""

    seed: int

    def draw(self, flock: Sequence[Entry]) -> list[FlockPicture]:
        return [draw_picture(entry.species, entry.index, self.seed) for entry in flock]


def pack(source: FlockSource, pictures: Iterable[FlockPicture], images: Path, captions: Path) -> None:
    """Write both archives from the pictures of `entries(source)`, given in that order."""
    flock = entries(source)
    boxes: list[str] = []
    truths: list[str] = []
    with (
        images.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        zipfile.ZipFile(captions, "w") as texts,
    ):
        _add(tar, "README", README.format(**source.model_dump()))
        for entry, picture in zip(flock, pictures, strict=True):
            _add(tar, f"images/{entry.name}", picture.jpeg)
            _store(texts, f"text_c10/{entry.name.removesuffix('.jpg')}.txt", "\n".join(picture.captions) + "\n")
            boxes.append(" ".join([str(entry.number), *(f"{value:.1f}" for value in picture.box)]))
            truths.append(json.dumps({"name": entry.name, **picture.truth}))
        for name, lines in _lists(flock, boxes, truths).items():
            _add(tar, name, "".join(f"{line}\n" for line in lines))
        for split, members in (("train", False), ("test", True)):
            chosen = [entry for entry in flock if is_test(entry.species.number) is members]
            _store(texts, f"{split}/filenames.pickle", _pickled([e.name.removesuffix(".jpg") for e in chosen]))
            _store(texts, f"{split}/class_info.pickle", _pickled([e.species.number for e in chosen]))


def _lists(flock: Sequence[Entry], boxes: list[str], truths: list[str]) -> dict[str, Iterable[str]]:
    species = {entry.species.number: entry.species.name for entry in flock}
    return {
        "images.txt": (f"{entry.number} {entry.name}" for entry in flock),
        "classes.txt": (f"{number} {name}" for number, name in species.items()),
        "image_class_labels.txt": (f"{entry.number} {entry.species.number}" for entry in flock),
        "bounding_boxes.txt": boxes,
        "train_test_split.txt": (f"{entry.number} {entry.index % 2}" for entry in flock),
        "truth.jsonl": truths,
    }


def _add(tar: tarfile.TarFile, name: str, content: bytes | str) -> None:
    data = content.encode() if isinstance(content, str) else content
    member = tarfile.TarInfo(f"{ROOT}/{name}")
    member.size, member.mtime, member.mode = len(data), 0, 0o644
    tar.addfile(member, io.BytesIO(data))


def _store(archive: zipfile.ZipFile, name: str, content: bytes | str) -> None:
    member = zipfile.ZipInfo(f"birds/{name}", ZIP_EPOCH)
    member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    archive.writestr(member, content)


def _pickled(value: list[str] | list[int]) -> bytes:
    return pickle.dumps(value, protocol=2)
