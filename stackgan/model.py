"""The finished model: sentences in, pictures out. One folder holds all that it needs, on any machine.

config.json             the networks' shapes, stage by stage
stage1.safetensors      weights of the generators (averaged over training)
stage2.safetensors
text_encoder/           see `stackgan.text`
words.txt               the words of the training captions
README.md               the model card
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from stackgan import text
from stackgan.checkpoint import GENERATOR, StageCard, load_card, read_stage1, read_stage2
from stackgan.errors import UserError
from stackgan.networks import Generator, Stage1Generator, Stage2Generator, draw
from stackgan.text.official_vectors import VECTORS
from stackgan.vocabulary import Vocabulary

CONFIG, TEXT_ENCODER, WEIGHTS, WORDS = "config.json", "text_encoder", "stage{}.safetensors", "words.txt"
STAGES = (1, 2)


class StackGAN:
    """Draws birds from captions; see `from_pretrained` and `generate`."""

    def __init__(
        self,
        text_encoder: text.TextEncoder,
        stage1: Stage1Generator,
        stage2: Stage2Generator,
        vocabulary: Vocabulary,
    ) -> None:
        self.text_encoder = text_encoder
        self.generators: dict[int, Generator] = {1: stage1, 2: stage2}
        self.vocabulary = vocabulary

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str | torch.device | None = None) -> "StackGAN":
        """Load the model that the pipeline wrote to models/<preset>/stackgan.

        It runs on `device`; None takes a GPU where there is one. A missing or broken folder is a `UserError`.
        """
        folder, device = Path(folder), torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        cards = _read_cards(folder / CONFIG)
        stage1 = read_stage1(folder / WEIGHTS.format(1), cards[1])
        stage2 = read_stage2(folder / WEIGHTS.format(2), cards[2], stage1)
        encoder = text.load(folder / TEXT_ENCODER)
        if encoder.dim != cards[1].embedding_dim:
            raise UserError(
                f"{folder}: the text encoder gives {encoder.dim} dimensions, Stage I wants {cards[1].embedding_dim}"
            )
        vocabulary = Vocabulary.load(folder / WORDS)
        return cls(encoder, stage1.to(device), stage2.to(device), vocabulary)

    def generate(
        self, captions: str | Sequence[str], seed: int = 0, stage: int = 2, truncation: float = 1.0
    ) -> list[Image.Image]:
        """One picture a caption, of which a single one needs no list: 64×64 pixels by stage 1, 256×256 by stage 2.

        The noise of the n-th picture depends on `seed` and n alone; give a caption several times for several pictures
        of it. `truncation` scales the noise: 1 is what the model was trained with, less means less variety, down to
        one picture a caption at 0.
        """
        captions = [captions] if isinstance(captions, str) else captions
        if not captions:
            return []
        embeddings = self.encode(captions)
        return to_pictures(self.draw(embeddings, truncation * self.noise(len(captions), seed), stage))

    def interpolate(
        self, first: str, second: str, steps: int, seed: int = 0, stage: int = 2, truncation: float = 1.0
    ) -> list[Image.Image]:
        """`steps` pictures, two or more, from one caption to another, both included, all with the same noise: that of
        the first picture that `generate` draws for the same seed and truncation."""
        if steps < 2:
            raise UserError(f"the way from one caption to another has two pictures at least, not {steps}")
        ends = self.encode([first, second])
        embeddings = torch.stack([torch.lerp(ends[0], ends[1], weight) for weight in torch.linspace(0, 1, steps)])
        noise = truncation * self.noise(1, seed)
        return to_pictures(self.draw(embeddings, noise.expand(steps, -1), stage))

    def unknown_words(self, caption: str) -> list[str]:
        """Words of a caption that no training caption holds, each once, in their order: the model guesses at them.

        A caption of nothing but white space is a `UserError`.
        """
        return self.vocabulary.unknown(caption)

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Embeddings float32 [N, T] of captions."""
        for number, caption in enumerate(captions, start=1):
            if not isinstance(caption, str):
                raise UserError(f"caption {number} is no text but {type(caption).__name__}: give a list of sentences")
            if not caption.strip():
                raise UserError(f"caption {number} is empty: write a sentence like 'a small bird with a red head'")
        return self.text_encoder.encode(captions)

    def noise(self, count: int, seed: int) -> Tensor:
        """Noise float32 [count, noise_dim]; more of it begins with the same rows."""
        generator, dimensions = torch.Generator().manual_seed(seed), self.generators[1].noise_dim
        return torch.stack([torch.randn(dimensions, generator=generator) for _ in range(count)])

    def draw(self, embeddings: Tensor, noise: Tensor, stage: int) -> Tensor:
        """Pictures uint8 [N, 3, S, S] on the CPU from embeddings [N, T] and noise [N, noise_dim]."""
        if stage not in STAGES:
            raise UserError(f"there is no stage {stage}: choose 1 (64×64) or 2 (256×256)")
        return draw(self.generators[stage], embeddings, noise)


def to_pictures(images: Tensor) -> list[Image.Image]:
    """Pillow pictures of uint8 [N, 3, H, W]."""
    return [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]


def ship(stages: dict[int, Path], text_encoder: Path, captions: Iterable[str], folder: Path) -> None:
    """Put a model into `folder`, which exists: from the model folders of both stages, that of the text encoder, and the
    captions that it was trained on."""
    cards = {f"stage{stage}": load_card(stages[stage], stage).model_dump() for stage in STAGES}
    (folder / CONFIG).write_text(json.dumps(cards, indent=2) + "\n")
    for stage in STAGES:
        shutil.copyfile(stages[stage] / GENERATOR, folder / WEIGHTS.format(stage))
    # Published embeddings, where there are any, serve training alone.
    shutil.copytree(text_encoder, folder / TEXT_ENCODER, ignore=shutil.ignore_patterns(VECTORS))
    Vocabulary.of(captions).save(folder / WORDS)


def _read_cards(path: Path) -> dict[int, StageCard]:
    try:
        values = json.loads(path.read_text())
        return {stage: StageCard.model_validate(values[f"stage{stage}"]) for stage in STAGES}
    except FileNotFoundError:
        inner = path.parent / "stackgan"
        remedy = (
            f"the model is {inner}" if inner.is_dir() else "run `dvc repro` to train a model, or name another folder"
        )
        raise UserError(f"{path} is missing: {remedy}") from None
    except KeyError as error:
        raise UserError(f"{path} is no StackGAN's config: it has no {error}; give models/<preset>/stackgan") from None
    except (OSError, ValueError, TypeError, RecursionError, ValidationError) as error:
        raise UserError(f"{path} is no StackGAN's config: {' '.join(str(error).split())[:200]}") from None
