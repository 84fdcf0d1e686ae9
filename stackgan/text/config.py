"""The text encoder's values, as a preset's section `text_encoder` holds them. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from stackgan.strict import Strict

Width = Annotated[int, Field(ge=8, le=4096)]


class TextEncoderConfig(Strict):
    """Which text encoder, its sizes and its training.

    The kind `char-cnn-rnn` uses all values but `model`; `official` leaves out `image_width`, which belongs to the image
    encoder trained beside it, and its batches are of captions; `sentence-transformers` uses `model` alone. `image_size`
    is that of the report's pictures too.
    """

    kind: Literal["char-cnn-rnn", "official", "sentence-transformers"]
    max_length: int = Field(ge=32, le=2048, description="characters read of a caption")
    conv_widths: tuple[Width, ...] = Field(min_length=1, max_length=4, description="channels of the convolutions")
    rnn_width: Width = Field(description="units of the recurrent layer")
    dim: Width = Field(description="dimensions of an embedding; the official embeddings have 1024")
    image_size: int = Field(ge=32, le=256, multiple_of=16, description="pixels of what the image encoder looks at")
    image_width: Width = Field(description="channels of the image encoder's first block")
    epochs: int = Field(ge=1, le=10_000, description="passes over the training pictures")
    batch_size: int = Field(ge=2, le=1024, description="pictures a step, each of another species; at most all species")
    lr: float = Field(gt=0, le=0.1, description="peak learning rate of AdamW")
    model: str = Field(min_length=1, description="name or folder of a sentence-transformers model")
