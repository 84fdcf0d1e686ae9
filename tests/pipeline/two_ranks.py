"""Train one epoch on two gloo processes; each writes what it saw and ended with to rank<n>.json."""

import hashlib
import json
from pathlib import Path

from pipeline import params
from pipeline.checkpoints import Checkpoints
from pipeline.launch import fabric
from pipeline.paths import Paths
from pipeline.stopping import StopRequest
from pipeline.training import StageRun
from stackgan.networks import Stage1Generator
from stackgan.reader import Batch
from tests.pipeline.tiny_training import overrides


def main() -> None:
    chosen = params.load(overrides=overrides("stage1.epochs=1", "runtime.devices=2"))
    machine = fabric(chosen.runtime)
    run = StageRun(1, chosen, machine, Paths("sample").shards(64), Stage1Generator)
    keys: list[str] = []
    step = run.trainer.step

    def watched(batch: Batch) -> None:
        keys.extend(batch.key)
        step(batch)

    run.trainer.step = watched  # type: ignore[method-assign]
    run.train(Checkpoints("stage1", "test", 1000.0), StopRequest())
    weights = hashlib.sha256()
    for network in (run.trainer.bare_generator, run.trainer.bare_discriminator):
        for parameter in network.parameters():
            weights.update(parameter.detach().numpy().tobytes())
    figures = {name: run.progress.history[0][name] for name in ("loss_d", "loss_g", "kl", "d_real")}
    result = {"keys": keys, "weights": weights.hexdigest(), "epoch_figures": figures}
    Path(f"rank{machine.global_rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
