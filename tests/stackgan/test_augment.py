import pytest
import torch

from stackgan.augment import augment

ALL = ("translation", "cutout", "color")


@pytest.mark.parametrize("names", [ALL, ("translation",), ("cutout",), ("color",), ()])
def test_every_picture_is_changed_by_itself_and_gradients_pass(names: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 64).repeat(6, 1, 1, 1).requires_grad_()
    changed = augment(image, names)
    assert changed.shape == image.shape
    changed.sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert torch.equal(changed[0], changed[1]) == (not names)


def test_translation_shifts_and_fills_with_gray() -> None:
    torch.manual_seed(0)
    image = torch.zeros(32, 3, 64, 64)
    image[:, :, 30, 40] = 1.0
    where = augment(image, ["translation"]).sum(dim=1).flatten(1).argmax(dim=1)
    down, right = where // 64 - 30, where % 64 - 40
    assert down.abs().max() <= 8
    assert right.abs().max() <= 8
    assert len(down.unique()) > 5
    ones = augment(torch.ones(32, 3, 64, 64), ["translation"])
    assert set(ones.unique().tolist()) == {0.0, 1.0}


def test_cutout_takes_at_most_a_square_of_three_eighths() -> None:
    torch.manual_seed(0)
    holes = (augment(torch.ones(32, 3, 64, 64), ["cutout"]) == 0).float()
    areas = holes[:, 0].sum(dim=(1, 2))
    assert areas.max() <= 24 * 24
    assert areas.min() > 0
