"""A pretrained sentence-transformers model as a text encoder; needs the extra `text`.

A model given by name is saved as its name, to be found again in the cache or on the Hub; a model given as a local
folder is copied into the saved folder, so that this can travel. Weights must be safetensors: pickled ones are refused,
and no code that comes with a model is run.
"""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from stackgan.errors import UserError
from stackgan.text.alphabet import require_text
from stackgan.text.char_cnn_rnn import CONFIG, WEIGHTS
from stackgan.text.config import TextEncoderConfig
from stackgan.text.standardise import Standardisation, standardisation_of

MODEL = "model"  # the copy of a local model, in the saved folder


class SentenceEncoder:
    """A pretrained model, copied from the folder `source` if it is a local one, and the standardisation of its
    embeddings."""

    def __init__(
        self, config: TextEncoderConfig, model: Any, source: Path | None, standardise: Standardisation
    ) -> None:
        self.config, self.model, self.source, self.standardise = config, model, source, standardise
        self.dim = len(standardise.mean)

    @classmethod
    def standardised(
        cls, config: TextEncoderConfig, captions: Sequence[Sequence[str]], root: Path = Path()
    ) -> "SentenceEncoder":
        """Load the model that `config` names, a folder under `root` or one of the Hub, and standardise its embeddings
        over the `captions` of each picture."""
        folder = root / Path(config.model).expanduser()
        source = folder if folder.is_dir() else None
        model = _open(source or config.model)
        return cls(config, model, source, standardisation_of(partial(_embed, model), captions))

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Embeddings float32 [N, dim] on the CPU. Empty text is a `UserError`; the model itself cuts long text."""
        for caption in captions:
            require_text(caption)
        return self.standardise(_embed(self.model, captions))

    def save(self, folder: Path) -> None:
        """Write config.json, encoder.safetensors (the standardisation) and a copy of a local model."""
        (folder / WEIGHTS).write_bytes(save(self.standardise._asdict()))
        (folder / CONFIG).write_text(self.config.model_dump_json(indent=2) + "\n")
        if self.source is not None:
            shutil.copytree(self.source, folder / MODEL, ignore=_pickles)

    @classmethod
    def load(cls, folder: Path, config: TextEncoderConfig) -> "SentenceEncoder":
        """Read what `save` wrote."""
        try:
            tensors = load_file(folder / WEIGHTS)
            standardise = Standardisation(tensors["mean"], tensors["matrix"])
            if standardise.matrix.shape != 2 * standardise.mean.shape:
                raise KeyError(f"matrix {[*standardise.matrix.shape]} does not fit mean {[*standardise.mean.shape]}")
        except (SafetensorError, OSError, KeyError) as error:
            raise UserError(f"{folder / WEIGHTS} cannot be read: {' '.join(str(error).split())}") from error
        source = folder / MODEL if (folder / MODEL).is_dir() else None
        return cls(config, _open(source or config.model), source, standardise)


def _open(model: Path | str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise UserError(
            "text_encoder.kind sentence-transformers needs the extra `text`: run `pip install -e '.[text]'`"
        ) from error
    try:
        return SentenceTransformer(
            str(model), device="cpu", trust_remote_code=False, model_kwargs={"use_safetensors": True}
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"text_encoder.model {str(model)!r} cannot be loaded: {reason}") from error


def _embed(model: Any, captions: Sequence[str]) -> Tensor:
    embeddings = model.encode(list(captions), convert_to_tensor=True, show_progress_bar=False)
    return torch.as_tensor(embeddings).float().cpu().clone()


def _pickles(_folder: str, names: list[str]) -> set[str]:
    return {name for name in names if Path(name).suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".onnx")}
