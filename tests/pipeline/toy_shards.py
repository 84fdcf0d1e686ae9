"""Shards of toy pictures, as the stage `shard` writes them."""

import io
import json
from pathlib import Path

import numpy as np
import torch
import webdataset as wds
from PIL import Image

from tests.stackgan.toys import COLOURS, Toys

CAPTIONS = ("a bird with a {head} head and a {belly} belly", "this bird has a {belly} belly", "a {head} headed bird.")


def write_shards(folder: Path, size: int, splits: dict[str, Toys]) -> None:
    """One tar a split, with crops of `size` pixels; an embedding has a dimension for each colour of head and belly."""
    folder.mkdir(parents=True)
    index = {}
    for split, birds in splits.items():
        path = folder / f"{split}-000000.tar"
        with wds.TarWriter(str(path), mtime=0, encoder=False) as tar:
            for number in range(len(birds.names)):
                tar.write(_sample(birds, number, split, size))
        shard = {"name": path.name, "samples": len(birds.names), "bytes": path.stat().st_size}
        index[split] = {"shards": [shard]}
    (folder / "index.json").write_text(json.dumps({"splits": index}))


def picture(birds: Toys, number: int, split: str) -> dict[str, object]:
    """The manifest's line of a toy."""
    truth = birds.truths[number]
    captions = [caption.format(**truth) for caption in CAPTIONS]
    name, species = birds.names[number], birds.species[number]
    return {
        "id": number,
        "name": name,
        "species_id": species,
        "species": name.partition("/")[0],
        "split": split,
        "bbox": [10, 10, 50, 50],
        "captions": captions,
        "truth": truth,
    }


def embedding(truth: dict[str, str]) -> torch.Tensor:
    words = list(COLOURS)
    hot = [float(truth[part] == word) for part in ("head", "belly") for word in words]
    return torch.tensor(hot)


def _sample(birds: Toys, number: int, split: str, size: int) -> dict[str, object]:
    crop = Image.fromarray(birds.crops[number].permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.BICUBIC)
    jpg, npy = io.BytesIO(), io.BytesIO()
    crop.save(jpg, "JPEG", quality=95, subsampling=0)
    vectors = embedding(birds.truths[number]).expand(len(CAPTIONS), -1).numpy().astype(np.float16)
    np.lib.format.write_array(npy, vectors, allow_pickle=False)
    line = json.dumps(picture(birds, number, split)).encode()
    return {"__key__": f"{number:06d}", "jpg": jpg.getvalue(), "json": line, "npy": npy.getvalue()}
