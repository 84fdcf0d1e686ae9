"""The finished model: shipped, loaded, drawn with."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import stackgan
from stackgan.checkpoint import GENERATOR, StageCard, load_card, load_stage1, read_stage2, save_stage
from stackgan.errors import UserError
from stackgan.model import STAGES, StackGAN, ship
from stackgan.networks import STAGE_SIZES, Discriminator, Generator, Stage1Generator, Stage2Generator, draw
from stackgan.text.char_cnn_rnn import CharCnnRnn, CharEncoder
from stackgan.text.config import TextEncoderConfig
from stackgan.text.official_vectors import VECTORS, save_vectors
from tests.conftest import PROJECT
from tests.stackgan.recipes import network

CAPTIONS = ["a small bird with a red head", "this bird has black wings", "a large bird"]
DIM = 8


def save_text_encoder(folder: Path, dim: int) -> None:
    """An encoder that never trained."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    config = TextEncoderConfig(
        kind="char-cnn-rnn",
        max_length=100,
        conv_widths=(8,),
        rnn_width=8,
        dim=dim,
        image_size=32,
        image_width=8,
        epochs=1,
        batch_size=2,
        lr=0.001,
        model="unused",
    )
    char_cnn_rnn = CharCnnRnn(config.conv_widths, config.rnn_width, dim)
    encoder = CharEncoder.standardised(char_cnn_rnn, config, [[caption] for caption in CAPTIONS])
    encoder.save(folder)


def make_parts(root: Path) -> dict[str, Path]:
    """The folders that the pipeline's stages would have made: stage1, stage2, text_encoder."""
    folders = {name: root / name for name in ("stage1", "stage2", "text_encoder")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    torch.manual_seed(0)
    first = Stage1Generator(network(), DIM)
    generators: dict[int, Generator] = {1: first, 2: Stage2Generator(network(), DIM, first)}
    for stage, generator in generators.items():
        for _ in range(30):  # so that the running statistics are not those of a fresh network
            generator.train()(torch.randn(32, DIM), torch.randn(32, network().noise_dim))
        card = StageCard(stage=stage, embedding_dim=DIM, network=network())
        save_stage(folders[f"stage{stage}"], card, generator, Discriminator(network(), DIM, STAGE_SIZES[stage]))
    save_text_encoder(folders["text_encoder"], DIM)
    return folders


def make_model(parts: dict[str, Path], shipped: Path) -> Path:
    """A shipped model of these parts, in an existing folder."""
    ship({stage: parts[f"stage{stage}"] for stage in STAGES}, parts["text_encoder"], CAPTIONS, shipped)
    return shipped


def amplify(model: Path) -> Path:
    """Make a shipped model that hardly trained draw what differs visibly from caption to caption and noise to noise."""
    for path in model.glob("stage*.safetensors"):
        weights = load_file(path)
        for name, weight in weights.items():
            if "linear" in name:
                weight[: len(weight) // 2] *= 20  # mu alone: captions change the picture, not how noisy it is
            elif "rgb" in name:
                weight *= 20
            elif "modulate" in name:  # it multiplies: a loud caption must not be shouted at every size
                weight /= 20
        save_file(weights, path)
    return model


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_parts(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def folder(parts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(parts, tmp_path_factory.mktemp("shipped"))


@pytest.fixture(scope="module")
def model(folder: Path) -> StackGAN:
    return StackGAN.from_pretrained(folder, "cpu")


def same(first: list[Image.Image], second: list[Image.Image]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(first, second, strict=True)
    )


def test_it_draws_a_picture_for_every_caption(model: StackGAN) -> None:
    for stage, size in STAGE_SIZES.items():
        pictures = model.generate(CAPTIONS, stage=stage)
        assert [picture.size for picture in pictures] == [(size, size)] * 3
        assert all(picture.mode == "RGB" for picture in pictures)
    assert model.generate([]) == []
    assert same(model.generate(CAPTIONS[0], stage=1), model.generate(CAPTIONS[:1], stage=1))


def test_it_is_what_the_stages_made(parts: dict[str, Path], model: StackGAN) -> None:
    first = load_stage1(parts["stage1"])
    embeddings, noise = torch.randn(2, DIM), torch.randn(2, network().noise_dim)
    assert torch.equal(draw(first, embeddings, noise), model.draw(embeddings, noise, 1))
    second = read_stage2(parts["stage2"] / GENERATOR, load_card(parts["stage2"], 2), first)
    assert torch.equal(draw(second, embeddings, noise), model.draw(embeddings, noise, 2))


def test_published_embeddings_are_not_shipped(parts: dict[str, Path], tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    shutil.copytree(parts["text_encoder"], encoder)
    save_vectors(encoder, {"picture": torch.zeros(2, DIM)})
    (tmp_path / "shipped").mkdir()
    shipped = make_model(parts | {"text_encoder": encoder}, tmp_path / "shipped")
    assert not list(shipped.rglob(VECTORS))
    StackGAN.from_pretrained(shipped, "cpu")


def test_loading_and_drawing_leave_torchs_compiler_alone(folder: Path) -> None:
    """Importing it takes two seconds, for which nobody who asks for a picture should wait."""
    script = f"""
import sys
from stackgan import StackGAN
StackGAN.from_pretrained({str(folder)!r}, "cpu").generate({CAPTIONS[0]!r})
print("torch._dynamo" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert result.stdout.strip() == "False"


def test_the_folder_alone_is_enough_wherever_it_lies(folder: Path, model: StackGAN, tmp_path: Path) -> None:
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert sorted(path.name for path in moved.iterdir()) == [
        "config.json",
        "stage1.safetensors",
        "stage2.safetensors",
        "text_encoder",
        "words.txt",
    ]
    again = stackgan.StackGAN.from_pretrained(str(moved))
    assert same(again.generate(CAPTIONS, seed=3), model.generate(CAPTIONS, seed=3))


def test_seed_and_caption_decide_the_picture(model: StackGAN) -> None:
    pictures = model.generate(CAPTIONS, seed=1, stage=1)
    assert same(pictures, model.generate(CAPTIONS, seed=1, stage=1))
    assert not same(pictures, model.generate(CAPTIONS, seed=2, stage=1))
    assert not same(pictures[:1], model.generate(CAPTIONS[1:2], seed=1, stage=1))


def test_the_nth_picture_does_not_depend_on_how_many_follow(model: StackGAN) -> None:
    assert torch.equal(model.noise(3, seed=5), model.noise(50, seed=5)[:3])
    repeated = model.generate([CAPTIONS[0]] * 3, stage=1)
    assert not same(repeated[:1], repeated[1:2])


def nearly(first: Image.Image, second: Image.Image) -> bool:
    """Drawn in other company a picture may be rounded otherwise."""
    return bool(np.abs(np.asarray(first, int) - np.asarray(second, int)).max() <= 1)


def test_truncation_takes_variety_away(model: StackGAN) -> None:
    def spread(truncation: float) -> float:
        pictures = model.generate([CAPTIONS[0]] * 6, stage=1, truncation=truncation)
        return float(np.stack([np.asarray(picture, dtype=float) for picture in pictures]).std(0).mean())

    assert spread(0.0) == 0
    assert 0 < spread(0.5) < spread(1.0)


def test_interpolation_goes_from_one_caption_to_the_other(model: StackGAN) -> None:
    way = model.interpolate(CAPTIONS[0], CAPTIONS[1], steps=5, seed=7, stage=1)
    assert len(way) == 5
    for end, caption in ((way[0], CAPTIONS[0]), (way[-1], CAPTIONS[1])):
        [alone] = model.generate([caption], seed=7, stage=1)
        assert nearly(end, alone)


def test_it_knows_which_words_it_never_read(model: StackGAN) -> None:
    assert model.unknown_words("A Small head, a purple head on a purple penguin") == ["purple", "on", "penguin"]
    assert model.unknown_words(CAPTIONS[0]) == []


def test_interpolation_takes_truncated_noise(model: StackGAN) -> None:
    way = model.interpolate(CAPTIONS[0], CAPTIONS[1], steps=2, seed=7, stage=1, truncation=0.3)
    assert nearly(way[0], model.generate(CAPTIONS[:1], seed=7, stage=1, truncation=0.3)[0])
    assert not nearly(way[0], model.generate(CAPTIONS[:1], seed=7, stage=1)[0])


def test_batches_change_at_most_a_rounding(model: StackGAN, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, noise = torch.randn(5, DIM), torch.randn(5, network().noise_dim)
    whole = model.draw(embeddings, noise, 1)
    monkeypatch.setattr("stackgan.networks._DRAWN_AT_ONCE", 2)
    assert (whole.int() - model.draw(embeddings, noise, 1).int()).abs().max() <= 1


def test_mistakes_are_user_errors(model: StackGAN, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="caption 2 is empty"):
        model.generate(["a bird", "  "])
    with pytest.raises(UserError, match="caption 2 is no text but int"):
        model.generate(["a bird", 7])  # type: ignore[list-item]
    with pytest.raises(UserError, match="no stage 3"):
        model.generate(["a bird"], stage=3)
    with pytest.raises(UserError, match="two pictures at least, not 1"):
        model.interpolate("a bird", "a red bird", steps=1)
    with pytest.raises(UserError, match="dvc repro"):
        StackGAN.from_pretrained(tmp_path / "nowhere")
    shutil.copytree(folder, tmp_path / "sample" / "stackgan")
    with pytest.raises(UserError, match=r"sample/config\.json is missing: the model is .*sample/stackgan"):
        StackGAN.from_pretrained(tmp_path / "sample")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "{}"),
        ("config.json", "nonsense"),
        ("stage1.safetensors", "nonsense"),
        ("stage2.safetensors", None),
        ("words.txt", None),
    ],
)
def test_a_broken_folder_is_a_user_error(folder: Path, tmp_path: Path, file: str, content: str | None) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / file).unlink()
    if content is not None:
        (broken / file).write_text(content)
    with pytest.raises(UserError, match=file):
        StackGAN.from_pretrained(broken)


def test_a_text_encoder_of_other_dimensions_is_a_user_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    monkeypatch.setattr("stackgan.text.load", lambda folder: type("Other", (), {"dim": 5})())
    with pytest.raises(UserError, match="gives 5 dimensions"):
        StackGAN.from_pretrained(other)


def test_the_card_says_what_the_weights_are(folder: Path) -> None:
    cards = json.loads((folder / "config.json").read_text())
    assert [StageCard.model_validate(cards[f"stage{stage}"]).stage for stage in STAGES] == [1, 2]
