"""How well captions find pictures: the zero-shot measures of Reed et al. (CVPR 2016), beside their chance levels."""

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = 4096  # captions compared with all pictures at a time


def retrieval(texts: Tensor, owner: Tensor, images: Tensor, species: Tensor) -> dict[str, float]:
    """Measures of text embeddings [C, dim] of captions of pictures `owner` int64 [C] among images [N, dim].

    recall_at_1: share of captions whose nearest picture is their own. ap_50: for every species, its mean caption ranks
    all pictures; the share of its own among the first 50 (or as many as it has, if fewer), averaged over the species.
    species_accuracy: share of pictures whose nearest mean caption is their species'. `chance` gives what an order at
    random yields. Both embeddings must have unit length; `species` is int64 [N].
    """
    numbers = species.unique()
    nearest = torch.cat([(part @ images.T).argmax(1) for part in texts.split(ROWS)])
    queries = torch.stack([F.normalize(texts[species[owner] == number].mean(0), dim=0) for number in numbers])
    scores = queries @ images.T
    found = [_precision(row, species == number) for row, number in zip(scores, numbers, strict=True)]
    return {
        "recall_at_1": _share(nearest == owner),
        "recall_at_1_chance": 1 / len(images),
        "ap_50": sum(found) / len(found),
        "ap_50_chance": 1 / len(numbers),
        "species_accuracy": _share(numbers[scores.argmax(0)] == species),
        "species_accuracy_chance": 1 / len(numbers),
    }


def _precision(scores: Tensor, relevant: Tensor) -> float:
    best = scores.argsort(descending=True, stable=True)[: min(50, int(relevant.sum()))]
    return _share(relevant[best])


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())


def paraphrases_nearer(texts: Tensor, owner: Tensor, species: Tensor) -> dict[str, float]:
    """Share of captions nearer to the next caption of their picture than to one of another species' picture.

    Takes texts [C, dim] of unit length. Where there is one species, the other picture is just another one.
    """
    pictures = owner.argsort(stable=True).split(owner.bincount(minlength=len(species)).tolist())
    groups = species if len(species.unique()) > 1 else torch.arange(len(species))
    generator = torch.Generator().manual_seed(0)
    nearer = []
    for picture, mine in enumerate(pictures):
        strangers = (groups != groups[picture]).nonzero()[:, 0]
        if len(mine) < 2 or not len(strangers):
            continue
        chosen = strangers[torch.randint(len(strangers), (len(mine),), generator=generator)]
        theirs = torch.stack([pictures[int(stranger)][0] for stranger in chosen])
        same, other = (texts[mine] * texts[mine.roll(-1)]).sum(1), (texts[mine] * texts[theirs]).sum(1)
        nearer.append(same > other)
    return {"paraphrases_nearer": _share(torch.cat(nearer)), "paraphrases_nearer_chance": 0.5} if nearer else {}
