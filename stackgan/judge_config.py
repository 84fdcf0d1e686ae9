"""The judge's values, a preset's section `judge`. Imports no torch, so that reading params stays quick."""

from typing import Annotated

from pydantic import Field

from stackgan.strict import Strict


class JudgeConfig(Strict):
    """How the judge is built and trained.

    It has a seed of its own, so that an experiment with another top-level seed is still judged by the same judge.
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    size: Annotated[int, Field(ge=64, le=256, multiple_of=32)]  # side in pixels of what it looks at
    width: Annotated[int, Field(ge=4, le=128)]  # channels of the first block; the features number eight times this
    epochs: Annotated[int, Field(ge=1, le=1000)]  # of the judge; the reader of colours has half as many
    batch_size: Annotated[int, Field(ge=8, le=1024)]
    lr: Annotated[float, Field(gt=0, le=1)]  # peak learning rate of AdamW
    held_out: Annotated[float, Field(ge=0.05, le=0.5)]  # share of every species kept from training, to measure accuracy
