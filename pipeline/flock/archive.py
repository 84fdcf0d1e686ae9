"""Pack a flock in CUB-200-2011's own two archives.

Every byte follows from the numbers of species and pictures, the scenes and the seed: results are taken in order from
however many processes draw them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pipeline import cub_archives
from pipeline.flock.picture import FlockPicture, Scenes, draw_picture
from pipeline.flock.species import NOUNS, PERCHING_FORMS, Species, is_test, roster
from pipeline.source_config import FlockSource
from pipeline.workers import parallel

FORMS_OF_SCENES: dict[Scenes, tuple[str, ...]] = {"studio": PERCHING_FORMS, "wild": tuple(NOUNS)}
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
                for species in roster(source.species, source.seed, FORMS_OF_SCENES[source.scenes])
                for index in range(1, source.pictures + 1)
            ),
            start=1,
        )
    ]


def draw(source: FlockSource, flock: Sequence[Entry], processes: int | None = None) -> Iterator[FlockPicture]:
    """The pictures in order, drawn by so many processes (by default one for every core)."""
    jobs = [flock[start : start + _CHUNK] for start in range(0, len(flock), _CHUNK)]
    yield from chain.from_iterable(parallel(Painter(source.seed, source.scenes).draw, jobs, processes=processes))


@dataclass(frozen=True)
class Painter:
    """Draws pictures of one flock; fit for another process."""

    seed: int
    scenes: Scenes

    def draw(self, flock: Sequence[Entry]) -> list[FlockPicture]:
        return [draw_picture(entry.species, entry.index, self.seed, self.scenes) for entry in flock]


def pack(source: FlockSource, pictures: Iterable[FlockPicture], images: Path, captions: Path) -> None:
    """Write both archives from the pictures of `entries(source)`, given in that order."""
    packed = (
        cub_archives.Packed(
            name=entry.name,
            species_id=entry.species.number,
            species=entry.species.name,
            unseen=is_test(entry.species.number),
            image=picture.jpeg,
            box=picture.box,
            captions=picture.captions,
            truth=picture.truth,
        )
        for entry, picture in zip(entries(source), pictures, strict=True)
    )
    cub_archives.write(packed, images, captions, README.format(**source.model_dump()))
