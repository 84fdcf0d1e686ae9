"""The probe: reads the colour of each part of a drawn bird, where the truth about real pictures is known.

It is trained on pictures of some species and measured on whole species that it never saw, so that its accuracy shows
that it reads each part by itself instead of recognising the species and reciting its colours. What it reads of drawn
birds is compared with what their captions say.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stackgan import classifier_folder
from stackgan.classifier import Answers, Network, ask
from stackgan.strict import Strict

# The parts that are read, and how captions name them. No "wing" alone: wing bars have a colour of their own.
PART_WORDS = {
    "head": "head|headed|crown",
    "wing": "wings|winged|wing feathers",
    "belly": "belly|bellied|underbelly|breast|chest",
    "bill": "bill|beak",
}


class ProbeCard(Strict):
    """`colours` are the answers about each part; accuracy and chance are of the species held out."""

    size: int
    width: int
    parts: tuple[str, ...]
    colours: tuple[str, ...]
    accuracy: dict[str, float]


class PartReader(Network):
    """Looks for each part in the picture's outlines, and names the colour of what little there is at each place.

    p(colour of part) = Σ over places of p(place | part, outlines) · p(colour | patch of 4×4 pixels there)

    Where to look is decided without colour and brightness, and what is seen is named by the same small network for
    every part and place. So it cannot recognise a species and recite its colours, as a plain classifier does.
    """

    def __init__(self, size: int, width: int, parts: Sequence[str], colours: int) -> None:
        super().__init__(size)
        self.parts = tuple(parts)
        self.near = nn.Sequential(_half(1, width), _half(width, 2 * width))
        self.far = nn.Sequential(_half(2 * width, 4 * width), _half(4 * width, 4 * width), _half(4 * width, 4 * width))
        self.attend = nn.Conv2d(6 * width, len(parts), 1)
        self.patch = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 32, 1), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.ReLU())
        self.name = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(32, 64, 1), nn.ReLU(), nn.Conv2d(64, colours, 1))

    def forward(self, image: Tensor) -> Answers:
        near = self.near(outlines(image))
        far = F.interpolate(self.far(near), near.shape[-2:], mode="bilinear")
        places = self.attend(torch.cat([near, far], 1)).flatten(2).softmax(2)
        names = self.name(self.patch(image)).flatten(2).softmax(1)
        chances = places @ names.transpose(1, 2)
        logits = chances.clamp_min(1e-6).log()
        return Answers(chances.flatten(1), dict(zip(self.parts, logits.unbind(1), strict=True)))


def outlines(image: Tensor) -> Tensor:
    """How strongly grey changes at each pixel [B, 1, H, W], over the picture's mean; nothing of how light it is."""
    grey = F.pad(image.mean(1, keepdim=True), (0, 1, 0, 1), mode="replicate")
    here = grey[..., :-1, :-1]
    change = (grey[..., :-1, 1:] - here).abs() + (grey[..., 1:, :-1] - here).abs()
    return change / (change.mean((2, 3), keepdim=True) + 1e-3)


def _half(channels_in: int, channels: int) -> nn.Module:
    convolution = nn.Conv2d(channels_in, channels, 3, 2, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())


class Probe:
    """A trained reader with its card."""

    def __init__(self, reader: PartReader, card: ProbeCard) -> None:
        self.reader = reader.eval()
        self.card = card

    def read(self, images: Tensor) -> dict[str, list[str]]:
        """The colour word of each part, for each of the uint8 pictures [N, 3, H, W]."""
        logits = ask(self.reader, images).logits
        return {
            part: [self.card.colours[index] for index in logits[part].argmax(1).tolist()] for part in self.card.parts
        }

    def save(self, folder: Path) -> None:
        """Write config.json and probe.safetensors into `folder`, which exists."""
        classifier_folder.save(self.reader, self.card, folder, "probe")


def load(folder: Path, device: torch.device | str = "cpu") -> Probe:
    """Read what `Probe.save` wrote. A missing or broken folder is a `UserError`."""
    reader, card = classifier_folder.load(
        folder, "probe", ProbeCard, lambda card: PartReader(card.size, card.width, card.parts, len(card.colours))
    )
    return Probe(reader.to(device), card)


def parts_told(truths: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """The parts whose colour every truth tells."""
    return tuple(part for part in PART_WORDS if all(part in truth for truth in truths))


def hold_out_species(species_ids: Sequence[int], share: float) -> Tensor:
    """Which pictures to keep from training: bool [N], all pictures of about `share` of the species."""
    ranked = sorted(set(species_ids), key=lambda species: hashlib.sha256(str(species).encode()).digest())
    kept = set(ranked[: max(1, round(share * len(ranked)))])
    return torch.tensor([species in kept for species in species_ids])


def said(caption: str, truth: Mapping[str, str]) -> dict[str, str]:
    """What of the truth a caption says: "a red head", "red headed bird", "crown that is red", "red on its crown"."""
    sayings = {}
    for part, words in PART_WORDS.items():
        colour, named = truth.get(part), f"(?:{words})"
        if colour and re.search(
            rf"\b{colour} (?:on its )?{named}\b|\b{named} (?:that )?(?:is|are) {colour}\b", caption.lower()
        ):
            sayings[part] = colour
    return sayings


def agreement(drawn: Mapping[str, Sequence[str]], said: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Share of pictures whose part was drawn in the colour said, per part, over the captions that say it; in [0, 1]."""
    shares = {}
    for part, colours in drawn.items():
        hits = [colour == saying[part] for colour, saying in zip(colours, said, strict=True) if part in saying]
        if hits:
            shares[part] = sum(hits) / len(hits)
    return shares
