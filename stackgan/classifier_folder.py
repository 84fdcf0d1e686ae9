"""The folder of a network that stage `judge` trained: config.json says how to build it, a weights file fills it."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from stackgan import weights
from stackgan.classifier import Network
from stackgan.errors import UserError
from stackgan.strict import Strict

CONFIG = "config.json"
Trained = TypeVar("Trained", bound=Network)
Card = TypeVar("Card", bound=Strict)


def save(network: Network, card: Strict, folder: Path, name: str) -> None:
    """Write config.json and `name`.safetensors into `folder`, which exists."""
    (folder / CONFIG).write_text(card.model_dump_json(indent=1) + "\n")
    weights.save(network, folder / f"{name}.safetensors")


def load(folder: Path, name: str, kind: type[Card], build: Callable[[Card], Trained]) -> tuple[Trained, Card]:
    """Read what `save` wrote: the network that `build` makes of its card of `kind`, filled, and the card.

    A missing or broken folder is a `UserError` that calls its content by `name`.
    """
    try:
        card = kind.model_validate_json((folder / CONFIG).read_bytes())
        return weights.load(lambda: build(card), folder / f"{name}.safetensors", CONFIG), card
    except (UserError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder} holds no readable {name} ({reason}): run `dvc repro judge`") from error
