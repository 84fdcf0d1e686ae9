"""The sheets of `evaluate`: what the model draws, beside what is real."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from pipeline.evaluation_exam import Exam
from pipeline.evaluation_views import Split, request
from pipeline.pictures import save_png, sheet
from stackgan.metrics import nearest
from stackgan.model import StackGAN, to_pictures
from stackgan.networks import STAGE_SIZES
from stackgan.reader import samples

BEST = 2  # the stage that sheets of one stage show
CAPTIONS, NEIGHBOURS, SPECIES, STEPS = 8, 5, 10, 7
LARGE, SMALL = 208, 144  # sides of tiles


class Sheets:
    """Draws the sheets of one evaluation into `folder`; `shards` are those of Stage II."""

    def __init__(self, folder: Path, model: StackGAN, exam: Exam, shards: Path) -> None:
        self.folder, self.model, self.exam, self.shards = folder, model, exam, shards
        self.rows = spread_over_species(exam.test, CAPTIONS)

    def write(self) -> None:
        self.captions()
        self.neighbours()
        self.interpolation()
        self.species()

    def captions(self) -> None:
        """Test captions, drawn by both stages with the same noise, and the real bird that each was written about."""
        drawn = {stage: self.draw(self.exam.test, self.rows, stage) for stage in STAGE_SIZES}
        real = self.real("test", self.rows)
        self.save(
            "captions.png",
            sheet(
                [[*column] for column in zip(*map(to_pictures, (drawn[1], drawn[2], real)), strict=True)],
                title="Captions of pictures that training never saw",
                row_titles=[self.exam.test.pictures[row]["captions"][0] for row in self.rows],
                column_titles=["Stage I (64 pixels)", "Stage II (256 pixels)", "the bird described"],
                tile=LARGE,
            ),
        )

    def neighbours(self) -> None:
        """Are drawn birds copies? Each beside the training pictures that the judge finds nearest to it."""
        groups = ((self.exam.test, self.rows[:3], "not seen"), (self.exam.train, [0, 1, 2], "seen in training"))
        rows, titles = [], []
        for split, chosen, note in groups:
            drawn = self.draw(split, chosen, BEST)
            features = self.exam.panel.judge.look(drawn).features
            found = nearest(self.exam.unseen.training, features, NEIGHBOURS)
            real = self.real("train", found.flatten().tolist()).unflatten(0, found.shape)
            for row, picture, neighbours in zip(chosen, drawn, real, strict=True):
                rows.append(to_pictures(torch.cat([picture[None], neighbours])))
                titles.append(f"{split.pictures[row]['captions'][0]} ({note})")
        self.save(
            "neighbours.png",
            sheet(
                rows,
                title="Drawn birds and their nearest training pictures",
                row_titles=titles,
                column_titles=["drawn", "nearest", *(f"{rank}." for rank in range(2, NEIGHBOURS + 1))],
                tile=SMALL,
            ),
        )

    def interpolation(self) -> None:
        """Smooth ways between captions, and between noises, say that the model has learnt more than examples."""
        test, rows = self.exam.test, self.rows
        pairs = list(zip(rows[0:4:2], rows[1:4:2], strict=True))
        weights = torch.linspace(0, 1, STEPS)[:, None]
        noise = self.model.noise(2, self.exam.config.seed)
        strips, titles = [], []
        for first, second in pairs:
            ends = [test.embeddings[row][0] for row in (first, second)]
            captions = torch.lerp(ends[0][None], ends[1][None], weights)
            strips.append(self.model.draw(captions, noise[:1].expand(STEPS, -1), BEST))
            titles.append(" … to … ".join(test.pictures[row]["captions"][0] for row in (first, second)))
        for first, _ in pairs:
            # On the sphere, where noise of this many dimensions lies: halfway along a line it would be too short.
            angles = weights * torch.pi / 2
            between = noise[:1] * angles.cos() + noise[1:] * angles.sin()
            strips.append(self.model.draw(test.embeddings[first][:1].expand(STEPS, -1), between, BEST))
            titles.append(f"{test.pictures[first]['captions'][0]} (from one noise to another)")
        self.save(
            "interpolation.png",
            sheet(
                [to_pictures(strip) for strip in strips],
                title="Between two captions, and between two noises",
                row_titles=titles,
                tile=SMALL,
            ),
        )

    def species(self) -> None:
        """Several birds of each test species, from captions of different pictures, after a real one."""
        rows, titles = [], []
        firsts = spread_over_species(self.exam.test, SPECIES)
        for first, real in zip(firsts, self.real("test", firsts), strict=True):
            species = self.exam.test.pictures[first]["species"]
            same = [row for row, each in enumerate(self.exam.test.pictures) if each["species"] == species]
            drawn = self.draw(self.exam.test, same[:STEPS], BEST)
            rows.append(to_pictures(torch.cat([real[None], drawn])))
            titles.append(species.partition(".")[2].replace("_", " ") or species)
        self.save(
            "species.png",
            sheet(
                rows,
                title="Species of the test pictures",
                row_titles=titles,
                column_titles=["real", *["drawn"] * (max(map(len, rows)) - 1)],
                tile=SMALL,
            ),
        )

    def draw(self, split: Split, rows: Sequence[int], stage: int) -> Tensor:
        """The first captions of some rows: uint8 [N, 3, S, S]; the same noise at every stage."""
        wanted = request(split, rows, [0] * len(rows), self.exam.noise_dim, self.exam.config.seed)
        return self.model.draw(wanted.embeddings, wanted.noise, stage)

    def real(self, split: str, rows: Sequence[int]) -> Tensor:
        """Real pictures of some rows: uint8 [N, 3, 256, 256]."""
        wanted = sorted(set(rows))
        found = samples(self.shards, split, size=STAGE_SIZES[BEST], rows=wanted)
        images = {row: sample.image for row, sample in zip(wanted, found, strict=True)}
        return torch.stack([images[row] for row in rows])

    def save(self, name: str, picture: Image.Image) -> None:
        save_png(picture, self.folder / name)


def spread_over_species(split: Split, count: int) -> list[int]:
    """Rows of `count` pictures, of as many species as there are, in the order of the species' numbers."""
    by_species: dict[int, list[int]] = {}
    for row, picture in enumerate(split.pictures):
        by_species.setdefault(picture["species_id"], []).append(row)
    species = sorted(by_species)
    step = max(1.0, len(species) / count)
    chosen = [species[int(index * step)] for index in range(min(count, len(species)))]
    rows = [by_species[each][0] for each in chosen]
    more = [row for each in species for row in by_species[each][1:]]
    return rows + more[: count - len(rows)]
