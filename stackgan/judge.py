"""The judge: an image classifier trained on real pictures of every species at hand, whose features the metrics use.

It knows nothing of captions, of the generator or of the species that a run chose, so that the same judge serves every
experiment on a data set. It looks at pictures of any size: they are resized (bilinear, antialiased) to its own.
Pictures that are compared must come by the same path: judge Stage I against real pictures of 64 pixels, Stage II
against real pictures of 256.

References: FID with a network trained on the domain itself, as Zhang et al. (2017) fine-tuned Inception on birds.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from stackgan import classifier_folder
from stackgan.classifier import Classifier, ask
from stackgan.strict import Strict

SPECIES = "species"
FAIR, GOOD = 0.5, 0.8  # share of unseen real pictures recognised, from which a judge is called so


class Opinion(NamedTuple):
    """features: float32 [N, F], standardised; logits: float32 [N, S] over `Judge.species_ids`."""

    features: Tensor
    logits: Tensor


class JudgeCard(Strict):
    """What a judge is, beside its weights: `accuracy` was measured on the pictures named in `held_out`."""

    size: int
    width: int
    species_ids: tuple[int, ...]
    held_out: tuple[str, ...]
    accuracy: dict[str, float]

    @property
    def verdict(self) -> str:
        """In plain words, how far its judgement can be trusted."""
        top1, species = self.accuracy["top1"], len(self.species_ids)
        word = "good" if top1 >= GOOD else "fair" if top1 >= FAIR else "weak"
        unseen = f"{len(self.held_out)} real pictures that it did not learn from"
        return f"{word}: it recognises {top1:.0%} of {unseen} among {species} species (chance {1 / species:.1%})"


class Judge:
    """A trained classifier with its card."""

    def __init__(self, classifier: Classifier, card: JudgeCard) -> None:
        self.classifier = classifier.eval()
        self.card = card
        self.held_out = frozenset(card.held_out)

    def look(self, images: Tensor) -> Opinion:
        """The opinion on uint8 pictures [N, 3, H, W] of any one size."""
        answers = ask(self.classifier, images)
        return Opinion(answers.features, answers.logits[SPECIES])

    def targets(self, species_ids: Sequence[int]) -> Tensor:
        """Species ids as columns of the logits, int64 [N]; -1 for a species that the judge never saw."""
        column = {species: index for index, species in enumerate(self.card.species_ids)}
        return torch.tensor([column.get(species, -1) for species in species_ids])

    def save(self, folder: Path) -> None:
        """Write config.json and judge.safetensors into `folder`, which exists."""
        classifier_folder.save(self.classifier, self.card, folder, "judge")


def load(folder: Path, device: torch.device | str = "cpu") -> Judge:
    """Read what `Judge.save` wrote. A missing or broken folder is a `UserError`."""
    classifier, card = classifier_folder.load(
        folder, "judge", JudgeCard, lambda card: Classifier(card.size, card.width, {SPECIES: len(card.species_ids)})
    )
    return Judge(classifier.to(device), card)


def choose_held_out(names: Sequence[str], species_ids: Sequence[int], share: float) -> Tensor:
    """Which pictures to keep from training: bool [N], about `share` of each species, at least one if it has two.

    The choice hangs on the names alone (by SHA-256), so that no order, seed or other species changes it.
    """
    held_out = torch.zeros(len(names), dtype=torch.bool)
    members: dict[int, list[int]] = {}
    for index, species in enumerate(species_ids):
        members.setdefault(species, []).append(index)
    for indices in members.values():
        ranked = sorted(indices, key=lambda index: hashlib.sha256(names[index].encode()).digest())
        held_out[ranked[: min(len(indices) - 1, max(1, round(share * len(indices))))]] = True
    return held_out
