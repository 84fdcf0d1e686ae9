"""Stage `embed`: turn every caption into a vector, by the text encoder.

Reads   data/<preset>/manifest.jsonl, models/<preset>/text_encoder/
Writes  data/<preset>/embeddings/ (embeddings.npy, float16 [captions, dim] in the manifest's order, and index.json)
Params  none

An encoder of kind `official` brings the published vectors of the data set's captions; these are taken as they are.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pipeline import console, embeddings, manifest
from pipeline.embeddings import Vectors
from pipeline.files import require
from pipeline.manifest import Picture
from pipeline.paths import Paths
from stackgan import text
from stackgan.errors import UserError, make_anew
from stackgan.text import TextEncoder
from stackgan.text.official_vectors import load_vectors

if TYPE_CHECKING:
    from pipeline.params import Params

_BATCH = 256


def run(params: "Params") -> None:
    """Run the stage; see the module's docstring."""
    paths = Paths(params.preset)
    pictures = manifest.read(paths.manifest)
    folder = require(paths.text_encoder, made_by="text_encoder")
    published = load_vectors(folder)
    if published is None:
        captions = [caption for picture in pictures for caption in picture.captions]
        vectors = embed(captions, text.load(folder))
    else:
        vectors = gather(pictures, published)
    embeddings.write(paths.embeddings, vectors, pictures, text.read_config(folder).kind)


def embed(captions: Sequence[str], encoder: TextEncoder) -> Vectors:
    """Embeddings of the captions: float16 [N, dim]. Equal captions get equal vectors and are encoded once.

    A value that float16 cannot hold is a `UserError`: the encoder is broken or badly scaled.
    """
    distinct = sorted(set(captions), key=lambda caption: (len(caption), caption))  # batches of like length: no padding
    place = {caption: index for index, caption in enumerate(distinct)}
    vectors = np.empty((len(distinct), encoder.dim), np.float16)
    encoded = (
        vector
        for start in range(0, len(distinct), _BATCH)
        for vector in encoder.encode(distinct[start : start + _BATCH]).half().numpy()
    )
    for index, vector in enumerate(console.track(encoded, "embed captions", total=len(distinct))):
        vectors[index] = vector
    if not np.isfinite(vectors).all():
        raise UserError(f"the text encoder gives no finite numbers: {make_anew('text_encoder')}")
    return vectors[[place[caption] for caption in captions]]


def gather(pictures: Sequence[Picture], published: Mapping[str, Tensor]) -> Vectors:
    """Published vectors of all captions, in the manifest's order: float16 [captions, dim].

    A picture without vectors, or with another number of them than of captions, is a `UserError`.
    """
    for picture in pictures:
        if picture.name not in published or len(published[picture.name]) != len(picture.captions):
            raise UserError(
                f"the text encoder has no official vectors for {picture.name}: run `dvc repro text_encoder`"
            )
    return np.concatenate([published[picture.name].numpy() for picture in pictures])
