"""Building blocks of the four networks. Every convolution is laid out for ``torch.channels_last``."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

_INITIALISERS: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": lambda weight: nn.init.normal_(weight, 0.0, 0.02),
    "xavier": nn.init.xavier_normal_,
    "kaiming": lambda weight: nn.init.kaiming_normal_(weight, a=0.2),
    "orthogonal": nn.init.orthogonal_,
}


def initialise(network: nn.Module, kind: str) -> None:
    """Draw all weights anew that are not frozen: batch norm's by N(1, 0.02), all others by `kind`."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = _stored_weight(module)
            if weight.requires_grad:
                _INITIALISERS[kind](weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
                _settle(module)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.weight.requires_grad:
            nn.init.normal_(module.weight, 1.0, 0.02)
    for module in network.modules():
        if isinstance(module, ConditioningAugmentation) and module.linear.weight.requires_grad:
            module.let_mu_be_heard()


def _stored_weight(module: nn.Conv2d | nn.Linear) -> Tensor:
    """The parameter itself, not what spectral norm makes of it."""
    if not parametrize.is_parametrized(module, "weight"):
        return module.weight
    return cast("Tensor", cast("Any", module.parametrizations).weight.original)


@torch.no_grad()
def _settle(module: nn.Module) -> None:
    """Let spectral norm find the new weights' norm: each reading is one step of its power iteration.

    It starts from vectors drawn anew too, so that the seed alone decides.
    """
    if parametrize.is_parametrized(module, "weight"):
        for vector in cast("Any", module.parametrizations).weight.buffers():
            nn.init.normal_(vector)
        for _ in range(15):
            _ = module.weight


class Condition(NamedTuple):
    """c and the Gaussian that it was drawn from, each [B, c_dim]."""

    c: Tensor
    mu: Tensor
    logvar: Tensor


class ConditioningAugmentation(nn.Module):
    """Embedding [B, T] and eps [B, c_dim], normal → `Condition`: c = mu + sigma · eps smooths the space of captions
    (Zhang et al. 2017, §3.2).

    eps is a part of the generator's noise, when drawing as in training: with c = mu, birds of one caption are more
    alike and further from real ones. `relu` is the activation of the authors' PyTorch code; since it makes logvar ≥ 0,
    sigma is never below 1 and mu drowns in it.
    """

    LOGVAR_RANGE = (-6.0, 4.0)
    FIRST_MU = 0.35
    FIRST_LOGVAR = -3.0

    def __init__(self, embedding_dim: int, c_dim: int, activation: str) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding_dim, 2 * c_dim)
        self.relu = activation == "relu"

    def forward(self, embedding: Tensor, eps: Tensor) -> Condition:
        both = self.linear(embedding).float()
        mu, logvar = (F.relu(both) if self.relu else both).chunk(2, dim=1)
        logvar = logvar.clamp(*self.LOGVAR_RANGE)  # so that neither exp() nor the KL term overflows
        return Condition(mu + torch.exp(0.5 * logvar) * eps, mu, logvar)

    @torch.no_grad()
    def let_mu_be_heard(self) -> None:
        """Begin, if linear, with a mu that is quieter than the noise but louder than sigma.

        For embeddings of unit variance. A mu as loud as the noise takes over layout too, and one caption's pictures
        come out alike whatever their noise.
        """
        if not self.relu:
            mu, logvar = self.linear.weight.chunk(2)
            mu.normal_(0.0, self.FIRST_MU * self.linear.in_features**-0.5)
            logvar.zero_()
            self.linear.bias.chunk(2)[1].fill_(self.FIRST_LOGVAR)


class UpBlock(nn.Module):
    """[B, I, H, W] → [B, O, 2H, 2W]: enlargement, 3×3 convolution, batch norm, ReLU.

    The enlargement is nearest, or `bilinear`: a blur makes that of it, and since a blur and a convolution may change
    places, it comes last, where there are fewer channels and the convolution is still the folded one. (At the border
    that is not quite bilinear.) Repetition has an edge every other pixel, of which convolutions leave some in pictures
    as weave and fine lines; Karras et al. (2019) blur for that reason too.

    With `c_dim` > 0 the batch norm is conditional (de Vries et al. 2017): each of its channels is scaled and shifted as
    the caption's c [B, c_dim] says, so that a caption speaks at every size and not through the first layer alone.
    """

    # Below this height maps have few places and many channels, over which a convolution's gradients are slow.
    CONVOLVE_FROM = 8

    def __init__(self, inputs: int, outputs: int, c_dim: int = 0, *, bilinear: bool = False) -> None:
        super().__init__()
        self.conv = conv3x3(inputs, outputs)
        self.blur = Blur(outputs) if bilinear else nn.Identity()
        self.norm = nn.BatchNorm2d(outputs)
        self.modulate = nn.Linear(c_dim, 2 * outputs) if c_dim else None
        self.register_buffer("_taps", fold_taps(), persistent=False)
        self._taps: Tensor

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        x = self.norm(self.blur(self._enlarge(x)))
        if self.modulate is not None:
            scale, shift = self.modulate(c).chunk(2, dim=1)
            x = self._scale_and_shift(x, 1.0 + scale, shift)
        return F.relu(x)

    def _enlarge(self, x: Tensor) -> Tensor:
        kernel = fold(self.conv.weight, self._taps)
        if x.shape[-1] < self.CONVOLVE_FROM:
            return convolve_by_product(x, kernel)
        return F.conv_transpose2d(x, kernel, stride=2, padding=1)

    @staticmethod
    def _scale_and_shift(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """scale · x + shift, where x is [B, O, H, W] and the others [B, O]."""
        # By rows of pixels, each one piece of memory: a single pixel's few channels do not fill a vector register.
        width = x.shape[3]
        rows = x.movedim(1, -1).flatten(2)
        rows = (rows * scale.repeat(1, width)[:, None]).add_(shift.repeat(1, width)[:, None])
        return rows.view(*rows.shape[:2], width, -1).movedim(-1, 1)


class Enlargement(nn.ModuleList):
    """[B, W, H, H] and c [B, c_dim] → [B, W/16, 16H, 16H] by four `UpBlock`s, `bilinear` ones for larger maps."""

    # Of smaller maps each place stands for a part of the bird: where these are blurred, birds are smears.
    BILINEAR_FROM = 16

    def __init__(self, width: int, height: int, c_dim: int = 0, *, bilinear: bool = False) -> None:
        super().__init__(
            UpBlock(width >> i, width >> (i + 1), c_dim, bilinear=bilinear and height << i >= self.BILINEAR_FROM)
            for i in range(4)
        )

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        for block in self:
            x = block(x, c)
        return x


def fold_taps() -> Tensor:
    """[16, 9]: which taps of a 3×3 kernel add up to each tap of the 4×4 kernel that `fold` makes of it."""
    # On the CPU even where `weights.load` wants shapes alone: arithmetic on the meta device imports torch's compiler.
    side = torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], device="cpu")
    return torch.kron(side, side)


def fold(weight: Tensor, taps: Tensor) -> Tensor:
    """3×3 kernel [O, I, 3, 3] → the kernel [I, O, 4, 4] of the transposed convolution (stride 2, padding 1) that equals
    nearest ×2 enlargement and then `weight`. It touches 4 inputs per output where those two touch 9."""
    by_tap = weight.permute(2, 3, 1, 0).flatten(2).flatten(0, 1)
    folded = taps.to(weight.dtype) @ by_tap
    return folded.view(4, 4, *weight.shape[1::-1]).permute(2, 3, 0, 1)


def convolve_by_product(x: Tensor, kernel: Tensor) -> Tensor:
    """x [B, I, H, W] and a kernel [I, O, 4, 4] → their transposed convolution (stride 2, padding 1), [B, O, 2H, 2W].

    One product of matrices gives what each place spreads over 4×4 places, of which two rows and two columns are those
    of its neighbour; then sums.
    """
    batch, _, height, width = x.shape
    places = x.movedim(1, -1).flatten(0, 2)
    spread = (places @ kernel.movedim(1, -1).flatten(1)).view(batch, height, width, 4, 4, -1)
    upper, lower = spread.split(2, dim=3)
    spread = F.pad(upper, (0, 0) * 4 + (0, 1)) + F.pad(lower, (0, 0) * 4 + (1, 0))
    left, right = spread.split(2, dim=4)
    spread = F.pad(left, (0, 0) * 3 + (0, 1)) + F.pad(right, (0, 0) * 3 + (1, 0))
    whole = spread.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return whole[:, 1:-1, 1:-1].movedim(-1, 1).contiguous(memory_format=torch.channels_last)


def blur_kernel() -> Tensor:
    """[3, 3]: the weights 1, 2, 1 across and down, together 1."""
    line = torch.tensor([0.25, 0.5, 0.25], device="cpu")  # as for `fold_taps`
    return line.outer(line)


class Blur(nn.Module):
    """[B, C, H, W] → the same, blurred by `blur_kernel`; beyond the border the map goes on as it ends."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("_kernel", blur_kernel().expand(channels, 1, 3, 3).clone(), persistent=False)
        self._kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), self._kernel, groups=len(self._kernel))


class ResidualBlock(nn.Module):
    """[B, C, H, W] → the same: two 3×3 convolutions with batch norm around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv3x3(channels, channels),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            conv3x3(channels, channels),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class JointConv(nn.Conv2d):
    """3×3 convolution over features [B, F, H, W] and a vector [N, V] that is repeated at every place; N ≤ B.

    Gives [N, O, H, W] for each vector, joined with the first N of the features, whose share is computed once. The
    vector's share is the same at every place but for the borders: a small product instead of a convolution.
    """

    def __init__(self, features: int, vector: int, outputs: int, *, bias: bool) -> None:
        super().__init__(features + vector, outputs, 3, padding=1, bias=bias)
        self.shares = (features, vector)

    def forward(self, features: Tensor, *vectors: Tensor) -> list[Tensor]:  # type: ignore[override]
        of_features, of_vector = self.weight.split(self.shares, dim=1)
        seen = F.conv2d(features, of_features.contiguous(memory_format=torch.channels_last), self.bias, padding=1)
        rows, columns = (_taps_inside(side, seen) for side in seen.shape[2:])
        by_tap = of_vector.permute(2, 3, 0, 1).flatten(0, 2)  # a row for each tap and output
        joined = []
        for vector in vectors:
            taps = F.linear(vector, by_tap).unflatten(1, (3, 3, -1))
            joined.append(seen[: vector.shape[0]] + torch.einsum("yi,xj,bijo->boyx", rows, columns, taps))
        return joined


def _taps_inside(side: int, like: Tensor) -> Tensor:
    """[side, 3]: 1 where a tap of a 3×3 kernel at a place falls inside the map, 0 where it falls on the padding."""
    inside = like.new_ones(side, 3)
    inside[0, 0].zero_()
    inside[-1, 2].zero_()
    return inside


class Sharpen(nn.Module):
    """Pictures [B, 3, H, W] → the same with what differs from a blur of 3×3 pixels made 1 + `amount` times as loud.

    For a discriminator. In photographs waves of a few pixels are so faint that D hardly notices them, and what it does
    not notice G fills with stipple and chequers (Schwarz et al., NeurIPS 2021, find D blind not to high frequencies but
    to faint ones). Pictures continue in grey, 0.
    """

    def __init__(self, amount: float) -> None:
        super().__init__()
        kernel = -amount * blur_kernel()
        kernel[1, 1] += 1 + amount
        self.register_buffer("_kernel", kernel.expand(3, 1, 3, 3).clone(), persistent=False)
        self._kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self._kernel, padding=1, groups=3)


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def encoder_block(inputs: int, outputs: int) -> nn.Sequential:
    """[B, I, H, W] → [B, O, H/2, W/2] in a generator: 4×4 stride-2 convolution, batch norm, ReLU."""
    conv = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def critic_block(conv: nn.Conv2d, *, spectral: bool, norm: bool = True, halve: bool = False) -> nn.Sequential:
    """`conv` of a discriminator with its normalisation, LeakyReLU(0.2) and, if `halve`, 2×2 mean pooling.

    `norm` False leaves batch norm out (as the first layer does); with spectral norm there is none anyway.
    """
    layers: list[nn.Module] = [normalised(conv, spectral)]
    if norm and not spectral:
        layers.append(nn.BatchNorm2d(conv.out_channels))
    layers.append(nn.LeakyReLU(0.2, inplace=True))
    if halve:
        layers.append(nn.AvgPool2d(2))
    return nn.Sequential(*layers)


def normalised(layer: nn.Conv2d | nn.Linear, spectral: bool) -> nn.Module:
    if spectral:
        parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))
    return layer


class SpectralNorm(nn.Module):
    """Parametrisation of a weight [O, I, …] that makes its largest singular value, seen as a matrix of O rows, `GAIN`
    (Miyato et al. 2018, where it is 1). In training each reading is a step of the power iteration.

    The state is that of torch's own, which copies a weight that is laid out channels last at every step; this does not.
    """

    # What LeakyReLU(0.2) takes from the scale of a signal (He et al. 2015). Without it five layers leave a fifth of the
    # picture's signal in the logits, and D learns too slowly to be of use in the first thousands of steps.
    GAIN = math.sqrt(2 / (1 + 0.2**2))

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("_u", torch.randn(weight.shape[0]))
        self.register_buffer("_v", torch.randn(weight[0].numel()))
        self._u: Tensor
        self._v: Tensor

    def forward(self, weight: Tensor) -> Tensor:
        # In float32: on a GPU autocast would round the products, and sigma with them. What a backward pass may still
        # need is never one of the two kept vectors.
        with torch.no_grad(), _no_autocast(weight.device.type):
            rows, one = _rows(weight), weight[:1]
            u = self._u
            if self.training:
                u = F.normalize(torch.mv(rows, _rows(self._v.view_as(one)).flatten()), dim=0)
            v = torch.mv(rows.T, u)
            sigma = torch.linalg.vector_norm(v)
            v /= sigma
            sigma /= self.GAIN
            if self.training:
                self._u.copy_(u)
                self._v.copy_(_unrows(v, one).flatten())
        normal: Tensor = _Normalise.apply(weight, u / self.GAIN, v, sigma)
        return normal


def _no_autocast(device: str) -> AbstractContextManager[object]:
    # Where shapes alone are made there is none to leave, and torch refuses.
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


class _Normalise(torch.autograd.Function):
    """weight / sigma, where sigma = u · weight · v, for fixed u and v."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, u: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
        normal = weight / sigma
        ctx.save_for_backward(normal, u, v, sigma)
        return normal

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        normal, u, v, sigma = ctx.saved_tensors
        rows = _rows(gradients[0])
        along = torch.dot(rows.flatten(), _rows(normal).flatten())
        return _unrows(torch.addr(rows, u, v * -along).div_(sigma), normal), None, None, None


def _rows(weight: Tensor) -> Tensor:
    """A weight as a matrix of its outputs' rows: no copy of a convolution's that is laid out channels last."""
    return weight.movedim(1, -1).flatten(1)


def _unrows(rows: Tensor, like: Tensor) -> Tensor:
    """The weight of the shape of `like` whose `_rows` are given."""
    return rows.view(like.movedim(1, -1).shape).movedim(-1, 1)
