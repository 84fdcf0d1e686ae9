"""Toy pictures for tests: an egg with a head on a coloured ground; a species is the colours of the two."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stackgan.classifier import Classifier, centre
from stackgan.classifier_training import JUDGE_VIEWS, ClassifierTraining
from stackgan.judge import SPECIES, Judge, JudgeCard, choose_held_out
from stackgan.judge_config import JudgeConfig

COLOURS = {
    "red": (0.85, 0.15, 0.15),
    "green": (0.15, 0.65, 0.2),
    "blue": (0.15, 0.3, 0.85),
    "yellow": (0.95, 0.85, 0.2),
}
# Head and belly of each species; neighbours differ in both.
_WORDS = list(COLOURS)
PAIRS = [(_WORDS[i], _WORDS[(i + step) % 4]) for step in (1, 3, 2) for i in (0, 2, 1, 3)]
CONFIG = JudgeConfig(seed=0, size=64, width=8, epochs=12, batch_size=32, lr=0.01, held_out=0.25)


@dataclass(frozen=True)
class Toys:
    """crops uint8 [N, 3, 76, 76], images their middles [N, 3, 64, 64]; the rest a value a picture."""

    crops: Tensor
    species: list[int]
    names: list[str]
    truths: list[dict[str, str]]

    def take(self, indices: Sequence[int]) -> "Toys":
        chosen = list(indices)
        species, names = [self.species[i] for i in chosen], [self.names[i] for i in chosen]
        return Toys(self.crops[chosen], species, names, [self.truths[i] for i in chosen])

    @property
    def images(self) -> Tensor:
        return centre(self.crops)


def toys(species: int = 6, pictures: int = 30, seed: int = 0) -> Toys:
    """`pictures` of each of the first `species`, species after species."""
    generator = torch.Generator().manual_seed(seed)
    crops, names = [], []
    for each in range(species):
        for picture in range(pictures):
            crops.append(draw(*PAIRS[each], generator))
            names.append(f"{each + 1:03d}.Toy_{each}/Toy_{each}_{picture:04d}.jpg")
    numbers = [each + 1 for each in range(species) for _ in range(pictures)]
    truths = [{"head": PAIRS[number - 1][0], "belly": PAIRS[number - 1][1]} for number in numbers]
    return Toys(torch.stack(crops), numbers, names, truths)


def train_judge(birds: Toys, config: JudgeConfig = CONFIG) -> Judge:
    """A small judge of toys, with the accuracy that it has on those held out."""
    held_out = choose_held_out(birds.names, birds.species, config.held_out)
    ids = tuple(sorted(set(birds.species)))
    columns = torch.tensor([ids.index(number) for number in birds.species])
    torch.manual_seed(config.seed)
    classifier = Classifier(config.size, config.width, {SPECIES: len(ids)})
    training = ClassifierTraining(
        classifier, birds.crops[~held_out], {SPECIES: columns[~held_out]}, config, JUDGE_VIEWS
    )
    for _ in range(config.epochs):
        training.run_epoch()
    classifier.load_state_dict(training.average.network.state_dict())
    names = tuple(name for name, kept in zip(birds.names, held_out.tolist(), strict=True) if kept)
    card = JudgeCard(size=config.size, width=config.width, species_ids=ids, held_out=names, accuracy={})
    hits = Judge(classifier, card).look(birds.images[held_out]).logits.argmax(1) == columns[held_out]
    return Judge(classifier, card.model_copy(update={"accuracy": {"top1": float(hits.float().mean())}}))


def draw(head: str, belly: str, generator: torch.Generator) -> Tensor:
    """One crop uint8 [3, 76, 76]."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    y, x = torch.meshgrid(torch.linspace(-1, 1, 76), torch.linspace(-1, 1, 76), indexing="ij")
    ground = uniform(0.3, 0.7, 3, 1, 1) + 0.2 * y * uniform(-1, 1, 3, 1, 1)
    image = ground.expand(3, 76, 76) + 0.03 * torch.randn(3, 76, 76, generator=generator)
    centre_x, centre_y, size = uniform(-0.15, 0.15, 3)
    side = 1 if uniform(-1, 1, 1) > 0 else -1
    body = ((x - centre_x) / (0.45 + size)) ** 2 + ((y - centre_y - 0.1) / (0.35 + size)) ** 2 < 1
    skull = (x - centre_x - side * (0.35 + size)) ** 2 + (y - centre_y + 0.3 + size) ** 2 < (0.24 + 0.4 * size) ** 2
    for where, colour in ((body, belly), (skull, head)):
        shade = torch.tensor(COLOURS[colour])[:, None, None] * uniform(0.85, 1.1, 1) - 0.08 * y
        image = torch.where(where, shade, image)
    return (image.clamp(0, 1) * 255).byte()
