"""Write pictures in CUB-200-2011's own two archives: the pictures with their lists (.tgz) and the captions (.zip).

The same pictures in the same order make the same bytes: times and owners are fixed.
"""

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = "CUB_200_2011"
TABLES = (
    *("images.txt", "classes.txt", "image_class_labels.txt", "bounding_boxes.txt", "train_test_split.txt"),
    "truth.jsonl",
)
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Packed:
    """A picture as it is packed."""

    name: str  # below images/: "001.Black_footed_Albatross/Black_Footed_Albatross_0001_796111.jpg"
    species_id: int
    species: str  # "001.Black_footed_Albatross"
    unseen: bool  # whether the zero-shot lists keep its species for test
    image: bytes
    box: tuple[float, float, float, float]  # x, y, width, height in pixels
    captions: Sequence[str]
    truth: Mapping[str, str] = field(default_factory=dict)  # part -> colour, where the picture was drawn


def write(pictures: Iterable[Packed], images: Path, captions: Path, readme: str) -> None:
    """Write both archives; pictures are numbered from 1 in the order given, and held in memory one at a time."""
    tables: dict[str, list[str]] = {name: [] for name in TABLES}
    seen: Counter[int] = Counter()
    split: dict[bool, list[tuple[str, int]]] = {False: [], True: []}
    with (
        images.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
        zipfile.ZipFile(captions, "w") as texts,
    ):
        _add(tar, "README", readme)
        for number, picture in enumerate(pictures, start=1):
            stem = picture.name.removesuffix(".jpg")
            _add(tar, f"images/{picture.name}", picture.image)
            _store(texts, f"text_c10/{stem}.txt", "\n".join(picture.captions) + "\n")
            split[picture.unseen].append((stem, picture.species_id))
            if picture.species_id not in seen:
                tables["classes.txt"].append(f"{picture.species_id} {picture.species}")
            seen[picture.species_id] += 1
            tables["images.txt"].append(f"{number} {picture.name}")
            tables["image_class_labels.txt"].append(f"{number} {picture.species_id}")
            tables["bounding_boxes.txt"].append(" ".join([str(number), *(f"{value:.1f}" for value in picture.box)]))
            tables["train_test_split.txt"].append(f"{number} {seen[picture.species_id] % 2}")
            if picture.truth:
                tables["truth.jsonl"].append(json.dumps({"name": picture.name, **picture.truth}))
        for name, lines in tables.items():
            if lines:
                _add(tar, name, "".join(f"{line}\n" for line in lines))
        for name, chosen in (("train", split[False]), ("test", split[True])):
            _store(texts, f"{name}/filenames.pickle", pickle.dumps([stem for stem, _ in chosen], protocol=2))
            _store(texts, f"{name}/class_info.pickle", pickle.dumps([number for _, number in chosen], protocol=2))


def _add(tar: tarfile.TarFile, name: str, content: bytes | str) -> None:
    data = content.encode() if isinstance(content, str) else content
    member = tarfile.TarInfo(f"{ROOT}/{name}")
    member.size, member.mtime, member.mode = len(data), 0, 0o644
    tar.addfile(member, io.BytesIO(data))


def _store(archive: zipfile.ZipFile, name: str, content: bytes | str) -> None:
    member = zipfile.ZipInfo(f"birds/{name}", ZIP_EPOCH)
    member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    archive.writestr(member, content)
