"""The values of `params.yaml`'s section `evaluate`. Imports no torch, so that reading params stays quick."""

from typing import Annotated, Literal

from pydantic import Field

from stackgan.strict import Strict

LEAST_PICTURES = 8  # of a split: with fewer, neighbours and covariances mean nothing


class EvaluateConfig(Strict):
    """What is drawn and measured; the defaults of a figure that is compared between experiments should not change."""

    features: Literal["judge", "inception"]  # inception adds FID and IS under names of their own (extra `inception`)
    seed: Annotated[int, Field(ge=0, lt=2**32)]  # of every noise that is drawn here
    captions: Literal["all"] | Annotated[int, Field(ge=1, le=100)]  # of each test picture; all = the honest figure
    samples_per_caption: Annotated[int, Field(ge=2, le=64)]  # noises per caption in the measure of diversity
    inception_weights: str | None  # path or URL of torch-fidelity's weights file; None where features is judge
    inception_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
