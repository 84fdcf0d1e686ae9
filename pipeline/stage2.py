"""Stage `stage2`: train Stage II, which redraws Stage I's pictures at 256×256.

Reads   data/<preset>/shards/256/, models/<preset>/stage1/
Writes  models/<preset>/stage2/ (config.json, generator.safetensors without Stage I, discriminator.safetensors),
        metrics/<preset>/stage2.json, reports/<preset>/stage2/ (history.csv, curves.png, grid.png, through_epochs.png)
Params  all of stackgan.config's NetworkConfig and TrainingConfig, seed, transform, captions_per_sample, stage2
"""

from typing import TYPE_CHECKING

from pipeline.files import require
from pipeline.paths import Paths
from pipeline.training import train_stage
from stackgan.checkpoint import CONFIG, GENERATOR, load_card, load_stage1
from stackgan.config import NetworkConfig
from stackgan.errors import UserError
from stackgan.networks import Stage2Generator

if TYPE_CHECKING:
    from pipeline.params import Params


def run(params: "Params") -> None:
    folder = require(Paths(params.preset).stage(1), made_by="stage1")

    def build(config: NetworkConfig, embedding_dim: int) -> Stage2Generator:
        card = load_card(folder, stage=1)
        for name, wanted, found in (
            ("z_dim", config.z_dim, card.network.z_dim),
            ("c_dim", config.c_dim, card.network.c_dim),
            ("embeddings of dimension", embedding_dim, card.embedding_dim),
        ):
            if wanted != found:
                raise UserError(f"{folder} was trained with {name} {found}, not {wanted}: run stage1 again")
        return Stage2Generator(config, embedding_dim, load_stage1(folder))

    train_stage(2, params, build, inputs=(folder / CONFIG, folder / GENERATOR))
