"""Stage `evaluate`: measure both stages, draw sheets, and ship the model that was measured.

Reads   shards/64 and shards/256, models/<preset>/{judge,text_encoder,stage1,stage2}/
Writes  metrics/<preset>/evaluate.json (to compare experiments by), reports/<preset>/evaluate/ (figures.json: all of
        them, with the protocol; sheets as PNG), models/<preset>/stackgan/
Params  evaluate

Protocol: averaged weights in eval mode, no truncation. A round draws one caption of every picture of a split; the test
split has `evaluate.captions` rounds, at most as many as pictures have captions, and the training split has one, of as
many pictures as the smaller split has. Figures are means over rounds, each against as many real pictures, those of the
same captions, at the same resolution: Stage I at 64 pixels, Stage II at 256. Two are not: diversity draws captions of
its own, and the papers' Inception figures take all rounds at once. Beside them stand real pictures (halves of the test
split against each other; training against test pictures), an untrained generator and blind chance.
`pipeline.evaluation_scores` and `stackgan.metrics` define the figures.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline import console
from pipeline.devices import single_device
from pipeline.evaluate_config import EvaluateConfig
from pipeline.evaluation_card import lines, model_card
from pipeline.evaluation_exam import Exam
from pipeline.evaluation_pictures import Sheets
from pipeline.evaluation_scores import Scores, summary
from pipeline.evaluation_views import Artist, Panel
from pipeline.evaluation_weights import find_weights
from pipeline.files import atomic_folder, require, sha256, write_json
from pipeline.paths import Paths
from pipeline.shard_folder import shard_folder
from stackgan import inception, judge, probe
from stackgan.checkpoint import load_card
from stackgan.layers import initialise
from stackgan.metrics import NEIGHBOURS
from stackgan.model import STAGES, StackGAN, ship
from stackgan.networks import STAGE_SIZES, Generator, Stage1Generator, Stage2Generator, draw

if TYPE_CHECKING:
    from pipeline.params import Params


def run(params: "Params") -> None:
    paths, config = Paths(params.preset), params.evaluate
    device = single_device(params.runtime)
    panel = load_panel(require(paths.judge, made_by="judge"), config, device)
    stages = {stage: require(paths.stage(stage), made_by=f"stage{stage}") for stage in STAGES}
    text_encoder = require(paths.text_encoder, made_by="text_encoder")
    shards = {stage: shard_folder(params, size) for stage, size in STAGE_SIZES.items()}
    noise_dim = load_card(stages[1], 1).network.noise_dim
    exams = {stage: Exam(stage, shards[stage], panel, config, noise_dim) for stage in STAGES}
    captions = [caption for picture in exams[1].train.pictures for caption in picture["captions"]]
    with atomic_folder(paths.stackgan) as folder:
        # What is measured is what is shipped: the model is loaded as a user will load it.
        ship(stages, text_encoder, captions, folder)
        model = StackGAN.from_pretrained(folder, device)
        results: Scores = {"real": {}}
        for stage, exam in exams.items():
            results[f"stage{stage}"] = exam.grade(artist(model.generators[stage]))
            blank = untrained(stages[stage], stage, config.seed).to(device)
            results[f"stage{stage}"]["untrained"] = exam.grade_first_round(artist(blank))
            results["real"][f"stage{stage}"] = exam.real()
            results["chance"] = exam.chance()
        results["judge"] = panel.judge.card.accuracy | {"verdict": panel.judge.card.verdict}
        results["protocol"] = protocol(exams[1], config)
        with atomic_folder(paths.evaluate_report) as report:
            write_json(report / "figures.json", results)
            Sheets(report, model, exams[2], shards[2]).write()
        (folder / "README.md").write_text(model_card(params.preset, model, exams[1], results), encoding="utf-8")
    write_json(paths.evaluate_metrics, summary(results))
    for line in lines(results):
        console.info(line)
    console.info(f"pictures: {paths.evaluate_report}; the model, with a card: {paths.stackgan}")


def load_panel(folder: Path, config: EvaluateConfig, device: torch.device) -> Panel:
    """The judge, the probe where there is one, and Inception where it is asked for."""
    colours = probe.load(folder / "probe", device) if (folder / "probe").is_dir() else None
    weights = find_weights(config) if config.features == "inception" else None
    return Panel(judge.load(folder, device), colours, inception.load(weights, device) if weights else None)


def artist(generator: Generator) -> Artist:
    return lambda request: draw(generator, request.embeddings, request.noise)


def untrained(folder: Path, stage: int, seed: int) -> Generator:
    """Generators of the same shape that never saw a picture."""
    card = load_card(folder, stage)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = Stage1Generator(card.network, card.embedding_dim)
        generator = first if stage == 1 else Stage2Generator(card.network, card.embedding_dim, first)
        initialise(generator, "normal")
    return generator.requires_grad_(False).eval()


def protocol(exam: Exam, config: EvaluateConfig) -> Scores:
    """How the figures came about, beside them."""
    values: Scores = {
        "seed": config.seed,
        "test_pictures": len(exam.test),
        "test_captions": sum(len(each.rows) for each in exam.test_rounds),
        "train_captions": len(exam.train_round.rows),
        "neighbours": NEIGHBOURS,
        "samples_per_caption": config.samples_per_caption,
    }
    if config.features == "inception":
        values["inception"] = {
            "weights_sha256": sha256(find_weights(config)),
            "resize": inception.RESIZE,
            "real_pictures": len(exam.test),
        }
    return values
