import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import embed, embeddings
from pipeline.manifest import Picture
from stackgan.errors import UserError


class Lengths:
    """Encodes a caption as its length and its first letter, and counts what it encodes."""

    dim = 2

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, captions: Sequence[str]) -> torch.Tensor:
        self.encoded += captions
        return torch.tensor([[float(len(caption)), float(ord(caption[0]))] for caption in captions])

    def save(self, folder: Path) -> None:
        raise AssertionError


def test_embeddings_come_in_the_order_of_the_captions_and_each_is_made_once() -> None:
    captions = [f"{letter}{'x' * (number % 7)}" for number in range(600) for letter in "ba"] + ["b", "a"]
    encoder = Lengths()
    vectors = embed.embed(captions, encoder)
    assert vectors.dtype == np.float16
    assert vectors.tolist() == [[len(caption), ord(caption[0])] for caption in captions]
    assert len(encoder.encoded) == len(set(encoder.encoded)) == 14


def test_an_encoder_that_overflows_is_an_error() -> None:
    encoder = Lengths()
    encoder.encode = lambda captions: torch.full((len(captions), 2), 1e6)  # type: ignore[method-assign]
    with pytest.raises(UserError, match="no finite numbers"):
        embed.embed(["a"], encoder)


def pictures(*counts: int) -> list[Picture]:
    return [
        Picture(n, f"001.A/{n}.jpg", 1, "001.A", "train", (0, 0, 1, 1), ("a bird",) * count)
        for n, count in enumerate(counts)
    ]


def test_the_folder_gives_every_picture_its_rows(tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float16).reshape(6, 2)
    embeddings.write(tmp_path / "embeddings", vectors, pictures(1, 3, 2), kind="char-cnn-rnn")
    assert json.loads((tmp_path / "embeddings" / "index.json").read_text()) == {
        "captions": [1, 3, 2],
        "dim": 2,
        "kind": "char-cnn-rnn",
    }
    read = embeddings.read(tmp_path / "embeddings", pictures(1, 3, 2))
    assert (read.dim, read.kind) == (2, "char-cnn-rnn")
    assert [rows.read().tolist() for rows in read.rows] == [
        vectors[:1].tolist(),
        vectors[1:4].tolist(),
        vectors[4:].tolist(),
    ]


def test_damaged_and_foreign_embeddings_are_errors(tmp_path: Path) -> None:
    folder = tmp_path / "embeddings"
    with pytest.raises(UserError, match="dvc repro embed"):
        embeddings.read(folder, pictures(1))
    embeddings.write(folder, np.zeros((2, 2), np.float16), pictures(1, 1), kind="x")
    with pytest.raises(UserError, match="does not belong to this manifest"):
        embeddings.read(folder, pictures(2))
    (folder / "index.json").write_text("[]")
    with pytest.raises(UserError, match=r"index\.json is no index of embeddings"):
        embeddings.read(folder, pictures(1, 1))
    (folder / "embeddings.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match=r"embeddings\.npy is damaged"):
        embeddings.read(folder, pictures(1, 1))


def test_published_vectors_are_taken_as_they_are() -> None:
    published = {
        f"001.A/{n}.jpg": torch.full((count, 2), float(n), dtype=torch.float16) for n, count in enumerate((1, 2))
    }
    assert embed.gather(pictures(1, 2), published).tolist() == [[0, 0], [1, 1], [1, 1]]
    for wanted in (pictures(1, 3), pictures(1, 2, 1)):
        with pytest.raises(UserError, match="no official vectors for 001"):
            embed.gather(wanted, published)
