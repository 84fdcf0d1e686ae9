"""A project in which training takes a second: shards of coloured pictures, narrow networks."""

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import webdataset as wds
from PIL import Image

from tests.conftest import PROJECT

DIM, SPECIES = 8, 4
OVERRIDES = (
    "preset=sample",
    "gf_dim=4",
    "df_dim=4",
    "z_dim=8",
    "c_dim=8",
    "residual_blocks=1",
    "stage1.epochs=3",
    "stage1.batch_size=4",
    "stage2.epochs=1",
    "stage2.batch_size=4",
    "runtime.device=cpu",
    "runtime.precision=float32",
)


def make_project(folder: Path, *, sizes: Sequence[int] = (64,), train: int = 24, spoilt: int | None = None) -> Path:
    """Parameters and shards as the pipeline leaves them; the embedding of training picture `spoilt` is infinite."""
    folder.mkdir(exist_ok=True)
    shutil.copy(PROJECT / "params.yaml", folder)
    shutil.copytree(PROJECT / "presets", folder / "presets")
    for size in sizes:
        shards = folder / "data" / "sample" / "shards" / str(size)
        shards.mkdir(parents=True)
        splits = {
            "train": _write(shards / "train-000000.tar", range(train), size, spoilt),
            "test": _write(shards / "test-000000.tar", range(train, train + 12), size),
        }
        (shards / "index.json").write_text(json.dumps({"splits": splits}))
    return folder


def overrides(*more: str) -> list[str]:
    return [*OVERRIDES, *more]


def _write(path: Path, numbers: range, size: int, spoilt: int | None = None) -> dict[str, object]:
    with path.open("wb") as file, wds.TarWriter(file, encoder=False, mtime=0) as tar:
        for number in numbers:
            tar.write(_sample(number, size * 19 // 16, spoilt=number == spoilt))
    shard = {"name": path.name, "samples": len(numbers), "bytes": path.stat().st_size}
    return {"samples": len(numbers), "shards": [shard]}


def _sample(number: int, side: int, *, spoilt: bool) -> dict[str, object]:
    chance = np.random.default_rng(number)
    species = number % SPECIES
    pixels = np.full((side, side, 3), 40 + 50 * species, np.uint8) + chance.integers(0, 40, (side, side, 3), np.uint8)
    embeddings = chance.standard_normal((2, DIM)).astype(np.float16) + species
    if spoilt:
        embeddings[:] = np.inf
    jpg, npy = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(jpg, "JPEG")
    np.lib.format.write_array(npy, embeddings, allow_pickle=False)
    line = {"id": number, "species_id": species, "captions": [f"bird {number}", f"a bird of kind {species}"]}
    return {
        "__key__": f"{number:06d}",
        "jpg": jpg.getvalue(),
        "json": json.dumps(line).encode(),
        "npy": npy.getvalue(),
    }
