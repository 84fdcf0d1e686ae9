"""A stage's model folder: `config.json` says how to build the networks, safetensors files hold the weights.

config.json                 NetworkConfig, the embedding's dimension, the stage's number
generator.safetensors       the averaged generator; Stage II's without the Stage I inside it
discriminator.safetensors
"""

import json
from pathlib import Path

from pydantic import Field, ValidationError

from stackgan import weights
from stackgan.config import NetworkConfig
from stackgan.errors import UserError
from stackgan.networks import STAGE_SIZES, Discriminator, Generator, Stage1Generator, Stage2Generator
from stackgan.strict import Strict

CONFIG, GENERATOR, DISCRIMINATOR = "config.json", "generator.safetensors", "discriminator.safetensors"
_STAGE1_PREFIX = "stage1."


class StageCard(Strict):
    """Content of a model folder's config.json."""

    stage: int = Field(ge=1, le=2)
    embedding_dim: int = Field(ge=1)
    network: NetworkConfig


def save_stage(folder: Path, card: StageCard, generator: Generator, discriminator: Discriminator) -> None:
    """Write a model folder's three files into `folder`, which must exist. Equal weights make equal bytes."""
    (folder / CONFIG).write_text(card.model_dump_json(indent=2) + "\n")
    weights.save(generator, folder / GENERATOR, without=_STAGE1_PREFIX)
    weights.save(discriminator, folder / DISCRIMINATOR)


def load_stage1(folder: Path) -> Stage1Generator:
    """The Stage-I generator of a model folder: on the CPU, in eval mode, without gradients."""
    return read_stage1(folder / GENERATOR, load_card(folder, stage=1))


def read_stage1(path: Path, card: StageCard) -> Stage1Generator:
    """The Stage-I generator of a weights file: on the CPU, in eval mode, without gradients."""
    return weights.load(lambda: Stage1Generator(card.network, card.embedding_dim), path, CONFIG)


def read_stage2(path: Path, card: StageCard, stage1: Stage1Generator) -> Stage2Generator:
    """The Stage-II generator of a weights file around `stage1`: on the CPU, in eval mode, without gradients."""
    inner = {_STAGE1_PREFIX + name: tensor for name, tensor in stage1.state_dict().items()}
    return weights.load(lambda: Stage2Generator(card.network, card.embedding_dim, stage1), path, CONFIG, inner)


def load_discriminator(folder: Path) -> Discriminator:
    """The discriminator of a model folder: on the CPU, in eval mode, without gradients."""
    card = load_card(folder)
    size = STAGE_SIZES[card.stage]
    return weights.load(lambda: Discriminator(card.network, card.embedding_dim, size), folder / DISCRIMINATOR, CONFIG)


def load_card(folder: Path, stage: int | None = None) -> StageCard:
    """Read config.json; a folder of another stage than `stage` is an error."""
    path = folder / CONFIG
    try:
        card = StageCard.model_validate(json.loads(path.read_text()))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: the folder holds no trained stage") from None
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        raise UserError(f"{path} is no model's config: {' '.join(str(error).split())[:200]}") from None
    if stage is not None and card.stage != stage:
        raise UserError(f"{path} describes Stage {card.stage} where Stage {stage} is wanted: give the other folder")
    return card
