"""The exam graded with artists whose faults are known: each fault moves the figures that it should, and no others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.evaluate_config import EvaluateConfig
from pipeline.evaluation_exam import Exam
from pipeline.evaluation_views import Panel, Request, Split, rounds
from stackgan.classifier import centre, resize
from stackgan.errors import UserError
from tests.pipeline.toy_shards import write_shards
from tests.stackgan.test_probe import train_probe
from tests.stackgan.toys import PAIRS, Toys, draw, toys, train_judge

CONFIG = EvaluateConfig(
    features="judge", seed=0, captions="all", samples_per_caption=4, inception_weights=None, inception_sha256=None
)
Z_DIM = 8


@dataclass(frozen=True)
class Hall:
    """An exam on toys of four training and two test species, with the pictures themselves."""

    exam: Exam
    train: Toys
    test: Toys

    def images(self, request: Request) -> Tensor:
        """The real pictures whose captions were asked for."""
        return (self.test if request.split == "test" else self.train).images[request.rows]

    def perfect(self, request: Request) -> Tensor:
        """New pictures of the right species."""
        birds = self.test if request.split == "test" else self.train
        species = [birds.species[row] for row in request.rows.tolist()]
        return _new(species, request.noise)

    def shuffled(self, request: Request) -> Tensor:
        """New pictures of species at random."""
        birds = self.test if request.split == "test" else self.train
        order = torch.randperm(len(request.rows), generator=torch.Generator().manual_seed(1))
        species = [birds.species[row] for row in request.rows[order].tolist()]
        return _new(species, request.noise)


def _new(species: list[int], noise: Tensor) -> Tensor:
    seeds = (noise[:, 0].double() * 1e9).long().abs().tolist()
    crops = [
        draw(*PAIRS[number - 1], torch.Generator().manual_seed(seed))
        for number, seed in zip(species, seeds, strict=True)
    ]
    return centre(torch.stack(crops))


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Hall:
    everything = toys(species=6, pictures=36)
    order = torch.randperm(4 * 36, generator=torch.Generator().manual_seed(0)).tolist()  # shards are shuffled too
    train, test = everything.take(order), everything.take(range(4 * 36, 6 * 36))
    shards = tmp_path_factory.mktemp("shards") / "64"
    write_shards(shards, 76, {"train": train, "test": test})
    panel = Panel(train_judge(everything), train_probe(everything), None)
    return Hall(Exam(1, shards, panel, CONFIG, Z_DIM), train, test)


@pytest.fixture(scope="module")
def real(hall: Hall) -> dict[str, Any]:
    return hall.exam.real()


@pytest.fixture(scope="module")
def perfect(hall: Hall) -> dict[str, Any]:
    return hall.exam.grade(hall.perfect)


def test_the_real_pictures_themselves_get_the_best_of_all_grades(hall: Hall) -> None:
    grades = hall.exam.grade(hall.images)
    for split, memorisation in (("test", 1.0), ("train", 0.0)):
        assert grades[split]["fid"] == pytest.approx(0, abs=0.3)  # shards hold JPEGs of them
        assert grades[split]["kid"] < 0.01
        assert grades[split]["coverage"] == grades[split]["precision"] == 1
        assert grades[split]["memorisation"] == pytest.approx(memorisation, abs=0.1)


def test_real_pictures_in_place_of_drawn_ones_are_graded_as_real(perfect: dict[str, Any], real: dict[str, Any]) -> None:
    for split in ("test", "train"):
        grades = perfect[split]
        assert grades["fid"] < 1.2 * real["halves"]["fid"]
        assert abs(grades["kid"]) < 0.1
        assert grades["precision"] > 0.8 and grades["recall"] > 0.8 and grades["coverage"] > 0.8
        assert grades["species_top1"] == pytest.approx(real["species_top1"], abs=0.12)
        assert grades["colours"]["mean"] == pytest.approx(real["colours"]["mean"], abs=0.1)
        assert grades["memorisation"] == pytest.approx(1, abs=0.25)
        assert grades["collapse"] < 0.1
    assert perfect["test"]["diversity"] == pytest.approx(1, abs=0.2)


def test_noise_is_like_nothing(hall: Hall, real: dict[str, Any]) -> None:
    grades = hall.exam.grade(_noise)["test"]
    assert grades["fid"] > 10 * real["halves"]["fid"]
    assert grades["kid"] > 0.5
    assert grades["coverage"] < 0.05 and grades["density"] < 0.3
    assert grades["species_top1"] < 0.6


def test_blurred_pictures_lose_likeness_but_copy_nothing(hall: Hall, perfect: dict[str, Any]) -> None:
    def blurred(request: Request) -> Tensor:
        return resize(resize(hall.perfect(request).float(), 8), 64).byte()

    grades = hall.exam.grade(blurred)["test"]
    assert grades["fid"] > 1.3 * perfect["test"]["fid"]
    assert grades["coverage"] < perfect["test"]["coverage"]
    assert grades["memorisation"] > 0.6


def test_one_repeated_picture_is_collapse(hall: Hall) -> None:
    def repeated(request: Request) -> Tensor:
        return hall.test.images[:1].expand(len(request.rows), -1, -1, -1)

    grades = hall.exam.grade(repeated)["test"]
    assert grades["collapse"] == 1
    assert grades["diversity"] == pytest.approx(0, abs=1e-3)
    assert grades["precision"] == 1
    assert grades["recall"] < 0.05 and grades["coverage"] < 0.3


def test_training_pictures_are_recognised_as_copies(hall: Hall, perfect: dict[str, Any]) -> None:
    def copies(request: Request) -> Tensor:
        """A picture of the training split, whatever was asked for."""
        return hall.train.images[(request.rows + 37 * request.captions) % len(hall.train.names)]

    grades = hall.exam.grade(copies)
    assert grades["test"]["memorisation"] < 0.2
    assert grades["train"]["memorisation"] < 0.2
    assert perfect["test"]["memorisation"] > 0.8


def test_shuffled_captions_move_only_what_reads_captions(hall: Hall, perfect: dict[str, Any]) -> None:
    grades = hall.exam.grade(hall.shuffled)["test"]
    assert grades["species_top1"] < perfect["test"]["species_top1"] - 0.3
    assert grades["colours"]["mean"] < perfect["test"]["colours"]["mean"] - 0.3
    for figure in ("fid", "precision", "recall", "coverage", "memorisation", "collapse"):
        assert grades[figure] == pytest.approx(perfect["test"][figure], rel=0.25, abs=0.1)


def test_grades_are_the_same_for_the_same_seed(hall: Hall, perfect: dict[str, Any]) -> None:
    assert hall.exam.grade(hall.perfect) == perfect


def test_every_caption_is_drawn_once_and_noises_differ(hall: Hall) -> None:
    asked = hall.exam.test_rounds
    pairs = [pair for each in asked for pair in zip(each.rows.tolist(), each.captions.tolist(), strict=True)]
    assert sorted(pairs) == [(row, caption) for row in range(72) for caption in range(3)]
    noise = torch.cat([each.noise for each in asked])
    assert len(noise.unique(dim=0)) == len(noise)
    assert [len(each.rows) for each in rounds(hall.exam.test, 2, Z_DIM, 0)] == [72, 72]


def test_rounds_are_equally_large_where_captions_are_unevenly_many() -> None:
    split = Split("test", [{}] * 3, [torch.zeros(1, 2), torch.zeros(3, 2), torch.zeros(2, 2)])
    asked = rounds(split, None, Z_DIM, 0)
    assert [each.rows.tolist() for each in asked] == [[0, 1, 2]] * 3
    assert [each.captions.tolist() for each in asked] == [[0, 0, 0], [0, 1, 1], [0, 2, 0]]


def test_training_captions_are_as_many_as_test_pictures(hall: Hall) -> None:
    assert len(hall.exam.train_round.rows) == len(hall.test.names)
    assert hall.exam.train_round.captions.unique().tolist() == [0, 1, 2]


def test_the_judge_names_only_real_pictures_that_it_did_not_learn_from(hall: Hall, real: dict[str, Any]) -> None:
    judge = hall.exam.panel.judge
    unseen = [row for row, name in enumerate(hall.test.names) if name in judge.held_out]
    assert 0 < len(unseen) < len(hall.test.names)
    logits = judge.look(hall.test.images[unseen]).logits
    hits = logits.argmax(1) == judge.targets([hall.test.species[row] for row in unseen])
    assert real["species_top1"] == pytest.approx(float(hits.float().mean()), abs=0.11)


def test_chance_stands_beside(hall: Hall) -> None:
    chance = hall.exam.chance()
    assert chance["species_top1"] == pytest.approx(1 / 6)
    assert chance["colours"]["belly"] == pytest.approx(0.5)  # two test species, two bellies


def test_too_few_pictures_are_a_user_error(tmp_path: Path, hall: Hall) -> None:
    few = hall.test.take(range(5))
    write_shards(tmp_path / "64", 76, {"train": hall.train, "test": few})
    with pytest.raises(UserError, match="5 test pictures are too few"):
        Exam(1, tmp_path / "64", hall.exam.panel, CONFIG, Z_DIM)


def _noise(request: Request) -> Tensor:
    generator = torch.Generator().manual_seed(int(request.noise.abs().sum() * 1000))
    return torch.randint(0, 256, (len(request.rows), 3, 64, 64), generator=generator, dtype=torch.uint8)
