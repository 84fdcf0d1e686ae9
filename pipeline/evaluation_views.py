"""Whom `evaluate` asks about pictures, and what: real pictures from the shards, and drawn ones caption by caption."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline import console
from stackgan.inception import Inception
from stackgan.judge import Judge
from stackgan.probe import Probe
from stackgan.reader import samples

CHUNK = 128  # pictures in memory at a time


@dataclass(frozen=True)
class Views:
    """What is known of N pictures: judge's `features` [N, F] and `logits` [N, S], probe's `colours` (part → N words),
    Inception's `pooled` [N, 2048] and `classes` [N, 1008]; the last three only where they were asked for."""

    features: Tensor
    logits: Tensor
    colours: dict[str, list[str]]
    pooled: Tensor | None = None
    classes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, rows: Tensor) -> "Views":
        """The views of some of the pictures, by indices int64 [M]."""
        return Views(
            self.features[rows],
            self.logits[rows],
            {part: [words[row] for row in rows.tolist()] for part, words in self.colours.items()},
            None if self.pooled is None else self.pooled[rows],
            None if self.classes is None else self.classes[rows],
        )

    @staticmethod
    def join(parts: Sequence["Views"]) -> "Views":
        first = parts[0]
        return Views(
            torch.cat([part.features for part in parts]),
            torch.cat([part.logits for part in parts]),
            {name: [word for part in parts for word in part.colours[name]] for name in first.colours},
            None if first.pooled is None else torch.cat([part.pooled for part in parts if part.pooled is not None]),
            None if first.classes is None else torch.cat([part.classes for part in parts if part.classes is not None]),
        )


@dataclass(frozen=True)
class Panel:
    """All who look at pictures."""

    judge: Judge
    probe: Probe | None
    inception: Inception | None

    def look(self, images: Tensor) -> Views:
        """Views on uint8 pictures [N, 3, S, S]."""
        opinion = self.judge.look(images)
        colours = self.probe.read(images) if self.probe else {}
        pooled, classes = self.inception.look(images) if self.inception else (None, None)
        return Views(opinion.features, opinion.logits, colours, pooled, classes)


@dataclass(frozen=True)
class Split:
    """The real pictures of a split: manifest lines and caption embeddings [captions, T], in the order of the shards."""

    name: str
    pictures: list[dict[str, Any]]
    embeddings: list[Tensor]

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass(frozen=True)
class Request:
    """What to draw: B captions of the pictures `rows` [B] of a split, caption number `captions` [B] of each, with
    `embeddings` [B, T] and `noise` [B, noise_dim]."""

    split: str
    rows: Tensor
    captions: Tensor
    embeddings: Tensor
    noise: Tensor

    def parts(self) -> Iterator["Request"]:
        """The same in chunks."""
        fields = (self.rows, self.captions, self.embeddings, self.noise)
        for chunks in zip(*(field.split(CHUNK) for field in fields), strict=True):
            yield Request(self.split, *chunks)


# A generator, seen from here: pictures uint8 [B, 3, S, S] for a request. Real pictures can take its place.
Artist = Callable[[Request], Tensor]


def read_split(folder: Path, name: str, size: int, panel: Panel) -> tuple[Split, Views]:
    """A split with the panel's views on its real pictures of `size` pixels (the middle of each crop)."""
    split, views, images = Split(name, [], []), [], []
    for sample in console.track(samples(folder, name, size=size), f"real {name} pictures at {size} pixels"):
        split.pictures.append(sample.picture)
        split.embeddings.append(sample.embeddings)
        images.append(sample.image)
        if len(images) == CHUNK:
            views.append(panel.look(torch.stack(images)))
            images = []
    if images:
        views.append(panel.look(torch.stack(images)))
    return split, Views.join(views)


def request(split: Split, rows: Sequence[int], captions: Sequence[int], noise_dim: int, seed: int) -> Request:
    """The captions of some rows; the noise hangs on `seed` alone, so that both stages can be given the same."""
    return Request(
        split.name,
        torch.tensor(rows),
        torch.tensor(captions),
        torch.stack([split.embeddings[row][caption] for row, caption in zip(rows, captions, strict=True)]),
        torch.randn(len(rows), noise_dim, generator=torch.Generator().manual_seed(seed)),
    )


def rounds(split: Split, count: int | None, noise_dim: int, seed: int) -> list[Request]:
    """Requests for the first captions of all pictures, for the second, and so on, until every caption was drawn.

    A picture with fewer captions than another begins with its first again: figures of rounds of fewer pictures could
    not be averaged with the rest. `count` stops after so many rounds.
    """
    counts = [len(embeddings) for embeddings in split.embeddings]
    most = max(counts)
    return [
        request(split, range(len(split)), [number % each for each in counts], noise_dim, 1000 * seed + number)
        for number in range(min(most, count or most))
    ]


def show(artist: Artist, requests: Sequence[Request], panel: Panel, description: str) -> list[Views]:
    """The panel's views on what the artist draws, one for each request; few pictures exist at a time."""
    parts = [(number, part) for number, request in enumerate(requests) for part in request.parts()]
    views: list[list[Views]] = [[] for _ in requests]
    for number, part in console.track(parts, description):
        views[number].append(panel.look(artist(part)))
    return [Views.join(each) for each in views]
