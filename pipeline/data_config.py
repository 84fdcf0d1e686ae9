"""Parameters of the shards and of what a reader does with them; light to import."""

from typing import Literal

from pydantic import Field

from stackgan.strict import Strict

Crop = Literal["padded", "clipped"]
Transform = Literal["crop-flip", "mild", "strong", "none"]


class ShardConfig(Strict):
    """How pictures are cut and packed."""

    crop: Crop = Field(description="padded: a square, mirrored at the frame's border; clipped: the paper's, squeezed")
    samples_per_shard: int = Field(ge=1, le=10_000, description="pictures in one tar")
