"""The published char-CNN-RNN embeddings of CUB's captions, and an encoder that imitates them for any other sentence.

The embeddings came without a usable encoder. So a char-CNN-RNN of ours learns to give, for a caption, the published
vector: what a saved folder encodes with. The published vectors themselves lie beside it (`official_vectors.py`). Both
are standardised over the training captions, so that one may stand for the other.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from stackgan.errors import UserError
from stackgan.text.alphabet import letters
from stackgan.text.char_cnn_rnn import PART, CharCnnRnn
from stackgan.text.config import TextEncoderConfig
from stackgan.text.standardise import standardisation
from stackgan.text.training import TextTraining


class Distillation(TextTraining):
    """Teaches a char-CNN-RNN to give `vectors` float32 [C, dim] for C captions, by their mean squared difference."""

    def __init__(
        self,
        config: TextEncoderConfig,
        captions: Sequence[str],
        vectors: Tensor,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        if vectors.shape[1] != config.dim:
            raise UserError(f"text_encoder.dim is {config.dim}, the official embeddings have {vectors.shape[1]}")
        self.config, self.captions, self.vectors = config, captions, vectors
        torch.manual_seed(seed)
        self.network = CharCnnRnn(config.conv_widths, config.rnn_width, config.dim).to(device)
        super().__init__(self.network, epochs=config.epochs, lr=config.lr, seed=seed)

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        """All captions in random order, `batch_size` a batch."""
        return list(torch.randperm(len(self.captions), generator=generator).split(self.config.batch_size))

    def loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        captions = [self.captions[index] for index in batch.tolist()]
        given = self.network.in_parts(*letters(captions, self.config.max_length, warn=False), PART)
        return F.mse_loss(given, self.vectors[batch].to(self.device))


def standardise(vectors: Mapping[str, Tensor], training: Sequence[str]) -> dict[str, Tensor]:
    """The vectors [captions, dim] by picture, standardised over `training` pictures."""
    standard = standardisation([vectors[name] for name in training])
    return {name: standard(values) for name, values in vectors.items()}
