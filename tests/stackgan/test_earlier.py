import torch

from stackgan.earlier import EarlierCaptions
from stackgan.losses import NO_CAPTION


def test_the_last_captions_are_kept_the_newest_first() -> None:
    earlier = EarlierCaptions(5, 2, torch.device("cpu"))
    for step in range(1, 4):
        species = torch.tensor([10 * step, 10 * step + 1])
        earlier.keep(species[:, None].float().expand(-1, 2), species)
    after = earlier.after(torch.zeros(1, 2), torch.tensor([40]))
    assert after.species.tolist() == [40, 30, 31, 20, 21, 10]  # the batch's own come first
    assert after.embedding[:, 1].tolist() == [0, 30, 31, 20, 21, 10]


def test_places_are_empty_at_first() -> None:
    earlier = EarlierCaptions(3, 2, torch.device("cpu"))
    earlier.keep(torch.ones(1, 2), torch.tensor([7]))
    assert earlier.after(torch.zeros(1, 2), torch.tensor([8])).species.tolist() == [8, 7, NO_CAPTION, NO_CAPTION]


def test_a_batch_larger_than_what_is_kept() -> None:
    for size in (0, 1):
        earlier = EarlierCaptions(size, 2, torch.device("cpu"))
        earlier.keep(torch.ones(3, 2), torch.tensor([1, 2, 3]))
        assert earlier.after(torch.zeros(1, 2), torch.tensor([4])).species.tolist() == [4, 1][: size + 1]
