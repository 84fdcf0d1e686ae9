import math

import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as closed_form

from stackgan.losses import (
    NO_CAPTION,
    TEMPERATURE,
    contrastive_loss,
    discriminator_loss,
    generator_loss,
    kl_divergence,
    matching_loss,
    mismatch,
)


def test_mismatched_captions_are_always_of_another_species() -> None:
    species = torch.tensor([1, 1, 1, 1, 1, 2, 3, 3])
    hits = torch.zeros(8, 8)
    for seed in range(200):
        torch.manual_seed(seed)
        indices, valid = mismatch(species, 8, "other-species")
        assert valid.all()
        assert (species[indices] != species).all()
        hits[torch.arange(8), indices] += 1
    # Uniform over all rows of another species: nobody is left out.
    assert ((hits > 0) == (species[:, None] != species[None, :])).all()


def test_one_species_has_no_mismatched_pairs() -> None:
    assert not mismatch(torch.full((4,), 7), 4, "other-species").valid.any()
    assert not mismatch(torch.tensor([1, 2]), 2, "none").valid.any()


def test_mismatched_captions_may_be_earlier_ones_but_never_missing_ones() -> None:
    # Both pictures are of species 7, as are two earlier captions; one is of another, and two are none at all.
    indices, valid = mismatch(torch.tensor([7, 7, NO_CAPTION, 7, 8, NO_CAPTION, 7]), 2, "other-species")
    assert valid.tolist() == [True, True]
    assert indices.tolist() == [4, 4]
    assert not mismatch(torch.tensor([7, 7, NO_CAPTION]), 2, "other-species").valid.any()


def test_shuffled_pairs_never_keep_their_own_caption() -> None:
    indices, valid = mismatch(torch.tensor([5, 5, 6, 9, 9]), 3, "shuffled")
    assert valid.all()
    assert (indices != torch.arange(3)).all()


def test_losses_at_known_logits() -> None:
    zero, two = torch.zeros(3), torch.full((3,), 2.0)
    valid = torch.tensor([True, True, True])
    assert matching_loss(zero, zero, zero, valid, "bce").item() == pytest.approx(2 * math.log(2))
    assert matching_loss(zero, zero, zero, valid, "hinge").item() == pytest.approx(2)
    assert matching_loss(two, -two, -two, valid, "hinge").item() == 0
    assert discriminator_loss(two, two, "hinge").item() == pytest.approx(3)
    assert generator_loss(two, "hinge").item() == -2
    assert generator_loss(zero, "bce").item() == pytest.approx(math.log(2))


def test_an_invalid_mismatched_pair_counts_for_nothing() -> None:
    real, generated, mismatched = torch.randn(3, 4)
    valid = torch.tensor([True, False, True, False])
    loss = matching_loss(real, generated, mismatched, valid, "hinge")
    changed = mismatched.clone()
    changed[~valid] = 100.0
    assert torch.equal(matching_loss(real, generated, changed, valid, "hinge"), loss)
    changed[0] = 100.0
    assert matching_loss(real, generated, changed, valid, "hinge") > loss


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_bce_survives_extreme_logits(sign: float) -> None:
    logits = torch.full((2,), sign * 1e4, requires_grad=True)
    loss = discriminator_loss(logits, logits, "bce") + generator_loss(logits, "bce")
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_kl_against_the_closed_form() -> None:
    mu, logvar = torch.randn(2, 5, 7)
    expected = closed_form(Normal(mu, torch.exp(0.5 * logvar)), Normal(0.0, 1.0)).mean()
    assert torch.allclose(kl_divergence(mu, logvar), expected, atol=1e-6)
    assert kl_divergence(torch.zeros(2, 3), torch.zeros(2, 3)).item() == 0


def test_contrastive_loss_by_hand() -> None:
    seen = torch.eye(3)
    heard = torch.tensor([[0.8, 0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    pictures, captions = heard.T / TEMPERATURE, heard / TEMPERATURE  # rows: the choice of each picture, each caption
    by_hand = [row.logsumexp(0) - row[i] for rows in (pictures, captions) for i, row in enumerate(rows)]
    loss = contrastive_loss(seen, heard, torch.tensor([1, 2, 3]))
    assert loss.item() == pytest.approx(torch.stack(by_hand).mean().item(), rel=1e-4)


def test_captions_of_the_same_species_are_nothing_to_tell_apart() -> None:
    seen, heard = torch.eye(3), torch.eye(3)[[1, 0, 2]]  # the first two took each other's
    assert contrastive_loss(seen, heard, torch.tensor([1, 2, 3])) > 3
    assert contrastive_loss(seen, heard, torch.tensor([1, 1, 1])).item() == 0
    alike = contrastive_loss(seen, heard, torch.tensor([1, 1, 3]))
    assert alike.item() == pytest.approx(2 / 3 * math.log(2) + 1 / 3 * math.log1p(2 * math.exp(-1 / TEMPERATURE)))


def test_earlier_captions_are_further_wrong_answers() -> None:
    seen, heard = torch.eye(3)[:2], torch.eye(3)
    alone = contrastive_loss(seen, heard[:2], torch.tensor([1, 2]))
    beside = contrastive_loss(seen, torch.cat([heard, seen[:1]]), torch.tensor([1, 2, 3, 4]))
    assert beside > alone + 0.1  # the last sounds like the first picture's own
    for nothing in (1, NO_CAPTION):  # of the first picture's species, or an empty place: as if it were not there
        ignored = contrastive_loss(seen[:1], torch.cat([seen[:1], seen[:1]]), torch.tensor([1, nothing]))
        assert ignored.item() == 0
