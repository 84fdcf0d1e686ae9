"""Stage `judge`: train the judge of pictures and, where the truth about pictures is known, the probe of colours.

Reads   data/<preset>/raw/ (all species in the archive, whatever a run chooses of them)
Writes  models/<preset>/judge/ (config.json, judge.safetensors; probe/ likewise), metrics/<preset>/judge.json
Params  source, judge
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline import console
from pipeline.checkpoints import Checkpoints, fingerprint
from pipeline.crops import load_usable_crops
from pipeline.cub import read_dataset
from pipeline.devices import single_device
from pipeline.files import atomic_folder, require, write_json
from pipeline.fit import fit
from pipeline.manifest import Picture
from pipeline.paths import Paths
from stackgan.classifier import FRAME, STAGE1_SIZE, Classifier, Network, ask, centre, resize
from stackgan.classifier_training import JUDGE_VIEWS, PROBE_SHARE, PROBE_VIEWS, ClassifierTraining
from stackgan.errors import UserError
from stackgan.judge import SPECIES, Judge, JudgeCard, choose_held_out
from stackgan.judge_config import JudgeConfig
from stackgan.metrics import accuracy
from stackgan.probe import PartReader, Probe, ProbeCard, hold_out_species, parts_told
from stackgan.views import Views

if TYPE_CHECKING:
    from pipeline.params import Params

FORMAT = 5  # raise it when the same params and data make another judge


Targets = Mapping[str, Tensor]


def run(params: "Params") -> None:
    paths, config = Paths(params.preset), params.judge
    archive = require(paths.raw / params.source.images.name, made_by="download")
    found = read_dataset(paths.raw, params.source)
    pictures, crops = load_usable_crops(archive, found, round(config.size / FRAME))
    if len({picture.species_id for picture in pictures}) < 2:
        raise UserError(f"{archive} holds pictures of one species: a judge needs two or more to tell apart")
    images = torch.from_numpy(crops).permute(0, 3, 1, 2)
    identity = fingerprint({"format": FORMAT, "judge": config.model_dump()}, [archive])
    trainer = Trainer(config, single_device(params.runtime), identity, params.runtime.checkpoint_seconds)
    judge = train_judge(trainer, pictures, images)
    parts = parts_told([picture.truth for picture in pictures])
    colours = train_probe(trainer, pictures, images, parts) if parts else None
    with atomic_folder(paths.judge) as folder:
        judge.save(folder)
        if colours:
            (folder / "probe").mkdir()
            colours.save(folder / "probe")
    report = _report(judge, colours, pictures)
    write_json(paths.judge_metrics, report)
    trainer.forget()
    console.info(f"The judge is {report['verdict']}")


class Trainer:
    """Trains networks one after the other, each resumed where a killed run left it."""

    def __init__(self, config: JudgeConfig, device: torch.device, identity: str, seconds: float) -> None:
        self.config, self.device = config, device
        self._identity, self._seconds = identity, seconds
        self._checkpoints: list[Checkpoints] = []

    def fit(
        self, name: str, network: Network, crops: Tensor, targets: Targets, views: Views, *, share: float = 1.0
    ) -> None:
        """Train `network` for this `share` of the epochs; it ends in the averaged weights. `targets` are int64 [N] for
        each question."""
        config = self.config.model_copy(update={"epochs": max(1, round(share * self.config.epochs))})
        training = ClassifierTraining(network.to(self.device), crops, targets, config, views)
        checkpoints = Checkpoints(name, self._identity, self._seconds)
        self._checkpoints.append(checkpoints)
        fit(training, checkpoints, name)
        network.load_state_dict(training.average.network.state_dict())

    def forget(self) -> None:
        """All went well: no checkpoint is needed any more."""
        for checkpoints in self._checkpoints:
            checkpoints.remove()


def train_judge(trainer: Trainer, pictures: list[Picture], images: Tensor) -> Judge:
    """Train on `images` uint8 [N, 3, S, S], all but those held out to measure accuracy."""
    species = [picture.species_id for picture in pictures]
    species_ids = tuple(sorted(set(species)))
    columns = torch.tensor([species_ids.index(each) for each in species])
    held_out = choose_held_out([picture.name for picture in pictures], species, trainer.config.held_out)
    if not held_out.any():
        raise UserError("no species has two pictures, so that none is left to measure the judge by: add some")
    torch.manual_seed(trainer.config.seed)
    classifier = Classifier(trainer.config.size, trainer.config.width, {SPECIES: len(species_ids)})
    trainer.fit("judge", classifier, images[~held_out], {SPECIES: columns[~held_out]}, JUDGE_VIEWS)
    unseen, truth = centre(images[held_out]), columns[held_out]
    logits = ask(classifier, unseen).logits[SPECIES]
    coarse = ask(classifier, shrink(unseen)).logits[SPECIES]
    card = JudgeCard(
        size=trainer.config.size,
        width=trainer.config.width,
        species_ids=species_ids,
        held_out=tuple(picture.name for picture, kept in zip(pictures, held_out.tolist(), strict=True) if kept),
        accuracy={
            "top1": accuracy(logits, truth),
            "top5": accuracy(logits, truth, top=5),
            "top1_at_64_pixels": accuracy(coarse, truth),
        },
    )
    return Judge(classifier, card)


def train_probe(trainer: Trainer, pictures: list[Picture], images: Tensor, parts: tuple[str, ...]) -> Probe:
    """Train on most species' pictures to name the colours of `parts`; its accuracy is that on the species left out."""
    colours = tuple(sorted({picture.truth[part] for picture in pictures for part in parts}))
    targets = {part: torch.tensor([colours.index(picture.truth[part]) for picture in pictures]) for part in parts}
    held_out = hold_out_species([picture.species_id for picture in pictures], trainer.config.held_out)
    learnt = {part: target[~held_out] for part, target in targets.items()}
    torch.manual_seed(trainer.config.seed)
    reader = PartReader(trainer.config.size, trainer.config.width, parts, len(colours))
    trainer.fit("probe", reader, images[~held_out], learnt, PROBE_VIEWS, share=PROBE_SHARE)
    logits = ask(reader, centre(images[held_out])).logits
    accuracies = {part: accuracy(logits[part], target[held_out]) for part, target in targets.items()}
    card = ProbeCard(
        size=trainer.config.size, width=trainer.config.width, parts=parts, colours=colours, accuracy=accuracies
    )
    return Probe(reader, card)


def shrink(images: Tensor) -> Tensor:
    """Uint8 pictures [N, 3, S, S] as Stage I would show them."""
    return torch.cat([(resize(part.float(), STAGE1_SIZE) + 0.5).byte() for part in images.split(256)])


def _report(judge: Judge, colours: Probe | None, pictures: list[Picture]) -> dict[str, Any]:
    report: dict[str, Any] = {
        "pictures": len(pictures),
        "held_out": len(judge.card.held_out),
        "species": len(judge.card.species_ids),
        "accuracy": judge.card.accuracy,
        "chance": 1 / len(judge.card.species_ids),
        "verdict": judge.card.verdict,
    }
    if colours:
        report["probe_accuracy"] = colours.card.accuracy
    return report
