"""Text encoders: any sentence to an embedding, three kinds behind one interface.

`char-cnn-rnn` is trained by the pipeline itself, `official` imitates the published embeddings of CUB's captions, and
`sentence-transformers` wraps a pretrained model. Saved, each is a folder with config.json and encoder.safetensors.

Embeddings are standardised over the training captions: mean 0 and mean square 1, as suits the linear layer of the
conditioning augmentation, and the louder in a direction the less a picture's captions differ in it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from stackgan.text.config import TextEncoderConfig


class TextEncoder(Protocol):
    """Turns captions into embeddings of `dim` dimensions."""

    @property
    def dim(self) -> int: ...

    def encode(self, captions: Sequence[str]) -> "Tensor":
        """Embeddings float32 [N, dim] on the CPU, batched inside; the same captions give the same bits."""
        ...

    def save(self, folder: Path) -> None:
        """Write the encoder into an existing folder, for `load`."""
        ...


def load(folder: Path) -> TextEncoder:
    """Load an encoder that `TextEncoder.save` or the pipeline's stage `text-encoder` wrote.

    A missing, damaged or unfit folder is a `UserError`.
    """
    # Imported here: `stackgan.text.config` must not cost an import of torch.
    from stackgan.text.char_cnn_rnn import CharEncoder
    from stackgan.text.sentence import SentenceEncoder

    config = read_config(folder)
    kind = SentenceEncoder if config.kind == "sentence-transformers" else CharEncoder
    return kind.load(folder, config)


def read_config(folder: Path) -> "TextEncoderConfig":
    """What kind of encoder lies in a folder, and of what shape."""
    from pydantic import ValidationError

    from stackgan.errors import UserError
    from stackgan.text.char_cnn_rnn import CONFIG
    from stackgan.text.config import TextEncoderConfig

    try:
        return TextEncoderConfig.model_validate_json((folder / CONFIG).read_text())
    except FileNotFoundError:
        raise UserError(f"{folder} holds no text encoder: {CONFIG} is missing") from None
    except (ValidationError, UnicodeDecodeError) as error:
        raise UserError(f"{folder / CONFIG} is no text encoder's: {' '.join(str(error).split())}") from None
