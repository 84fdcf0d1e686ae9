"""Hyper-parameters of the networks and of their training.

The classes say which values are allowed; the values themselves live in ``params.yaml`` and ``presets/``. Wherever a
field departs from StackGAN as published (Zhang et al., ICCV 2017), one of its values is the published one.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stackgan.strict import Strict

LearningRate = Annotated[float, Field(gt=0, le=0.1)]


class NetworkConfig(Strict):
    """Shapes of the four networks; stored beside the weights, since it is all that is needed to build them again."""

    gf_dim: int = Field(ge=4, le=512, description="generator width: Stage I starts with 8 x gf_dim channels at 4x4")
    df_dim: int = Field(ge=4, le=512, description="discriminator width: its first layer has df_dim channels")
    z_dim: int = Field(ge=1, le=1024, description="dimensions of the noise")
    c_dim: int = Field(ge=1, le=1024, description="dimensions of the conditioning vector c")
    conditioning: Literal["linear", "relu"] = Field(description="activation of mu and logvar; relu forces sigma >= 1")
    conditional_norm: bool = Field(description="c scales and shifts what the generators' enlarging blocks normalise")
    upsample: Literal["bilinear", "nearest"] = Field(description="how the generators' blocks enlarge what they have")
    residual_blocks: int = Field(ge=0, le=16, description="residual blocks of the Stage-II generator at 16x16")
    stage1_skip: bool = Field(description="Stage II adds its picture to the enlarged Stage-I picture")
    spectral_norm: bool = Field(description="spectral norm in the discriminators instead of batch norm")
    downsample: Literal["pool", "conv"] = Field(
        description="discriminators halve by pooling, or by 4x4 stride-2 convolution"
    )
    sharpen: float = Field(
        ge=0, le=10, description="how much sharper pictures are where discriminators see them; 0 leaves it out"
    )
    df_cap: int = Field(ge=1, le=64, description="a discriminator layer has at most df_cap x df_dim channels")
    unconditional_weight: float = Field(ge=0, le=10, description="weight of D's caption-free head; 0 leaves it out")
    contrast_weight: float = Field(
        ge=0, le=10, description="weight for G of D's head that tells captions apart; 0 leaves it out"
    )

    @property
    def noise_dim(self) -> int:
        """Random numbers behind a picture: z [z_dim], then eps [c_dim] of the conditioning augmentation."""
        return self.z_dim + self.c_dim


class TrainingConfig(Strict):
    """Losses and optimisers, the same for both stages."""

    lr_g: LearningRate = Field(description="learning rate of the generators (always Adam)")
    lr_d: LearningRate = Field(description="learning rate of the discriminators")
    optimizer_d: Literal["adam", "sgd"] = Field(description="optimiser of the discriminators")
    beta1: float = Field(ge=0, lt=1, description="Adam's first-moment decay")
    beta2: float = Field(ge=0, lt=1, description="Adam's second-moment decay")
    loss: Literal["hinge", "bce"] = Field(description="adversarial loss")
    mismatched: Literal["other-species", "shuffled", "none"] = Field(
        description="captions of the mismatched pairs: of another species, of any other picture, or no such pairs"
    )
    earlier_captions: int = Field(ge=0, le=65536, description="captions of earlier steps that D must tell apart too")
    kl_weight: float = Field(ge=0, le=100, description="weight of the KL term, a mean over the batch and c_dim")
    redraw_weight: float = Field(
        ge=0,
        le=1000,
        description="weight of Stage II's L1 loss on redrawing real pictures shrunk to Stage I's size; 0 leaves it out",
    )
    diffaugment: tuple[Literal["translation", "cutout", "color"], ...] = Field(
        description="differentiable augmentations of every picture that a discriminator sees"
    )
    ema: float = Field(ge=0, lt=1, description="decay per step of the averaged generator; 0 = no averaging")
    init: Literal["normal", "xavier", "kaiming", "orthogonal"] = Field(description="initialisation of the weights")

    @model_validator(mode="after")
    def _distinct(self) -> "TrainingConfig":
        if len(set(self.diffaugment)) != len(self.diffaugment):
            raise ValueError("diffaugment names an augmentation twice")
        return self


class StageConfig(Strict):
    """Budget of one stage."""

    epochs: int = Field(ge=1, description="passes over the training pictures")
    batch_size: int = Field(ge=2, description="pictures a step, over all devices")
    lr_scale: float = Field(gt=0, le=100, description="both learning rates of this stage are multiplied by it")
    lr_halve_epochs: int = Field(ge=1, description="both learning rates are halved every so many epochs")
