"""Command `embed-text`: show how sentences are understood, by the captions of the data set that lie nearest.

Reads   data/<preset>/manifest.jsonl, data/<preset>/embeddings/, models/<preset>/text_encoder/
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline import console, embeddings, manifest
from pipeline.files import require
from pipeline.manifest import Picture
from pipeline.paths import Paths
from stackgan import text
from stackgan.errors import UserError

if TYPE_CHECKING:
    from pipeline.params import Params

_CHUNK = 16_384


def run(params: "Params", texts: Sequence[str], nearest: int = 5) -> None:
    """Print, for each text, the shape of its embedding and the `nearest` captions with their cosines."""
    paths = Paths(params.preset)
    pictures = manifest.read(paths.manifest)
    encoder = text.load(require(paths.text_encoder, made_by="text_encoder"))
    if embeddings.read(paths.embeddings, pictures).dim != encoder.dim:
        raise UserError(f"{paths.embeddings} were made by another text encoder: run `dvc repro embed`")
    queries = encoder.encode(texts)
    vectors = np.load(paths.embeddings / "embeddings.npy", mmap_mode="r", allow_pickle=False)
    for sentence, cosines in zip(texts, _cosines(queries, vectors), strict=True):
        print(f"{sentence!r}: embedding float32 [{encoder.dim}], nearest captions:")
        for cosine, caption, species in _nearest(cosines, pictures, nearest):
            print(f"  {cosine:+.2f}  {console.visible(caption)}  ({console.visible(species)})")


def _cosines(queries: Tensor, vectors: np.ndarray) -> Tensor:
    """Queries [N, dim] with all vectors float16 [captions, dim], a part at a time: [N, captions]."""
    parts = (torch.from_numpy(vectors[start : start + _CHUNK].copy()) for start in range(0, len(vectors), _CHUNK))
    return torch.cat([F.normalize(queries) @ F.normalize(part.float()).T for part in parts], dim=1)


def _nearest(cosines: Tensor, pictures: Sequence[Picture], count: int) -> list[tuple[float, str, str]]:
    """The nearest captions that differ from each other: cosine, caption, species."""
    captions = [(caption, picture.species) for picture in pictures for caption in picture.captions]
    found: dict[str, tuple[float, str, str]] = {}
    for index in cosines.argsort(descending=True, stable=True).tolist():
        caption, species = captions[index]
        found.setdefault(caption, (float(cosines[index]), caption, species))
        if len(found) == count:
            break
    return list(found.values())
