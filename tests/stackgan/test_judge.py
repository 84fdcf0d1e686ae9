"""The judge: it learns, it is the same for the same seed, it resumes, and it looks at any size."""

from pathlib import Path

import pytest
import torch

from stackgan.classifier import Classifier, ask, centre, resize
from stackgan.classifier_training import JUDGE_VIEWS, ClassifierTraining
from stackgan.errors import UserError
from stackgan.judge import SPECIES, Judge, choose_held_out, load
from stackgan.views import augment
from tests.stackgan.toys import CONFIG, Toys, toys, train_judge


@pytest.fixture(scope="module")
def birds() -> Toys:
    return toys()


@pytest.fixture(scope="module")
def judge(birds: Toys) -> Judge:
    return train_judge(birds)


def training(birds: Toys) -> ClassifierTraining:
    torch.manual_seed(0)
    config = CONFIG.model_copy(update={"epochs": 2})
    classifier = Classifier(64, 4, {SPECIES: 3})
    few = slice(0, 90, 3)
    target = torch.tensor(birds.species[few]) - 1
    return ClassifierTraining(classifier, birds.crops[few], {SPECIES: target}, config, JUDGE_VIEWS)


def test_it_recognises_species_that_differ_in_their_colours(judge: Judge) -> None:
    assert judge.card.accuracy["top1"] > 0.85


def test_it_looks_at_any_size_alike(judge: Judge, birds: Toys) -> None:
    small = birds.images[::5]
    large = resize(small.float(), 256).byte()
    agree = judge.look(small).logits.argmax(1) == judge.look(large).logits.argmax(1)
    assert agree.float().mean() > 0.9


def test_features_are_standardised(judge: Judge, birds: Toys) -> None:
    features = judge.look(birds.images).features
    assert features.shape == (len(birds.names), 8 * CONFIG.width)
    assert features.dtype == torch.float32
    assert 0.5 < features.std(0).mean() < 1.5


def test_the_batch_size_changes_nothing(judge: Judge, birds: Toys) -> None:
    images = birds.images[:7]
    assert torch.allclose(ask(judge.classifier, images, 2).features, ask(judge.classifier, images).features, atol=1e-4)


def test_saved_and_loaded_it_gives_the_same_opinion(judge: Judge, birds: Toys, tmp_path: Path) -> None:
    judge.save(tmp_path)
    again = load(tmp_path)
    assert again.card == judge.card
    assert torch.equal(again.look(birds.images[:5]).logits, judge.look(birds.images[:5]).logits)
    assert again.targets([2, 99]).tolist() == [1, -1]


@pytest.mark.parametrize(
    ("file", "content"),
    [("config.json", "{}"), ("config.json", "nonsense"), ("judge.safetensors", "nonsense")],
)
def test_a_broken_folder_is_a_user_error(judge: Judge, tmp_path: Path, file: str, content: str) -> None:
    judge.save(tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match="holds no readable judge"):
        load(tmp_path)
    with pytest.raises(UserError, match="dvc repro judge"):
        load(tmp_path / "nowhere")


def test_a_resumed_training_ends_in_the_same_weights(birds: Toys, tmp_path: Path) -> None:
    whole = training(birds)
    first_loss = whole.run_epoch()
    torch.save(whole.state(), tmp_path / "state.pt")
    assert whole.run_epoch() != first_loss

    resumed = training(birds)
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert resumed.epoch == 1
    resumed.run_epoch()
    expected, value = (each.average.network.state_dict() for each in (whole, resumed))
    assert all(torch.equal(expected[name], value[name]) for name in expected)


def test_a_loss_that_is_no_number_is_a_user_error(birds: Toys) -> None:
    broken = training(birds)
    next(iter(broken.model.parameters())).data.fill_(float("nan"))
    with pytest.raises(UserError, match="no finite number"):
        broken.run_epoch()


def test_held_out_pictures_are_a_share_of_every_species_whatever_the_order() -> None:
    names = [f"{species:03d}.X/{index}.jpg" for species in range(1, 6) for index in range(10)]
    species = [index // 10 for index in range(50)]
    held_out = choose_held_out(names, species, 0.2)
    assert held_out.view(5, 10).sum(1).tolist() == [2] * 5
    backwards = choose_held_out(names[::-1], species[::-1], 0.2)
    assert torch.equal(backwards.flip(0), held_out)
    alone = choose_held_out([*names, "new/1.jpg", "new/2.jpg"], [*species, 9, 9], 0.2)
    assert torch.equal(alone[:50], held_out) and alone[50:].sum() == 1
    assert not choose_held_out(["single.jpg"], [1], 0.2).any()


def test_centre_is_what_pictures_show_of_a_crop() -> None:
    assert centre(torch.zeros(1, 3, 76, 76)).shape[-1] == 64
    assert centre(torch.zeros(1, 3, 304, 304)).shape[-1] == 256
    crop = torch.arange(76).expand(1, 3, 76, 76)
    assert centre(crop)[0, 0, 0].tolist() == list(range(6, 70))


def test_augmentation_varies_views_and_keeps_their_range(birds: Toys) -> None:
    crops = birds.crops[:1].expand(16, -1, -1, -1)
    views = augment(crops, 96, JUDGE_VIEWS.recolour, torch.Generator().manual_seed(0))
    assert views.shape == (16, 3, 96, 96)
    assert views.min() >= 0 and views.max() <= 1
    assert torch.pdist(views.flatten(1)).min() > 1
    assert torch.equal(views, augment(crops, 96, JUDGE_VIEWS.recolour, torch.Generator().manual_seed(0)))
