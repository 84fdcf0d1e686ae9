"""The char-CNN-RNN of Reed et al. (CVPR 2016): temporal convolutions over letters, then a recurrent layer.

The published sizes are 201 letters, convolutions of 384, 512 and 512 channels, 512 recurrent units and 1024 dimensions;
the preset `cub` has fewer channels and units. Three more departures from the paper made it learn words from few
captions sooner: the convolutions are normalised over their channels; the embedding reads the recurrent layer and the
convolutions under it; and it takes the maximum over time, not the mean. Steps that see padding alone do not count, so
that an embedding does not depend on how far its text was padded.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stackgan import weights
from stackgan.text.alphabet import ALPHABET_SIZE, letters
from stackgan.text.config import TextEncoderConfig
from stackgan.text.standardise import Standardisation, standardisation_of

CONFIG, WEIGHTS = "config.json", "encoder.safetensors"
KERNEL, POOL = 4, 3
BATCH_SIZE = 128
PART = 20  # texts at once where they are learnt


class CharCnnRnn(nn.Module):
    """Letters [N, L] int64 (0 = padding) and lengths [N] → embeddings float32 [N, dim]."""

    def __init__(self, conv_widths: tuple[int, ...], rnn_width: int, dim: int) -> None:
        super().__init__()
        widths = (ALPHABET_SIZE, *conv_widths)
        self.convolutions = nn.ModuleList(nn.Conv1d(a, b, KERNEL) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in conv_widths)
        self.rnn = nn.GRU(widths[-1], rnn_width, batch_first=True)
        self.project = nn.Linear(widths[-1] + rnn_width, dim)
        # Letters that one step of the recurrent layer sees, and from one step to the next: 48 and 9 for three layers.
        self.stride = POOL ** (len(conv_widths) - 1)
        self.field = sum((KERNEL - 1 + POOL - 1) * POOL**i for i in range(len(conv_widths) - 1))
        self.field += (KERNEL - 1) * self.stride + 1

    def forward(self, letters: Tensor, lengths: Tensor) -> Tensor:
        steps = (lengths - self.field).clamp(min=0).add(self.stride - 1) // self.stride + 1
        reach = self.field + self.stride * (int(steps.max()) - 1)
        x = F.pad(letters, (0, reach - letters.shape[1]))
        convolutions = cast("Iterable[nn.Conv1d]", self.convolutions)
        for index, (convolution, norm) in enumerate(zip(convolutions, self.norms, strict=True)):
            x = _convolve(x, convolution) if index else _convolve_letters(x, convolution)
            if index < len(self.convolutions) - 1:
                x = x.unfold(1, POOL, POOL).amax(3)
            x = F.relu(norm(x))
        states = torch.cat([x, self.rnn(x)[0]], dim=2)
        seen = torch.arange(states.shape[1], device=states.device) < steps[:, None]
        embedding: Tensor = self.project(states.masked_fill(~seen[:, :, None], -torch.inf).amax(1))
        return embedding

    def in_parts(self, letters: Tensor, lengths: Tensor, size: int) -> Tensor:
        """The same for letters on the CPU, `size` texts of like length at a time: padding costs as much as text."""
        device = self.project.weight.device
        order = lengths.argsort(stable=True)
        parts = [
            self(letters[rows, : int(lengths[rows].max())].to(device), lengths[rows].to(device))
            for rows in order.split(size)
        ]
        return torch.cat(parts)[order.argsort()]

    @torch.no_grad()
    def absorb(self, standardise: Standardisation) -> None:
        """Let the last layer give standardised embeddings."""
        self.project.bias.copy_(standardise(self.project.bias))
        self.project.weight.copy_(standardise.matrix.T @ self.project.weight)


def _convolve(x: Tensor, convolution: nn.Conv1d) -> Tensor:
    """[N, L, I] → [N, L - 3, O]. On a CPU a product over windows is faster than torch's own convolution over time."""
    return F.linear(x.unfold(1, KERNEL, 1).flatten(2), convolution.weight.flatten(1), convolution.bias)


def _convolve_letters(letters: Tensor, convolution: nn.Conv1d) -> Tensor:
    """[N, L] → [N, L - 3, O]: of one-hot letters each picks a column of the weights, so that nothing is multiplied."""
    columns = F.pad(convolution.weight.permute(2, 1, 0), (0, 0, 1, 0))  # [place, letter, O]; padding's are zeros
    places = columns.shape[1] * torch.arange(KERNEL, device=letters.device)
    picked = letters.unfold(1, KERNEL, 1) + places
    added = F.embedding_bag(picked.flatten(0, 1), columns.flatten(0, 1), mode="sum")
    result: Tensor = added.unflatten(0, picked.shape[:2]) + convolution.bias
    return result


class CharEncoder:
    """A trained char-CNN-RNN as a `TextEncoder`."""

    def __init__(self, network: CharCnnRnn, config: TextEncoderConfig) -> None:
        # Without gradients for good: torch rounds otherwise where it might have to differentiate.
        self.network, self.config = network.cpu().eval().requires_grad_(False), config
        self.dim = config.dim

    @classmethod
    def standardised(
        cls, network: CharCnnRnn, config: TextEncoderConfig, captions: Sequence[Sequence[str]]
    ) -> "CharEncoder":
        """The encoder of a network whose last layer is changed so that embeddings are standardised over the `captions`
        of each picture."""
        encoder = cls(network, config)
        encoder.network.absorb(standardisation_of(encoder.encode, captions))
        return encoder

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> Tensor:
        """Embeddings float32 [N, dim] on the CPU. Empty text is a `UserError`, text beyond `max_length` warns."""
        if not captions:
            return torch.empty(0, self.dim)
        return self.network.in_parts(*letters(captions, self.config.max_length), BATCH_SIZE)

    def save(self, folder: Path) -> None:
        """Write config.json and encoder.safetensors."""
        weights.save(self.network, folder / WEIGHTS)
        (folder / CONFIG).write_text(self.config.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path, config: TextEncoderConfig) -> "CharEncoder":
        """Read what `save` wrote."""
        shape = config.conv_widths, config.rnn_width, config.dim
        return cls(weights.load(lambda: CharCnnRnn(*shape), folder / WEIGHTS, CONFIG), config)
