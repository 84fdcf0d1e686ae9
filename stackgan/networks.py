"""The networks of StackGAN: two generators and a discriminator for either size.

Layer by layer these are the networks of the authors' PyTorch code, which differ slightly from the paper's TensorFlow
code; `NetworkConfig` names each departure. Logits are never squashed. T is the embedding's dimension, B the batch.
"""

import itertools
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stackgan.config import NetworkConfig
from stackgan.layers import (
    ConditioningAugmentation,
    Enlargement,
    JointConv,
    ResidualBlock,
    Sharpen,
    conv3x3,
    critic_block,
    encoder_block,
    normalised,
)

STAGE_SIZES = {1: 64, 2: 256}
_DRAWN_AT_ONCE = 16


class GeneratorOutput(NamedTuple):
    """image [B, 3, S, S] in [-1, 1]; mu and logvar [B, c_dim] of the conditioning augmentation.

    `redrawn` [N, 3, S, S], if Stage II was given originals, is what it makes of them once they are as small as its
    drafts.
    """

    image: Tensor
    mu: Tensor
    logvar: Tensor
    redrawn: Tensor | None = None


class DiscriminatorOutput(NamedTuple):
    """Logits, positive for "real": [N] for each tensor of embeddings, and [B] of the caption-free head if it exists.

    `contrast`, if D has that head and was given captions to tell apart, holds vectors of unit length that are to meet:
    [B, c_dim] of the pictures and [N, c_dim] of those captions.
    """

    conditional: tuple[Tensor, ...]
    unconditional: Tensor | None
    contrast: tuple[Tensor, Tensor] | None = None


class Stage1Generator(nn.Module):
    """embedding [B, T], noise [B, noise_dim] → 64×64 picture: shape and colours.
    `noise` is z, and eps of the conditioning augmentation.

    Channels: 8·gf_dim at 4×4, halved at each of four enlargements, gf_dim/2 at 64×64 before RGB.
    """

    def __init__(self, config: NetworkConfig, embedding_dim: int) -> None:
        super().__init__()
        width = 8 * config.gf_dim
        self.z_dim, self.noise_dim = config.z_dim, config.noise_dim
        self.augmentation = ConditioningAugmentation(embedding_dim, config.c_dim, config.conditioning)
        self.project = nn.Sequential(
            nn.Linear(config.c_dim + config.z_dim, width * 16, bias=False),
            nn.BatchNorm1d(width * 16),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (width, 4, 4)),
        )
        self.enlarge = _enlargement(width, 4, config)
        self.to_rgb = conv3x3(width >> 4, 3)

    def forward(self, embedding: Tensor, noise: Tensor) -> GeneratorOutput:
        z, eps = noise.tensor_split([self.z_dim], dim=1)
        condition = self.augmentation(embedding, eps)
        x = self.project(torch.cat([condition.c, z], dim=1)).contiguous(memory_format=torch.channels_last)
        rgb = self.to_rgb(self.enlarge(x, condition.c))
        return GeneratorOutput(torch.tanh(rgb), condition.mu, condition.logvar)


class Stage2Generator(nn.Module):
    """embedding [B, T], noise [B, noise_dim] → 256×256 picture: Stage I's, encoded, joined with the caption, redrawn.

    Both stages draw their c by the same eps.

    Stage I is frozen: it gets no gradient and stays in eval mode, whatever mode this module is put in, so that its
    batch-norm statistics never move. With `stage1_skip` the result is a correction of the enlarged Stage-I picture,
    which makes even an untrained Stage II draw Stage I's birds.
    """

    def __init__(self, config: NetworkConfig, embedding_dim: int, stage1: Stage1Generator) -> None:
        super().__init__()
        width = config.gf_dim
        self.z_dim, self.noise_dim = config.z_dim, config.noise_dim
        self.skip = config.stage1_skip
        self.stage1 = stage1.requires_grad_(False).eval()
        self.augmentation = ConditioningAugmentation(embedding_dim, config.c_dim, config.conditioning)
        self.encode = nn.Sequential(
            conv3x3(3, width),
            nn.ReLU(inplace=True),
            encoder_block(width, 2 * width),
            encoder_block(2 * width, 4 * width),
        )
        self.join = nn.Sequential(
            JointConv(4 * width, config.c_dim, 4 * width, bias=False),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(inplace=True),
        )
        self.residual = nn.Sequential(*[ResidualBlock(4 * width) for _ in range(config.residual_blocks)])
        self.enlarge = _enlargement(4 * width, 16, config)
        self.to_rgb = conv3x3(width // 4, 3)

    def train(self, mode: bool = True) -> "Stage2Generator":
        super().train(mode)
        self.stage1.eval()
        return self

    def forward(self, embedding: Tensor, noise: Tensor, originals: Tensor | None = None) -> GeneratorOutput:
        """`originals` [N, 3, 256, 256] in [-1, 1], real pictures of the first N captions, are redrawn beside drafts."""
        with torch.no_grad():
            draft = self.stage1(embedding, noise).image
        condition = self.augmentation(embedding, noise[:, self.z_dim :])
        if originals is None:
            return GeneratorOutput(self.redraw(draft, condition.c), condition.mu, condition.logvar)
        shrunk = F.avg_pool2d(originals, originals.shape[-1] // draft.shape[-1])
        drafts = torch.cat([draft, shrunk.to(draft.dtype)])
        drawn = self.redraw(drafts, torch.cat([condition.c, condition.c[: len(shrunk)]]))
        image, redrawn = drawn.split([len(draft), len(shrunk)])
        return GeneratorOutput(image, condition.mu, condition.logvar, redrawn)

    def redraw(self, draft: Tensor, c: Tensor) -> Tensor:
        """Pictures [B, 3, 64, 64] and c [B, c_dim] → [B, 3, 256, 256], both in [-1, 1]."""
        (joined,) = self.join[0](self.encode(draft), c)
        x = self.residual(self.join[1:](joined))
        rgb = self.to_rgb(self.enlarge(x, c))
        if self.skip:
            enlarged = F.interpolate(draft.float(), scale_factor=4.0, mode="bilinear")
            rgb = rgb + torch.atanh(0.98 * enlarged)
        return torch.tanh(rgb)


def _enlargement(width: int, height: int, config: NetworkConfig) -> Enlargement:
    c_dim = config.c_dim if config.conditional_norm else 0
    return Enlargement(width, height, c_dim, bilinear=config.upsample == "bilinear")


Generator = Stage1Generator | Stage2Generator


@torch.no_grad()
def draw(generator: Generator, embeddings: Tensor, noise: Tensor) -> Tensor:
    """Pictures uint8 [N, 3, S, S], N ≥ 1, on the CPU, by a generator in eval mode, some at a time."""
    device = next(generator.parameters()).device
    parts = [
        ((generator(part.to(device), z.to(device)).image.float() + 1) * 127.5).round().to(torch.uint8).cpu()
        for part, z in zip(embeddings.split(_DRAWN_AT_ONCE), noise.split(_DRAWN_AT_ONCE), strict=True)
    ]
    return torch.cat(parts)


class Discriminator(nn.Module):
    """Pictures [B, 3, size, size] and any number of embeddings [N, T] → `DiscriminatorOutput`.

    The pictures' features [B, 8·df_dim, 4, 4] are computed once for all the embeddings; N < B judge the first N. The
    caption has a path of its own, since the generator's mu is trained to please the generator. `captions` [N, T] are
    what the contrastive head, if there is one, is to tell apart.
    """

    def __init__(self, config: NetworkConfig, embedding_dim: int, size: int) -> None:
        super().__init__()
        spectral = config.spectral_norm
        self.has_batch_norm = not spectral
        self.unconditional_weight = config.unconditional_weight
        self.sharpen = Sharpen(config.sharpen) if config.sharpen else nn.Identity()
        self.encode = _picture_encoder(config, size)
        width = 8 * config.df_dim
        self.caption = nn.Sequential(
            normalised(nn.Linear(embedding_dim, config.c_dim), spectral),
            nn.LeakyReLU(0.2, inplace=True),
        )
        joint = JointConv(width, config.c_dim, width, bias=spectral)
        self.conditional = nn.Sequential(
            critic_block(joint, spectral=spectral),
            normalised(nn.Conv2d(width, 1, 4), spectral),
            nn.Flatten(0),
        )
        self.unconditional = (
            nn.Sequential(normalised(nn.Conv2d(width, 1, 4), spectral), nn.Flatten(0))
            if config.unconditional_weight
            else None
        )
        self.contrast_weight = config.contrast_weight
        self.contrast = ContrastiveHead(width, embedding_dim, config.c_dim) if config.contrast_weight else None

    def forward(self, image: Tensor, *embeddings: Tensor, captions: Tensor | None = None) -> DiscriminatorOutput:
        features = self.features(image)
        first = cast("nn.Sequential", self.conditional[0])
        joined = first[0](features, *map(self.caption, embeddings))
        conditional = tuple(self.conditional[1:](first[1:](each)) for each in joined)
        unconditional = self.unconditional(features) if self.unconditional else None
        contrast = self.contrast(features, captions) if self.contrast and captions is not None else None
        return DiscriminatorOutput(conditional, unconditional, contrast)

    def features(self, image: Tensor) -> Tensor:
        """What the heads see of pictures: [B, 3, S, S] in [-1, 1] → [B, 8·df_dim, 4, 4]."""
        features: Tensor = self.encode(self.sharpen(image))
        return features


class ContrastiveHead(nn.Module):
    """Features [B, W, 4, 4] and embeddings [N, T] → unit vectors [B, dim] and [N, dim] that meet where a caption is its
    picture's. Trained on real pairs alone, so without spectral norm: no game is played here that it could win."""

    def __init__(self, width: int, embedding_dim: int, dim: int) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Conv2d(width, dim, 4), nn.Flatten())
        self.hear = nn.Linear(embedding_dim, dim)

    def forward(self, features: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        return F.normalize(self.see(features).float()), F.normalize(self.hear(embedding).float())


def _picture_encoder(config: NetworkConfig, size: int) -> nn.Sequential:
    """Halvings from `size` to 4×4 with doubling channels, then 3×3 convolutions back to 8·df_dim if they are more."""
    spectral, df_dim = config.spectral_norm, config.df_dim
    halvings = size.bit_length() - 3
    widths = [3, *(df_dim * min(2**i, config.df_cap) for i in range(halvings))]
    blocks: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        # A convolution that batch norm follows needs no bias of its own.
        bias = spectral or (config.downsample == "pool" and i == 0)
        if config.downsample == "pool":
            conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
        else:
            conv = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)
        blocks.append(critic_block(conv, spectral=spectral, norm=i > 0, halve=config.downsample == "pool"))
    while widths[-1] != 8 * df_dim:
        outputs = max(widths[-1] // 2, 8 * df_dim)
        blocks.append(critic_block(nn.Conv2d(widths[-1], outputs, 3, padding=1, bias=spectral), spectral=spectral))
        widths.append(outputs)
    return nn.Sequential(*blocks)
