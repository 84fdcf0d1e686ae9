"""Archives in CUB's layout that are small and can be damaged at will."""

import io
import pickle
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.source_config import Archive, ArchivesSource

SOURCE = ArchivesSource(
    kind="archives",
    images=Archive(name="CUB_200_2011.tgz", sha256=None),
    captions=Archive(name="birds.zip", sha256=None),
)
SPECIES = ["001.Red_Cardinal", "002.Blue_Jay", "003.Black_Crow", "004.White_Tern"]
COLOURS = [(200, 30, 30), (40, 60, 200), (20, 20, 20), (240, 240, 240)]
TEST_SPECIES = {SPECIES[1]}  # the zero-shot lists put these into test


@dataclass
class Tiny:
    """Members of both archives by name; change them, then `save`."""

    images: dict[str, bytes]
    captions: dict[str, bytes]

    def save(self, folder: Path) -> Path:
        """Write both archives into `folder` and give it back."""
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(folder / SOURCE.images.name, "w:gz", compresslevel=1) as tar:
            for name, content in self.images.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        with zipfile.ZipFile(folder / SOURCE.captions.name, "w") as file:
            for name, content in self.captions.items():
                file.writestr(name, content)
        return folder

    def edit(self, table: str, old: str, new: str) -> None:
        """Replace text in one of the tables of the images archive."""
        content = self.images[f"CUB_200_2011/{table}"].decode()
        assert old in content
        self.images[f"CUB_200_2011/{table}"] = content.replace(old, new, 1).encode()


def tiny(pictures: int = 5, *, prefix: str = "") -> Tiny:
    """Four species with `pictures` each: a coloured block on noise, the block being the bird's box."""
    names = [
        f"{species}/{species[4:]}_{number:04d}_{number}.jpg" for species in SPECIES for number in range(1, pictures + 1)
    ]
    images, captions = {}, {}
    tables: dict[str, list[str]] = {"images": [], "image_class_labels": [], "bounding_boxes": []}
    for id, name in enumerate(names, start=1):
        species = SPECIES.index(name.split("/")[0])
        width, height = 90 + 7 * (id % 4), 70 + 5 * (id % 3)
        box = (8 + id % 5, 12, 50, 30 + id % 7)
        images[f"{prefix}CUB_200_2011/images/{name}"] = jpeg(draw(width, height, box, COLOURS[species], id))
        captions[f"birds/text_c10/{name[:-4]}.txt"] = caption_file(species, id)
        tables["images"].append(f"{id} {name}")
        tables["image_class_labels"].append(f"{id} {species + 1}")
        tables["bounding_boxes"].append(f"{id} {' '.join(f'{value:.1f}' for value in box)}")
    tables["classes"] = [f"{number} {name}" for number, name in enumerate(SPECIES, start=1)]
    for table, lines in tables.items():
        images[f"{prefix}CUB_200_2011/{table}.txt"] = "".join(line + "\n" for line in lines).encode()
    for split in ("train", "test"):
        own = [name for name in names if (name.split("/")[0] in TEST_SPECIES) == (split == "test")]
        numbers = [np.int64(SPECIES.index(name.split("/")[0]) + 1) for name in own]
        captions[f"birds/{split}/filenames.pickle"] = pickle.dumps([name[:-4] for name in own], protocol=0)
        captions[f"birds/{split}/class_info.pickle"] = pickle.dumps(numbers, protocol=2)
    return Tiny(images, captions)


def draw(
    width: int, height: int, box: tuple[int, int, int, int], colour: tuple[int, int, int], seed: int
) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(90, 160, (height, width, 3), dtype=np.uint8)
    x, y, w, h = box
    pixels[y : y + h, x : x + w] = colour
    return Image.fromarray(pixels)


def caption_file(species: int, id: int) -> bytes:
    colour = ("red", "blue", "black", "white")[species]
    return "".join(f"a {colour} bird, seen {id} times, sentence {n}\n" for n in range(3)).encode()


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
