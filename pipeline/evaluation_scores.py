"""The figures of `evaluate`, out of views on drawn and on real pictures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pipeline.evaluation_views import Request, Split, Views
from stackgan import metrics
from stackgan.inception import inception_score
from stackgan.judge import Judge
from stackgan.probe import agreement, said

Scores = dict[str, Any]
UNCERTAIN = ("fid", "kid", "species_top1")  # figures whose deviation over the rounds is told
HEADLINES = (
    *("fid", "kid", "precision", "recall", "density", "coverage", "species_top1", "species_top5", "colours"),
    *("diversity", "collapse", "memorisation", "fid_inception", "is_inception"),
)
TRAIN_HEADLINES = ("fid", "species_top1", "colours", "memorisation")
REAL_HEADLINES = ("fid", "kid", "species_top1", "colours")


@dataclass(frozen=True)
class Yardstick:
    """Real pictures that drawn ones are compared with: those of the split whose captions were drawn, and all that
    training saw, as features [M, F]; every picture at the size of the stage that is measured."""

    split: Split
    views: Views
    training: Tensor
    judge: Judge

    def score(self, drawn: Views, request: Request) -> Scores:
        """Every figure of one round, in which `drawn` belongs to the request, row by row."""
        real = self.views[request.rows]
        columns = self.judge.targets([self.split.pictures[row]["species_id"] for row in request.rows.tolist()])
        memorisation = metrics.memorisation_ratio(
            metrics.distances_to(self.training, drawn.features), self.real_distances
        )
        return (
            compare(real.features, drawn.features)
            | {
                "species_top1": metrics.accuracy(drawn.logits, columns),
                "species_top5": metrics.accuracy(drawn.logits, columns, top=5),
            }
            | ({} if memorisation is None else {"memorisation": memorisation})
            | _colours(agreement(drawn.colours, sayings(self.split, request)))
        )

    @cached_property
    def unlearnt(self) -> list[int]:
        """Rows of the split's pictures that the judge did not learn from; those it did lie closer together."""
        return [row for row, picture in enumerate(self.split.pictures) if picture["name"] in self.judge.held_out]

    @cached_property
    def real_distances(self) -> Tensor:
        """Distances of real pictures to the nearest training picture other than themselves."""
        rows = self.unlearnt or slice(None)
        if self.split.name == "train":
            return metrics.neighbour_distances(self.training)[rows]
        return metrics.distances_to(self.training, self.views.features[rows])

    def diversity(self, drawn: Views, times: int) -> Scores:
        """How far apart pictures of one caption are (groups of `times` in a row), over real ones of one species; no
        figure where no species has two real ones that differ."""
        species = torch.tensor([picture["species_id"] for picture in self.split.pictures])
        own = metrics.species_spread(self.views.features, species)
        return {"diversity": metrics.spread(drawn.features.unflatten(0, (-1, times))) / own} if own else {}

    def real_scores(self) -> Scores:
        """What the split's real pictures score: those that the judge did not learn from, where it names species."""
        unseen = self.unlearnt
        columns = self.judge.targets([picture["species_id"] for picture in self.split.pictures])
        first, second = torch.randperm(len(columns), generator=torch.Generator().manual_seed(0)).chunk(2)
        features, logits = self.views.features, self.views.logits
        scores: Scores = {"halves": compare(features[first], features[second])}
        if unseen:
            scores["species_top1"] = metrics.accuracy(logits[unseen], columns[unseen])
            scores["species_top5"] = metrics.accuracy(logits[unseen], columns[unseen], top=5)
        return scores | _colours(agreement(self.views.colours, [_saying(each, 0) for each in self.split.pictures]))


def compare(real: Tensor, drawn: Tensor) -> Scores:
    """What two sets of features [N, F] tell about each other, whatever they show."""
    return {
        "fid": metrics.frechet_distance(real, drawn),
        "kid": metrics.kernel_distance(real, drawn),
        **metrics.manifold(real, drawn)._asdict(),
        "collapse": metrics.collapse_rate(real, drawn),
    }


def papers_scores(real: Views, drawn: Views) -> Scores:
    """FID and IS as papers compute them; empty without Inception."""
    if real.pooled is None or drawn.pooled is None or drawn.classes is None:
        return {}
    score, deviation = inception_score(drawn.classes)
    fid = metrics.frechet_distance(real.pooled, drawn.pooled)
    return {"fid_inception": fid, "is_inception": score, "is_inception_std": deviation}


def sayings(split: Split, request: Request) -> list[dict[str, str]]:
    """What each caption of the request says of the colours; empty where the truth is unknown."""
    pairs = zip(request.rows.tolist(), request.captions.tolist(), strict=True)
    return [_saying(split.pictures[row], caption) for row, caption in pairs]


def _saying(picture: Mapping[str, Any], caption: int) -> dict[str, str]:
    return said(picture["captions"][caption], picture.get("truth", {}))


def chance(split: Split, judge: Judge, request: Request) -> Scores:
    """What blind guessing scores: any species, and colours that were said of another picture."""
    species = len(judge.card.species_ids)
    all_said = sayings(split, request)
    parts = {part for saying in all_said for part in saying}
    words = {part: [saying[part] for saying in all_said if part in saying] for part in parts}
    agreements = {
        part: sum((said_words.count(word) / len(said_words)) ** 2 for word in set(said_words))
        for part, said_words in words.items()
    }
    return {"species_top1": 1 / species, "species_top5": min(1.0, 5 / species)} | _colours(agreements)


def summary(results: Scores) -> Scores:
    """The figures to compare experiments by: few enough to stand side by side in a table, colours as their mean."""
    chosen: Scores = {"judge_top1": results["judge"]["top1"]}
    for stage in ("stage1", "stage2"):
        real = results["real"][stage]
        chosen[stage] = {
            "test": _headlines(results[stage]["test"], HEADLINES),
            "train": _headlines(results[stage]["train"], TRAIN_HEADLINES),
            "real": _headlines(real["halves"] | real, REAL_HEADLINES),
        }
    return chosen


def _headlines(scores: Scores, names: Sequence[str]) -> Scores:
    found = {name: scores[name] for name in names if name in scores}
    return {name: value["mean"] if isinstance(value, dict) else value for name, value in found.items()}


def average(scores: Sequence[Scores]) -> Scores:
    """Mean of every figure over rounds, and the deviation of some."""
    result = _mean(scores)
    for name in UNCERTAIN if len(scores) > 1 else ():
        values = torch.tensor([score[name] for score in scores], dtype=torch.double)
        result[f"{name}_std"] = float(values.std())
    return result


def _mean(scores: Sequence[Scores]) -> Scores:
    names: Iterable[str] = dict.fromkeys(name for score in scores for name in score)
    result: Scores = {}
    for name in names:
        values = [score[name] for score in scores if name in score]
        result[name] = _mean(values) if isinstance(values[0], dict) else sum(values) / len(values)
    return result


def _colours(agreements: Mapping[str, float]) -> Scores:
    if not agreements:
        return {}
    return {"colours": dict(agreements) | {"mean": sum(agreements.values()) / len(agreements)}}
