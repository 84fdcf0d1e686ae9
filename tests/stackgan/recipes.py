"""Hyper-parameters for tests: narrow networks, our recipe and the paper's."""

from typing import Any

from stackgan.config import NetworkConfig, TrainingConfig

OURS: dict[str, Any] = {
    "gf_dim": 4,
    "df_dim": 4,
    "z_dim": 8,
    "c_dim": 8,
    "conditioning": "linear",
    "conditional_norm": True,
    "upsample": "bilinear",
    "residual_blocks": 1,
    "stage1_skip": True,
    "spectral_norm": True,
    "sharpen": 2.0,
    "downsample": "pool",
    "df_cap": 8,
    "unconditional_weight": 0.5,
    "contrast_weight": 1.0,
    "lr_g": 0.0004,
    "lr_d": 0.0008,
    "optimizer_d": "adam",
    "beta1": 0.0,
    "beta2": 0.9,
    "loss": "hinge",
    "mismatched": "other-species",
    "earlier_captions": 16,
    "kl_weight": 0.02,
    "redraw_weight": 100.0,
    "diffaugment": ("translation", "cutout"),
    "ema": 0.99,
    "init": "normal",
}
PAPER = OURS | {
    "conditioning": "relu",
    "conditional_norm": False,
    "upsample": "nearest",
    "residual_blocks": 4,
    "stage1_skip": False,
    "spectral_norm": False,
    "sharpen": 0.0,
    "downsample": "conv",
    "df_cap": 32,
    "unconditional_weight": 0.0,
    "contrast_weight": 0.0,
    "lr_g": 0.0002,
    "lr_d": 0.0002,
    "beta1": 0.5,
    "beta2": 0.999,
    "loss": "bce",
    "mismatched": "shuffled",
    "earlier_captions": 0,
    "kl_weight": 2.0,
    "redraw_weight": 0.0,
    "diffaugment": (),
    "ema": 0.0,
}
PAPER_WIDTHS = {"gf_dim": 128, "df_dim": 64, "z_dim": 100, "c_dim": 128}


def network(recipe: dict[str, Any] = OURS, **changes: Any) -> NetworkConfig:
    values = recipe | changes
    return NetworkConfig(**{name: values[name] for name in NetworkConfig.model_fields})


def training(recipe: dict[str, Any] = OURS, **changes: Any) -> TrainingConfig:
    values = recipe | changes
    return TrainingConfig(**{name: values[name] for name in TrainingConfig.model_fields})
