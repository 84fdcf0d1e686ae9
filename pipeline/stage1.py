"""Stage `stage1`: train Stage I, which draws 64×64 pictures from captions.

Reads   data/<preset>/shards/64/
Writes  models/<preset>/stage1/ (config.json, generator.safetensors, discriminator.safetensors),
        metrics/<preset>/stage1.json, reports/<preset>/stage1/ (history.csv, curves.png, grid.png, through_epochs.png)
Params  all of NetworkConfig but residual_blocks and stage1_skip, all of TrainingConfig but redraw_weight, seed,
        transform, captions_per_sample, stage1
"""

from typing import TYPE_CHECKING

from pipeline.training import train_stage
from stackgan.networks import Stage1Generator

if TYPE_CHECKING:
    from pipeline.params import Params


def run(params: "Params") -> None:
    train_stage(1, params, Stage1Generator)
