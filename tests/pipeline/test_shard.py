import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import embeddings, manifest, prepare, shard
from pipeline.archives import open_tar
from pipeline.crops import Cutter, load_crops, sources
from pipeline.files import sha256
from pipeline.params import Params
from pipeline.paths import Paths
from stackgan.errors import UserError
from tests.pipeline.conftest import PRESET, Project
from tests.pipeline.tiny import SOURCE, tiny

PATHS = Paths(PRESET)


@pytest.fixture
def prepared(project: Project) -> Params:
    params = project(tiny(), "shard.samples_per_shard=4")
    prepare.run(params)
    pictures = manifest.read(PATHS.manifest)
    vectors = np.arange(60 * 8, dtype=np.float16).reshape(60, 8)
    embeddings.write(PATHS.embeddings, vectors, pictures, kind="test")
    return params


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("size", "crop_size"), [(64, 76), (256, 304)])
def test_every_picture_is_packed_once_with_its_line_and_its_embeddings(
    prepared: Params, size: int, crop_size: int
) -> None:
    shard.run(prepared, size)
    pictures = manifest.read(PATHS.manifest)
    crops = load_crops(PATHS.raw / SOURCE.images.name, pictures, crop_size)
    packed: dict[str, bytes] = {}
    for path in sorted(PATHS.shards(size).glob("*.tar")):
        packed |= members(path)
    assert len(packed) == 3 * 20
    for place, picture in enumerate(pictures):
        key = f"{place:06d}"
        assert packed[f"{key}.json"].decode() == manifest.line(picture)
        vectors = np.load(io.BytesIO(packed[f"{key}.npy"]), allow_pickle=False)
        assert vectors.dtype == np.float16
        np.testing.assert_array_equal(vectors, np.arange(24 * place, 24 * (place + 1)).reshape(3, 8))
        image = Image.open(io.BytesIO(packed[f"{key}.jpg"]))
        assert image.size == (crop_size, crop_size)
        assert np.abs(np.asarray(image).astype(int) - crops[place]).mean() < 3


def test_the_index_tells_what_is_there(prepared: Params) -> None:
    shard.run(prepared, 64)
    folder = PATHS.shards(64)
    index: dict[str, Any] = json.loads((folder / "index.json").read_text())
    train, test = index["splits"]["train"], index["splits"]["test"]
    assert (train["samples"], test["samples"]) == (15, 5)
    assert [row["samples"] for row in train["shards"]] == [3, 4, 4, 4]
    assert [row["samples"] for row in test["shards"]] == [2, 3]
    assert test["species"] == {"002.Blue_Jay": 5}
    assert {row["name"] for row in [*train["shards"], *test["shards"]]} == {path.name for path in folder.glob("*.tar")}
    for row in [*train["shards"], *test["shards"]]:
        assert row["sha256"] == sha256(folder / row["name"])
        assert row["bytes"] == (folder / row["name"]).stat().st_size
    assert (index["size"], index["crop_size"], index["crop"], index["embedding_dim"]) == (64, 76, "padded", 8)
    assert set(index["versions"]) >= {"pillow", "libjpeg-turbo", "numpy"}


def test_two_runs_write_the_same_bytes(prepared: Params) -> None:
    shard.run(prepared, 64)
    first = tree(PATHS.shards(64))
    shard.run(prepared, 64)
    assert tree(PATHS.shards(64)) == first


def test_one_and_two_processes_write_the_same_bytes(prepared: Params, tmp_path: Path) -> None:
    pictures = manifest.read(PATHS.manifest)
    rows = embeddings.read(PATHS.embeddings, pictures).rows
    with open_tar(PATHS.raw / SOURCE.images.name) as images:
        entries = [
            shard.Entry(f"{place:06d}", source, row)
            for place, (source, row) in enumerate(zip(sources(images, pictures), rows, strict=True))
        ]
        shards = shard.plan(entries, "train", 0, 4)
        for processes in (1, 2):
            (tmp_path / f"{processes}").mkdir()
            shard.pack(shards, tmp_path / f"{processes}", Cutter(76, "padded"), processes)
    assert tree(tmp_path / "1") == tree(tmp_path / "2")


def test_the_seed_orders_the_samples(project: Project, prepared: Params) -> None:
    shard.run(prepared, 64)
    first = members(PATHS.shards(64) / "train-000000.tar")
    shard.run(project(tiny(), "shard.samples_per_shard=4", "seed=1"), 64)
    assert list(members(PATHS.shards(64) / "train-000000.tar")) != list(first)
    species = {json.loads(content)["species"] for name, content in first.items() if name.endswith("json")}
    assert len(species) > 1  # not in the manifest's order, by species


def test_an_unreadable_picture_leaves_no_half_written_folder(prepared: Params, project: Project) -> None:
    data = tiny()
    data.images["CUB_200_2011/images/004.White_Tern/White_Tern_0005_5.jpg"] = b"no picture"
    data.save(PATHS.raw)
    with pytest.raises(UserError, match=r"White_Tern_0005_5\.jpg: unreadable picture"):
        shard.run(prepared, 64)
    assert list(PATHS.shards(64).parent.iterdir()) == []


def test_embeddings_of_another_manifest_are_an_error(prepared: Params) -> None:
    pictures = manifest.read(PATHS.manifest)
    manifest.write(PATHS.manifest, pictures[1:])
    with pytest.raises(UserError, match="does not belong to this manifest: run `dvc repro embed`"):
        shard.run(prepared, 64)


def test_an_unknown_size_is_an_error(prepared: Params) -> None:
    with pytest.raises(UserError, match="choose 64 or 256"):
        shard.run(prepared, 128)
