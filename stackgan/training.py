"""Training of one stage: the step, seen as its phases.

All randomness of a step comes from (seed, step, rank), so a run that is stopped after any step and resumed from its
state goes on exactly as if it had not been. Nothing in a step waits for the device: figures are summed there and read
now and then. So a single GPU records the step once and starts it whole from then on.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import parametrize

from stackgan.augment import augment
from stackgan.config import TrainingConfig
from stackgan.earlier import Captions, EarlierCaptions
from stackgan.ema import Ema
from stackgan.errors import UserError
from stackgan.layers import initialise
from stackgan.losses import (
    contrastive_loss,
    discriminator_loss,
    generator_loss,
    kl_divergence,
    matching_loss,
    mismatch,
)
from stackgan.networks import Discriminator, DiscriminatorOutput, Generator, GeneratorOutput, Stage2Generator
from stackgan.reader import Batch
from stackgan.recorded import Recorded

# Means over steps. loss_g is what D's verdicts cost G, redraw_l1 the distance of redrawn real pictures, unweighted, and
# only where some are redrawn; d_mismatched is over the pairs that there are.
STATISTICS = ("loss_d", "loss_g", "redraw_l1", "kl", "sigma", "d_real", "d_generated", "d_mismatched")


class Pairs(NamedTuple):
    """What D judges in one step: pictures [B, 3, S, S] in [-1, 1], their captions, captions that do not match, and all
    captions that it is to tell apart."""

    image: Tensor
    embedding: Tensor
    mismatched: Tensor
    valid: Tensor
    captions: Captions


class Trainer:
    """A stage's generator and discriminator with their optimisers and the averaged generator.

    `generator` and `discriminator` are on the CPU and are initialised here; Stage I inside Stage II stays as it is.
    """

    def __init__(
        self,
        fabric: Fabric,
        generator: Generator,
        discriminator: Discriminator,
        config: TrainingConfig,
        seed: int,
    ) -> None:
        self.fabric, self.config, self.seed = fabric, config, seed
        self.steps = 0
        networks: tuple[nn.Module, ...] = (generator, discriminator)
        for network in networks:
            torch.manual_seed(seed)
            initialise(network, config.init)
            _place(network, fabric.device)
        self.ema = Ema(generator, config.ema)
        self.bare_generator, self.bare_discriminator = generator, discriminator
        self.generator: Any = fabric.setup_module(generator.train())
        self.discriminator: Any = fabric.setup_module(discriminator.train())
        trained = [parameter for parameter in generator.parameters() if parameter.requires_grad]
        self.optimizer_g: Any = fabric.setup_optimizers(_adam(trained, config.lr_g, config))
        self.optimizer_d: Any = fabric.setup_optimizers(
            _adam(discriminator.parameters(), config.lr_d, config)
            if config.optimizer_d == "adam"
            else torch.optim.SGD(discriminator.parameters(), config.lr_d, fused=True)
        )
        self._redraws = config.redraw_weight > 0 and isinstance(generator, Stage2Generator)
        dimensions = generator.augmentation.linear.in_features
        self._earlier = EarlierCaptions(config.earlier_captions, dimensions, fabric.device)
        # Several GPUs exchange gradients within the step, which a recording does not take in.
        recorded = fabric.device.type == "cuda" and fabric.world_size == 1
        self._update: Callable[..., None] = Recorded(self._phases, fabric.device) if recorded else self._phases
        # What a recorded step reads, it reads on the device; its own number too.
        self._rates = torch.tensor([config.lr_g, config.lr_d], device=fabric.device) if recorded else None
        self._step = torch.zeros((), dtype=torch.int64, device=fabric.device)
        self._sums = torch.zeros(len(STATISTICS), device=fabric.device)
        self._counts = torch.zeros(len(STATISTICS), device=fabric.device)
        per_step = [name != "d_mismatched" and (self._redraws or name != "redraw_l1") for name in STATISTICS]
        self._per_step = torch.tensor(per_step, dtype=torch.float32, device=fabric.device)
        self._bad_step = torch.full((), -1, dtype=torch.int64, device=fabric.device)
        self.set_learning_rates(1.0)

    def set_learning_rates(self, factor: float) -> None:
        rates: list[Any] = [self.config.lr_g * factor, self.config.lr_d * factor]
        if self._rates is not None:
            self._rates.copy_(torch.tensor(rates))
            rates = [*self._rates]
        for optimizer, rate in zip((self.optimizer_g, self.optimizer_d), rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate

    def step(self, batch: Batch) -> None:
        """One update of D, then one of G on the same generated pictures, then of the average."""
        self.steps += 1
        torch.manual_seed(_hash(self.seed, self.steps, self.fabric.global_rank))
        self._step.fill_(self.steps)
        self._update(*batch[:3])
        self.ema.update(self.bare_generator, self.steps)

    def _phases(self, *batch: Tensor) -> None:
        """All of a step but the average, whose pull changes from step to step. Image, embedding, species of `Batch`."""
        pairs = self._pairs(*batch)
        noise = torch.randn(len(pairs.image), self.bare_generator.noise_dim, device=self.fabric.device)
        # Half the batch, at least one: an original costs G as much as a picture of its own.
        originals = (pairs.image[: (len(pairs.image) + 1) // 2],) if self._redraws else ()
        generated: GeneratorOutput = self.generator(pairs.embedding, noise, *originals)

        loss_d, real, fake = self._discriminator_phase(pairs, generated.image.detach())
        loss_g, redraw, kl = self._generator_phase(pairs, generated)
        self._keep(pairs)

        valid = pairs.valid.float()
        with torch.no_grad():
            sigma = torch.exp(0.5 * generated.logvar).mean()
            probability = [torch.sigmoid(logits.float()) for logits in (*real.conditional, *fake.conditional)]
            mismatched = (probability[1] * valid).sum()
            means = [loss_d, loss_g, redraw, kl, sigma, probability[0].mean(), probability[2].mean()]
            self._accumulate(torch.stack([*means, mismatched]), valid.sum())

    def _keep(self, pairs: Pairs) -> None:
        """Keep the batch's captions and those of all other ranks: the same on each, since the first one's are saved."""
        if not self.config.earlier_captions:
            return
        batch = [pairs.embedding, pairs.captions.species[: len(pairs.embedding)]]
        if self.fabric.world_size > 1:
            batch = [cast("Tensor", self.fabric.all_gather(tensor)).flatten(0, 1) for tensor in batch]
        self._earlier.keep(*batch)

    def _pairs(self, *batch: Tensor) -> Pairs:
        image, embedding, species = (self.fabric.to_device(tensor) for tensor in batch)
        captions = self._earlier.after(embedding, species)
        other = mismatch(captions.species, len(image), self.config.mismatched)
        return Pairs(to_unit(image), embedding, captions.embedding[other.indices], other.valid, captions)

    def _discriminator_phase(
        self, pairs: Pairs, generated: Tensor
    ) -> tuple[Tensor, DiscriminatorOutput, DiscriminatorOutput]:
        config = self.config
        # Cached: all passes share one normalisation of the weights.
        with parametrize.cached():
            real, fake = self._judge(pairs, generated)
            (matching, mismatched), (drawn,) = real.conditional, fake.conditional
            loss = matching_loss(matching, drawn, mismatched, pairs.valid, config.loss)
            if real.unconditional is not None and fake.unconditional is not None:
                free = discriminator_loss(real.unconditional, fake.unconditional, config.loss)
                loss = loss + self.bare_discriminator.unconditional_weight * free
            if real.contrast is not None:
                loss = loss + contrastive_loss(*real.contrast, pairs.captions.species)
            self.optimizer_d.zero_grad()
            self.fabric.backward(loss)
        self.optimizer_d.step()
        return loss.detach(), real, fake

    def _judge(self, pairs: Pairs, generated: Tensor) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
        """D's verdicts on real pictures (matching, mismatched) and on `generated` ones (matching).

        In one pass, unless batch norm is to see real and generated pictures apart.
        """
        names, size = self.config.diffaugment, len(generated)
        pictures = augment(pairs.image, names), augment(generated, names)
        if self.bare_discriminator.has_batch_norm:
            real: DiscriminatorOutput = self.discriminator(
                pictures[0], pairs.embedding, pairs.mismatched, captions=pairs.captions.embedding
            )
            return real, self.discriminator(pictures[1], pairs.embedding)
        both: DiscriminatorOutput = self.discriminator(
            torch.cat(pictures), pairs.embedding.repeat(2, 1), pairs.mismatched, captions=pairs.captions.embedding
        )
        (matching, drawn), mismatched = both.conditional[0].split(size), both.conditional[1]
        free = (None, None) if both.unconditional is None else both.unconditional.split(size)
        contrast = None if both.contrast is None else (both.contrast[0][:size], both.contrast[1])
        return DiscriminatorOutput((matching, mismatched), free[0], contrast), DiscriminatorOutput((drawn,), free[1])

    def _generator_phase(self, pairs: Pairs, generated: GeneratorOutput) -> tuple[Tensor, Tensor, Tensor]:
        config = self.config
        # The bare module: gradients of D are neither wanted nor, with several devices, exchanged.
        self.bare_discriminator.requires_grad_(False)
        with self.fabric.autocast():
            judged: DiscriminatorOutput = self.bare_discriminator(
                augment(generated.image, config.diffaugment), pairs.embedding, captions=pairs.captions.embedding
            )
        self.bare_discriminator.requires_grad_(True)
        kl = kl_divergence(generated.mu, generated.logvar)
        loss = generator_loss(judged.conditional[0], config.loss)
        if judged.unconditional is not None:
            loss = loss + self.bare_discriminator.unconditional_weight * generator_loss(
                judged.unconditional, config.loss
            )
        if judged.contrast is not None:
            contrast = contrastive_loss(*judged.contrast, pairs.captions.species)
            loss = loss + self.bare_discriminator.contrast_weight * contrast
        redraw = torch.zeros_like(loss)
        if generated.redrawn is not None:
            redraw = F.l1_loss(generated.redrawn.float(), pairs.image[: len(generated.redrawn)])
        self.optimizer_g.zero_grad()
        self.fabric.backward(loss + config.redraw_weight * redraw + config.kl_weight * kl)
        self.optimizer_g.step()
        return loss.detach(), redraw.detach(), kl.detach()

    def _accumulate(self, values: Tensor, mismatched: Tensor) -> None:
        """Add a step's `values`: means, but for the last, which is a sum over so many `mismatched` pairs."""
        self._sums += values
        self._counts += self._per_step
        self._counts[-1] += mismatched
        diverged = (self._bad_step < 0) & ~values.isfinite().all()
        self._bad_step.copy_(torch.where(diverged, self._step, self._bad_step))

    def check(self) -> None:
        """Raise a `UserError` if a figure of any step so far, or a weight now, is not finite. Waits for the device."""
        # The weights too: a step's losses are those before it, and what one rank lost is in the weights of all.
        weights = (*self.bare_generator.parameters(), *self.bare_discriminator.parameters())
        finite = torch.stack([weight.isfinite().all() for weight in weights]).all()
        bad_step = int(self._bad_step)
        if bad_step >= 0 or not finite:
            step = bad_step if bad_step >= 0 else self.steps
            raise UserError(
                f"training diverged: a loss or a weight was not a finite number at step {step}; the last good"
                " checkpoint is kept. Lower lr_g and lr_d, or set runtime.precision=float32"
            )

    def peek_statistics(self) -> dict[str, float | None]:
        """Means over this rank's steps since the last reading, by the names of `STATISTICS`; None where none counted.
        Waits for the device."""
        return _means(torch.stack([self._sums, self._counts]))

    def read_statistics(self) -> dict[str, float | None]:
        """The same over all ranks, and begin anew."""
        totals = self.fabric.all_reduce(torch.stack([self._sums, self._counts]), reduce_op="sum")
        self._sums.zero_()
        self._counts.zero_()
        return _means(cast("Tensor", totals))

    def state_dict(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "generator": self.bare_generator.state_dict(),
            "discriminator": self.bare_discriminator.state_dict(),
            "ema": self.ema.network.state_dict(),
            "optimizer_g": self.optimizer_g.state_dict(),
            "optimizer_d": self.optimizer_d.state_dict(),
            "earlier": self._earlier.state_dict(),
            "sums": self._sums,
            "counts": self._counts,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        self.bare_generator.load_state_dict(state["generator"])
        self.bare_discriminator.load_state_dict(state["discriminator"])
        self.ema.network.load_state_dict(state["ema"])
        for name in ("optimizer_g", "optimizer_d"):
            optimizer = getattr(self, name)
            optimizer.load_state_dict(state[name])
            for group in optimizer.param_groups:  # what was saved on a CPU may go on on a GPU, which records the step
                group["capturable"] = self.fabric.device.type == "cuda"
        self._earlier.load_state_dict(state["earlier"])
        if self.fabric.is_global_zero:  # what the first rank saved is its own: on every rank it would count for many
            self._sums.copy_(state["sums"])
            self._counts.copy_(state["counts"])


def _means(totals: Tensor) -> dict[str, float | None]:
    return {name: total / n if n else None for name, total, n in zip(STATISTICS, *totals.tolist(), strict=True)}


def _place(network: nn.Module, device: torch.device) -> None:
    to: Any = network.to  # torch's stubs know no memory_format here
    to(device, memory_format=torch.channels_last)


def to_unit(image: Tensor) -> Tensor:
    """uint8 [B, 3, S, S] → float32 in [-1, 1], channels last."""
    return image.to(torch.float32, memory_format=torch.channels_last) / 127.5 - 1.0


def _adam(parameters: Iterable[nn.Parameter], lr: float, config: TrainingConfig) -> torch.optim.Adam:
    trained = list(parameters)
    on_gpu = trained[0].device.type == "cuda"
    return torch.optim.Adam(trained, lr, betas=(config.beta1, config.beta2), fused=True, capturable=on_gpu)


def _hash(*numbers: int) -> int:
    """A 63-bit seed out of `numbers`, unrelated for neighbours."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
