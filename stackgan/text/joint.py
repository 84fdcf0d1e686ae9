"""Training of the char-CNN-RNN by symmetric structured joint embedding (Reed et al., CVPR 2016).

A caption must score higher with its picture than with any other picture of the batch, and a picture higher with its
caption than with any other, where the score is the cosine of the two embeddings and a batch holds one picture per
species. Two things differ from the paper, whose image features came from a network trained on ImageNet:

- the picture's encoder is trained beside the text's, from nothing but the training pictures. It also learns to name
  their species: captions alone leave out much that tells birds apart, and so that is found in pictures of others too;
- the loss is the smooth form of the ranking hinge, cross-entropy over the scores. Beside it a linear layer reads words,
  and pairs of words that belong together ("head red"), from either embedding: what the few species of a batch would
  teach only slowly. The captions to read are spliced from two of any species, so that the parts and colours of a bird
  are learnt apart, not as the combinations that the training species happen to have.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stackgan.classifier import SMOOTHING, Classifier, centre, normalise, resize
from stackgan.errors import UserError
from stackgan.text.alphabet import letters
from stackgan.text.alphabet import normalise as plain
from stackgan.text.char_cnn_rnn import PART, CharCnnRnn
from stackgan.text.config import TextEncoderConfig
from stackgan.text.training import TextTraining
from stackgan.text.words import Words
from stackgan.views import augment

TEMPERATURE = 0.1  # of the scores at the start; it is learnt
FEWEST_SPECIES = 8
RECOLOUR = 0.1  # colours are what captions speak of


class Seen(NamedTuple):
    """embedding [B, dim] of pictures, and logits [B, species] of what they show."""

    embedding: Tensor
    species: Tensor


class ImageEncoder(nn.Module):
    """Pictures as `normalise` gives them, [B, 3, size, size] → `Seen`."""

    def __init__(self, size: int, width: int, dim: int, species: int) -> None:
        super().__init__()
        self.trunk = Classifier(size, width, {"species": species})
        self.project = nn.Linear(self.trunk.feature_dim, dim)

    def forward(self, image: Tensor) -> Seen:
        answers = self.trunk(image)
        return Seen(self.project(answers.features), answers.logits["species"])


class JointEmbedding(nn.Module):
    """The two encoders, the temperature of their scores and the layer that reads words from either's embedding."""

    def __init__(self, config: TextEncoderConfig, words: int, species: int) -> None:
        super().__init__()
        self.text = CharCnnRnn(config.conv_widths, config.rnn_width, config.dim)
        self.image = ImageEncoder(config.image_size, config.image_width, config.dim, species)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(TEMPERATURE)))
        self.read = nn.Linear(config.dim, words)

    def scores(self, text: Tensor, image: Tensor) -> Tensor:
        """Cosines over the temperature: [N, dim] × [M, dim] → [N, M]."""
        return F.normalize(text) @ F.normalize(image).T * self.log_scale.clamp(max=math.log(100)).exp()


class JointTraining(TextTraining):
    """`crops` are uint8 [N, 3, S, S] of training pictures alone, `species` their N numbers, `captions` their captions.

    With fewer than eight species a batch would hold next to no mismatching pairs: then every picture counts as a
    species of its own, and the pictures of one species are told apart.
    """

    def __init__(
        self,
        config: TextEncoderConfig,
        crops: Tensor,
        species: Sequence[int],
        captions: Sequence[Sequence[str]],
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        if len(crops) < 2:
            raise UserError("a text encoder cannot be trained on a single picture: choose more species")
        self.config, self.crops = config, crops
        self.captions = [[plain(caption) for caption in group] for group in captions]
        self.words = Words([caption for group in self.captions for caption in group])
        self.picture_words = torch.stack([self.words.targets(group).mean(0) for group in self.captions])
        numbers = torch.tensor(species) if len(set(species)) >= FEWEST_SPECIES else torch.arange(len(crops))
        known, self.species = numbers.unique(return_inverse=True)
        self.groups = [(self.species == index).nonzero()[:, 0] for index in range(len(known))]
        torch.manual_seed(seed)
        model = JointEmbedding(config, len(self.words), len(known)).to(device)
        super().__init__(model, epochs=config.epochs, lr=config.lr, seed=seed)

    @property
    def joint(self) -> JointEmbedding:
        assert isinstance(self.model, JointEmbedding)
        return self.model

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        """Pictures [batches, min(batch_size, species)]: in each batch of other species, drawn afresh from each."""
        size = min(self.config.batch_size, len(self.groups))
        return [self._batch(size, generator) for _ in range(math.ceil(len(self.crops) / size))]

    def _batch(self, size: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randperm(len(self.groups), generator=generator)[:size].tolist()
        return torch.stack([_draw(self.groups[group], generator) for group in chosen])

    def loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        matching = [self._caption(index, generator) for index in batch.tolist()]
        spliced = [self._spliced(generator) for _ in matching]
        indices, lengths = letters([*matching, *spliced], self.config.max_length, warn=False)
        views = augment(self.crops[batch].to(self.device), self.config.image_size, RECOLOUR, generator)
        texts = self.joint.text.in_parts(indices, lengths, PART)
        text, to_read = texts.split(len(batch))
        image, named = self.joint.image(normalise(views))
        # Read together, since the gradient of so wide a layer costs what its weights do, not what it reads.
        heard, seen = self.joint.read(torch.cat([to_read, image])).split(len(batch))
        return (
            structured_loss(self.joint.scores(text, image))
            + read_loss(heard, self.words.targets(spliced).to(self.device))
            + read_loss(seen, self.picture_words[batch].to(self.device))
            + F.cross_entropy(named, self.species[batch].to(self.device), label_smoothing=SMOOTHING)
        )

    def _spliced(self, generator: torch.Generator) -> str:
        """The beginning of one caption and the end of another, cut between any words."""
        first, second = (
            self._caption(int(index), generator).split()
            for index in torch.randint(len(self.captions), (2,), generator=generator)
        )
        begin = int(torch.randint(len(first) + 1, (), generator=generator))
        end = int(torch.randint(len(second) + 1, (), generator=generator))
        text = " ".join([*first[:begin], *second[end:]]) or " ".join(first)
        return text[: self.config.max_length]

    def _caption(self, index: int, generator: torch.Generator) -> str:
        captions = self.captions[index]
        return captions[int(torch.randint(len(captions), (), generator=generator))]


def structured_loss(scores: Tensor) -> Tensor:
    """Symmetric structured loss of scores [B, B], text × picture, with the matching pairs on the diagonal.

    The mean over rows and columns of log(1 + sum exp(s_mismatched - s_matching)), the smooth form of the hinge.
    """
    matching = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, matching) + F.cross_entropy(scores.T, matching)) / 2


def read_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of logits [B, words] to the distributions `targets` [B, words]."""
    return -(targets * F.log_softmax(logits, dim=1)).sum(1).mean()


@torch.no_grad()
def embed_pictures(encoder: ImageEncoder, crops: Tensor, batch_size: int = 128) -> Tensor:
    """Embeddings float32 [N, dim] of unit length, on the CPU, of the centres of uint8 crops [N, 3, S, S]."""
    device = next(encoder.parameters()).device
    encoder.eval()
    views = (resize(centre(batch).to(device).float() / 255, encoder.trunk.size) for batch in crops.split(batch_size))
    return torch.cat([F.normalize(encoder(normalise(view)).embedding).cpu() for view in views])


def _draw(group: Tensor, generator: torch.Generator) -> Tensor:
    return group[torch.randint(len(group), (), generator=generator)]
