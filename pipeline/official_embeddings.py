"""The official embeddings in the captions archive: `birds/{train,test}/char-CNN-RNN-embeddings.pickle`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.archives import Zip, open_zip
from pipeline.manifest import Picture
from pipeline.pickles import load_pickle
from stackgan.errors import UserError

PICKLE = "char-CNN-RNN-embeddings.pickle"


def read(archive: Path, pictures: Sequence[Picture]) -> dict[str, Tensor]:
    """The official vectors of `pictures` by their names: float32 [captions, dim], in the order of the captions.

    The pickles (Python 2, one array [captions, dim] per name in `filenames.pickle`) must fit the names, each other and
    the captions; a missing, damaged or misaligned one is a `UserError`.
    """
    with open_zip(archive) as texts:
        arrays = _read_split(texts, "train") | _read_split(texts, "test")
    dims = {array.shape[1] for array in arrays.values()}
    if len(dims) > 1:
        raise UserError(f"{archive}: the official embeddings differ in length: {sorted(dims)}")
    vectors = {}
    for picture in pictures:
        array = arrays.get(picture.name.removesuffix(".jpg"))
        if array is None:
            raise UserError(f"{archive}: no official embeddings of {picture.name}")
        if len(array) != len(picture.captions):
            raise UserError(
                f"{archive}: {picture.name} has {len(picture.captions)} captions and {len(array)} official embeddings"
            )
        vectors[picture.name] = torch.from_numpy(array.astype(np.float32))
    return vectors


def _read_split(texts: Zip, split: str) -> dict[str, Any]:
    file, list_of_names = f"birds/{split}/{PICKLE}", f"birds/{split}/filenames.pickle"
    if file not in texts:
        raise UserError(
            f"{texts.path}: {file} is missing, which text_encoder.kind official needs: take the captions archive that"
            " holds the official embeddings, or set text_encoder.kind=char-cnn-rnn"
        )
    names = load_pickle(texts.read(list_of_names), f"{texts.path}: {list_of_names}")
    arrays = load_pickle(texts.read(file), f"{texts.path}: {file}")
    if not isinstance(arrays, list | np.ndarray) or not all(_is_table(array) for array in arrays):
        raise UserError(f"{texts.path}: {file} must hold a list of arrays of numbers, [captions, dimensions] each")
    if len(names) != len(arrays):
        raise UserError(
            f"{texts.path}: {file} holds {len(arrays)} arrays for the {len(names)} names of {list_of_names}"
        )
    return dict(zip(names, arrays, strict=True))


def _is_table(array: Any) -> bool:
    return (
        isinstance(array, np.ndarray) and array.ndim == 2 and array.dtype.kind == "f" and bool(np.isfinite(array).all())
    )
