"""Small shards as the pipeline writes them, without the pipeline."""

import io
import json
from pathlib import Path

import numpy as np
import webdataset as wds
from PIL import Image

CAPTIONS, DIM = 3, 4


def make_shards(folder: Path, *counts: int, crop_size: int = 76, split: str = "train", first: int = 0) -> Path:
    """One tar of `split` for each of `counts`; sample n has key n, species n % 5 and embeddings 10 n + caption.

    With `first` the same keys hold the samples from that number on.
    """
    rows, number = [], 0
    folder.mkdir(parents=True, exist_ok=True)
    for shard, count in enumerate(counts):
        path = folder / f"{split}-{shard:06d}.tar"
        with path.open("wb") as file, wds.TarWriter(file, encoder=False, mtime=0) as tar:
            for _ in range(count):
                tar.write(sample(first + number, crop_size) | {"__key__": f"{number:06d}"})
                number += 1
        rows.append({"name": path.name, "samples": count, "bytes": path.stat().st_size})
    (folder / "index.json").write_text(json.dumps({"splits": {split: {"samples": number, "shards": rows}}}))
    return folder


def sample(number: int, crop_size: int) -> dict[str, object]:
    pixels = np.random.default_rng(number).integers(0, 255, (crop_size, crop_size, 3), dtype=np.uint8)
    jpg, npy = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(jpg, "JPEG", quality=95)
    embeddings = 10 * number + np.arange(CAPTIONS, dtype=np.float16)[:, None].repeat(DIM, axis=1)
    np.lib.format.write_array(npy, embeddings, allow_pickle=False)
    line = {"id": number, "species_id": number % 5, "captions": ["a bird"] * CAPTIONS}
    return {
        "__key__": f"{number:06d}",
        "jpg": jpg.getvalue(),
        "json": json.dumps(line).encode(),
        "npy": npy.getvalue(),
    }
