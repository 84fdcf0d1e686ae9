"""Stage `text-encoder`: make the encoder that turns captions into embeddings.

Reads   data/<preset>/manifest.jsonl, data/<preset>/raw/ (the pictures; for kind official the captions archive too)
Writes  models/<preset>/text_encoder/ (config.json, encoder.safetensors; for kind official official.safetensors too),
        metrics/<preset>/text_encoder.json, reports/<preset>/text_encoder/retrieval.png
Params  source, seed, text_encoder

Only training pictures and their captions are learnt from. On one kind of CPU the same seed and number of threads make
the same bits, whether or not the training was killed and resumed in between.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline import console, manifest, official_embeddings
from pipeline.checkpoints import Checkpoints, fingerprint
from pipeline.crops import load_crops
from pipeline.devices import single_device
from pipeline.files import atomic_folder, require, write_json
from pipeline.fit import fit
from pipeline.paths import Paths, project_root
from pipeline.pictures import save_png
from pipeline.text_encoder_report import Split, found, measure, summary
from stackgan.classifier import FRAME
from stackgan.errors import UserError
from stackgan.text import TextEncoder
from stackgan.text.char_cnn_rnn import CharEncoder
from stackgan.text.joint import JointTraining, embed_pictures
from stackgan.text.official import Distillation, standardise
from stackgan.text.official_vectors import save_vectors
from stackgan.text.sentence import SentenceEncoder

if TYPE_CHECKING:
    from pipeline.params import Params

NAME = "text encoder"
FORMAT = 5  # raise it when the same params and data make another encoder


@dataclass(frozen=True)
class Job:
    """All that making an encoder may need."""

    params: "Params"
    train: Split
    test: Split
    checkpoints: Checkpoints


@dataclass(frozen=True)
class Made:
    """An encoder; how it embeds crops (uint8 [N, 3, S, S] → unit vectors), if it does; the official vectors, if any."""

    encoder: TextEncoder
    embed_crops: Callable[[Tensor], Tensor] | None = None
    vectors: Mapping[str, Tensor] = field(default_factory=dict)


def run(params: "Params") -> None:
    """Run the stage; see the module's docstring."""
    paths = Paths(params.preset)
    job = _job(params, paths)
    made = MAKERS[params.text_encoder.kind](job)
    with atomic_folder(paths.text_encoder) as folder:
        made.encoder.save(folder)
        if made.vectors:
            save_vectors(folder, made.vectors)
    metrics: dict[str, Any] = {"kind": params.text_encoder.kind, "dim": made.encoder.dim}
    for name, split in (("train", job.train), ("test", job.test)):
        texts = made.encoder.encode(split.captions)
        images = made.embed_crops(split.crops) if made.embed_crops else None
        metrics[name] = measure(split, F.normalize(texts), images)
        if made.vectors:
            official = torch.cat([made.vectors[picture.name] for picture in split.pictures])
            metrics[name]["cosine_to_official"] = float(F.cosine_similarity(texts, official).mean())
    # The loop ends with the test split, whose crops the picture shows.
    with atomic_folder(paths.text_encoder_pictures) as folder:
        save_png(found(job.test, F.normalize(texts), images), folder / "retrieval.png")
    write_json(paths.text_encoder_metrics, metrics)
    job.checkpoints.remove()
    console.info(summary(metrics))


def _job(params: "Params", paths: Paths) -> Job:
    pictures = manifest.read(paths.manifest)
    archive = require(paths.raw / params.source.images.name, made_by="download")
    captions = require(paths.raw / params.source.captions.name, made_by="download")
    crops = load_crops(archive, pictures, round(params.text_encoder.image_size / FRAME))
    images = torch.from_numpy(crops).permute(0, 3, 1, 2)
    splits = {}
    for name in ("train", "test"):
        chosen = [index for index, picture in enumerate(pictures) if picture.split == name]
        if not chosen:
            raise UserError(f"{paths.manifest} has no {name} pictures: choose more species or another split")
        splits[name] = Split([pictures[index] for index in chosen], images[chosen])
    values = {"format": FORMAT, "seed": params.seed, "text_encoder": params.text_encoder.model_dump()}
    identity = fingerprint(values, [paths.manifest, archive, captions])
    checkpoints = Checkpoints("text-encoder", identity, params.runtime.checkpoint_seconds)
    return Job(params, splits["train"], splits["test"], checkpoints)


def train(job: Job) -> Made:
    """Kind char-cnn-rnn: captions and pictures are learnt together."""
    config, split = job.params.text_encoder, job.train
    training = JointTraining(
        config, split.crops, split.species, split.groups, seed=job.params.seed, device=_device(job)
    )
    fit(training, job.checkpoints, NAME)
    encoder = CharEncoder.standardised(training.joint.text, config, split.groups)
    return Made(encoder, embed_crops=lambda crops: embed_pictures(training.joint.image, crops))


def distil(job: Job) -> Made:
    """Kind official: the official vectors, and an encoder that learnt to give them."""
    config, pictures = job.params.text_encoder, [*job.train.pictures, *job.test.pictures]
    archive = Paths(job.params.preset).raw / job.params.source.captions.name
    learnt = [picture.name for picture in job.train.pictures]
    vectors = standardise(official_embeddings.read(archive, pictures), learnt)
    training = Distillation(
        config,
        job.train.captions,
        torch.cat([vectors[name] for name in learnt]),
        seed=job.params.seed,
        device=_device(job),
    )
    fit(training, job.checkpoints, NAME)
    return Made(CharEncoder(training.network, config), vectors=vectors)


def adopt(job: Job) -> Made:
    """Kind sentence-transformers: a pretrained model as it is."""
    # A queued experiment runs elsewhere; a relative path is one in the project.
    return Made(SentenceEncoder.standardised(job.params.text_encoder, job.train.groups, project_root()))


MAKERS: Mapping[str, Callable[[Job], Made]] = {
    "char-cnn-rnn": train,
    "official": distil,
    "sentence-transformers": adopt,
}


def _device(job: Job) -> torch.device:
    return single_device(job.params.runtime)
