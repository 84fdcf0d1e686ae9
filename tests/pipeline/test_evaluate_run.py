"""The stage `evaluate` as a whole, on toy shards, a toy judge and networks that never trained."""

import hashlib
import json
import shutil
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from PIL import Image

from pipeline import evaluate, params
from pipeline.evaluation_weights import find_weights
from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.pictures import sheet
from stackgan import StackGAN
from stackgan.checkpoint import StageCard, save_stage
from stackgan.errors import UserError
from stackgan.networks import STAGE_SIZES, Discriminator, Generator, Stage1Generator, Stage2Generator
from tests.conftest import PROJECT
from tests.pipeline.toy_shards import embedding, write_shards
from tests.stackgan.recipes import network
from tests.stackgan.test_model import save_text_encoder
from tests.stackgan.test_probe import train_probe
from tests.stackgan.toys import CONFIG, toys, train_judge

PATHS = Paths("sample")
DIM = len(embedding({"head": "red", "belly": "red"}))
OVERRIDES = ("runtime.device=cpu", "runtime.precision=float32", "evaluate.samples_per_caption=2")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose earlier stages have run."""
    root = tmp_path_factory.mktemp("project")
    shutil.copy(PROJECT / "params.yaml", root)
    shutil.copytree(PROJECT / "presets", root / "presets")
    birds = toys(species=6, pictures=6)
    for size in STAGE_SIZES.values():
        splits = {"train": birds.take(range(24)), "test": birds.take(range(24, 36))}
        write_shards(root / PATHS.shards(size), size * 19 // 16, splits)
    (root / PATHS.judge / "probe").mkdir(parents=True)
    train_judge(birds, CONFIG.model_copy(update={"epochs": 6})).save(root / PATHS.judge)
    train_probe(birds, epochs=1).save(root / PATHS.judge / "probe")
    save_text_encoder(root / PATHS.text_encoder, DIM)
    torch.manual_seed(0)
    first = Stage1Generator(network(), DIM)
    generators: dict[int, Generator] = {1: first, 2: Stage2Generator(network(), DIM, first)}
    for stage, generator in generators.items():
        (root / PATHS.stage(stage)).mkdir(parents=True)
        card = StageCard(stage=stage, embedding_dim=DIM, network=network())
        critic = Discriminator(network(), DIM, STAGE_SIZES[stage])
        save_stage(root / PATHS.stage(stage), card, generator, critic)
    return root


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def loaded(*overrides: str) -> Params:
    return params.load("sample", [*OVERRIDES, *overrides])


def outs() -> dict[str, str]:
    folders = (PATHS.evaluate_report, PATHS.stackgan, PATHS.evaluate_metrics.parent)
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_it_measures_draws_and_ships(project: Path) -> None:
    evaluate.run(loaded())
    results = json.loads((PATHS.evaluate_report / "figures.json").read_text())
    assert set(results) == {"chance", "judge", "protocol", "real", "stage1", "stage2"}
    for stage in ("stage1", "stage2"):
        assert set(results[stage]) == {"test", "train", "untrained"}
        assert {"fid", "kid", "fid_std", "diversity", "memorisation", "species_top1"} <= set(results[stage]["test"])
        assert set(results[stage]["test"]["colours"]) == {"head", "belly", "mean"}
        assert results[stage]["test"]["fid"] > results["real"][stage]["halves"]["fid"]
    assert results["protocol"]["test_captions"] == 12 * 2
    assert {path.name for path in PATHS.evaluate_report.iterdir()} == {
        "captions.png",
        "figures.json",
        "interpolation.png",
        "neighbours.png",
        "species.png",
    }
    for path in PATHS.evaluate_report.glob("*.png"):
        assert Image.open(path).size[0] > 600

    compared = json.loads(PATHS.evaluate_metrics.read_text())
    assert compared["stage2"]["test"]["fid"] == results["stage2"]["test"]["fid"]
    assert compared["stage1"]["test"]["colours"] == results["stage1"]["test"]["colours"]["mean"]
    assert compared["stage1"]["real"]["fid"] == results["real"]["stage1"]["halves"]["fid"]

    model = StackGAN.from_pretrained(PATHS.stackgan, "cpu")
    assert model.generate(["a bird with a red head"])[0].size == (256, 256)
    assert model.unknown_words("a bird with a red head and purple wings") == ["purple", "wings"]
    card = (PATHS.stackgan / "README.md").read_text()
    assert "none of which it saw in training" in card
    assert f"{results['stage2']['test']['fid']:.1f}" in card
    assert results["judge"]["verdict"] in card


def test_the_same_inputs_give_the_same_bytes(project: Path) -> None:
    evaluate.run(loaded())
    first = outs()
    evaluate.run(loaded())
    assert {name for name, digest in outs().items() if first.get(name) != digest} == set()
    evaluate.run(loaded("evaluate.seed=1"))
    assert outs() != first


def test_a_sheet_has_a_title_for_every_column_and_none_beyond(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titled: list[tuple[int, int]] = []

    def watched(rows: list[list[Any]], **options: Any) -> Any:
        if "column_titles" in options:
            titled.append((len(options["column_titles"]), max(map(len, rows))))
        return sheet(rows, **options)

    monkeypatch.setattr("pipeline.evaluation_pictures.sheet", watched)
    evaluate.run(loaded("evaluate.captions=1"))
    assert len(titled) == 3
    assert all(titles == columns for titles, columns in titled)


def test_fewer_captions_can_be_asked_for(project: Path) -> None:
    evaluate.run(loaded("evaluate.captions=1"))
    results = json.loads((PATHS.evaluate_report / "figures.json").read_text())
    assert results["protocol"]["test_captions"] == 12
    assert "fid_std" not in results["stage1"]["test"]


def test_without_a_probe_colours_are_not_told(project: Path) -> None:
    shutil.rmtree(PATHS.judge / "probe")
    evaluate.run(loaded("evaluate.captions=1"))
    assert "colours" not in json.loads(PATHS.evaluate_metrics.read_text())["stage1"]["test"]


@pytest.mark.parametrize(
    ("folder", "stage"), [(PATHS.judge, "judge"), (PATHS.stage(2), "stage2"), (PATHS.shards(64), "shard@64")]
)
def test_what_is_missing_names_the_stage_to_run_and_nothing_is_left(project: Path, folder: Path, stage: str) -> None:
    shutil.rmtree(folder)
    with pytest.raises(UserError, match=f"dvc repro {stage}"):
        evaluate.run(loaded())
    assert not PATHS.stackgan.exists()
    assert not list(PATHS.stackgan.parent.glob(".*"))


def test_inception_needs_weights_of_the_right_checksum(project: Path) -> None:
    with pytest.raises(UserError, match=r"give evaluate\.inception_weights"):
        evaluate.run(loaded("evaluate.features=inception"))
    with pytest.raises(UserError, match=r"there is no file nowhere\.pth"):
        find_weights(loaded("evaluate.inception_weights=nowhere.pth").evaluate)
    weights = project / "weights.pth"
    weights.write_bytes(b"weights")
    right, wrong = hashlib.sha256(b"weights").hexdigest(), "0" * 64
    given = f"evaluate.inception_weights={weights}"
    assert find_weights(loaded(given, f"evaluate.inception_sha256={right}").evaluate) == weights
    with pytest.raises(UserError, match=f"SHA-256 is {right}, not"):
        find_weights(loaded(given, f"evaluate.inception_sha256='{wrong}'").evaluate)


class Sender(BaseHTTPRequestHandler):
    """Promises ten bytes and sends those that the server has."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(self.server.content)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


def test_weights_are_fetched_once_and_whole(project: Path) -> None:
    with pytest.raises(UserError, match="cannot be fetched"):
        find_weights(loaded("evaluate.inception_weights=http://127.0.0.1:9/weights.pth").evaluate)
    assert not list(Paths.downloads().glob("*"))
    with HTTPServer(("127.0.0.1", 0), Sender) as server:
        config = loaded(f"evaluate.inception_weights=http://127.0.0.1:{server.server_port}/weights.pth").evaluate
        Thread(target=server.serve_forever, daemon=True).start()
        server.content = b"half"  # type: ignore[attr-defined]
        with pytest.raises(UserError, match=r"cannot be fetched \(it ended before 10 bytes"):
            find_weights(config)
        assert not [path for path in Paths.downloads().rglob("*") if path.is_file()]
        server.content = b"all of it."  # type: ignore[attr-defined]
        assert find_weights(config).read_bytes() == b"all of it."
        server.shutdown()
    assert find_weights(config).read_bytes() == b"all of it."  # from here, since nobody serves it now
    with pytest.raises(UserError, match="cannot be fetched"):  # the same name elsewhere is another file
        find_weights(loaded("evaluate.inception_weights=http://127.0.0.1:9/weights.pth").evaluate)
