"""Where a preset's two archives come from: drawn here (`flock`) or fetched as they are (`archives`).

The archives' names and checksums are what the pipeline depends on; the URLs that serve them (`Mirrors`) are not, so
that another mirror never repeats a download.
"""

from typing import Annotated, Literal

from pydantic import Field

from stackgan.strict import Strict

IMAGES_ARCHIVE = "CUB_200_2011.tgz"
CAPTIONS_ARCHIVE = "birds.zip"


class Archive(Strict):
    """A file that the download must yield; `sha256` None accepts whatever comes and records its checksum."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None


class FlockSource(Strict):
    """Birds drawn by `pipeline.flock`: `species` × `pictures` of them, the same bytes for the same seed.

    `scenes` studio: birds of the perching forms on a bar before a plain backdrop, all looking right; wild: all forms in
    all their poses, to both sides, in landscapes.
    """

    kind: Literal["flock"]
    species: Annotated[int, Field(ge=8, le=500)]
    pictures: Annotated[int, Field(ge=1, le=1000)]
    scenes: Literal["studio", "wild"]
    seed: Annotated[int, Field(ge=0)]

    @property
    def images(self) -> Archive:
        return Archive(name=IMAGES_ARCHIVE, sha256=None)

    @property
    def captions(self) -> Archive:
        return Archive(name=CAPTIONS_ARCHIVE, sha256=None)


class ArchivesSource(Strict):
    """Two archives in CUB-200-2011's layout: the pictures (.tgz) and the captions (.zip)."""

    kind: Literal["archives"]
    images: Archive
    captions: Archive


Source = Annotated[FlockSource | ArchivesSource, Field(discriminator="kind")]


class Mirrors(Strict):
    """URLs of each archive, tried in order, or the path of a file; empty for what is drawn or found in a folder."""

    images: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
