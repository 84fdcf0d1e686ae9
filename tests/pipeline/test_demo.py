"""The demo's answers; its page is looked at by tests/integration/test_demo.py."""

import importlib.util
import random
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import demo, params
from pipeline.demo import EXAMPLES, LARGEST_SEED, LONGEST_SENTENCE, MOST_PICTURES, Studio
from pipeline.flock import captions
from pipeline.flock.species import roster
from pipeline.source_config import FlockSource
from stackgan.errors import UserError
from stackgan.model import StackGAN
from stackgan.networks import STAGE_SIZES, Stage1Generator, Stage2Generator
from stackgan.vocabulary import Vocabulary
from tests.stackgan.recipes import network

DIM = 8
FIRST, SECOND = "a red bird", "a large blue bird"


class Encoder:
    """Gives every sentence a vector of its own."""

    dim = DIM

    def encode(self, captions: list[str]) -> torch.Tensor:
        return torch.tensor([[len(caption) / 4 - 3.0] * DIM for caption in captions])


@pytest.fixture(scope="module")
def studio() -> Studio:
    torch.manual_seed(0)
    first = Stage1Generator(network(), DIM)
    second = Stage2Generator(network(), DIM, first)
    for generator in (first, second):
        for _ in range(3):  # its running statistics let differences through, as a trained one's do
            generator.train()(torch.randn(4, DIM), torch.randn(4, network().noise_dim))
        generator.requires_grad_(False).eval()
    studio = Studio(StackGAN(Encoder(), first, second, Vocabulary.of([FIRST, SECOND])))  # type: ignore[arg-type]
    for stage in (1, 2):  # pictures that were all alike would make every test below pass
        pictures = studio.model.generate([FIRST, FIRST, SECOND], stage=stage)
        assert not same(pictures[:2], pictures[1:])
        assert not same(pictures[1:2], pictures[2:])
    return studio


def ask(studio: Studio, **changes: Any) -> demo.Answer:
    wanted: dict[str, Any] = {"first": FIRST, "second": "", "way": 0.0, "seed": 3, "number": 2, "truncation": 1.0}
    return studio.draw(**(wanted | changes))


def same(some: list[Image.Image], others: list[Image.Image]) -> bool:
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(some, others, strict=True))


def test_both_stages_draw_what_the_model_draws_for_the_seed(studio: Studio) -> None:
    _, small, large = ask(studio)
    for stage, pictures in ((1, small), (2, large)):
        assert [picture.size for picture in pictures] == [(STAGE_SIZES[stage],) * 2] * 2
        assert same(pictures, studio.model.generate([FIRST] * 2, seed=3, stage=stage))


def test_the_way_leads_from_one_sentence_to_the_other(studio: Studio) -> None:
    large = {way: ask(studio, second=SECOND, way=way)[2] for way in (0.0, 0.5, 1.0)}
    assert same(large[0.0], studio.model.generate([FIRST] * 2, seed=3))
    assert same(large[1.0], studio.model.generate([SECOND] * 2, seed=3))
    assert not same(large[0.5], large[0.0])
    assert not same(large[0.5], large[1.0])


def test_without_noise_all_pictures_are_alike(studio: Studio) -> None:
    _, small, _ = ask(studio, truncation=0.0)
    assert same(small[:1], small[1:])


def test_words_never_seen_are_named_from_both_sentences(studio: Studio) -> None:
    assert ask(studio, second=SECOND)[0] == ""
    remark = ask(studio, first="a red zebra", second="an Ostrich")[0]
    assert "zebra" in remark
    assert "ostrich" in remark
    assert "red" not in remark.split(":")[1]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"first": "  "}, "no sentence"),
        ({"first": None}, "no sentence"),
        ({"first": "bird " * LONGEST_SENTENCE}, "too long"),
        ({"second": "bird " * LONGEST_SENTENCE}, "too long"),
        ({"number": MOST_PICTURES + 1}, "number"),
        ({"number": 0}, "number"),
        ({"seed": None}, "seed"),
        ({"seed": -1}, "seed"),
        ({"seed": LARGEST_SEED + 1}, "seed"),
        ({"way": 1.5}, "way"),
        ({"truncation": float("nan")}, "truncation"),
    ],
)
def test_what_a_visitor_asks_is_bounded(studio: Studio, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        ask(studio, **changes)


def test_the_examples_are_within_bounds_and_known_to_the_sample() -> None:
    assert all(len(example) <= LONGEST_SENTENCE for example in EXAMPLES)
    source = params.load("sample").source
    assert isinstance(source, FlockSource)
    rng = random.Random(0)
    seen = Vocabulary.of(
        caption
        for species in roster(source.species, source.seed)
        for pose in captions.POSTURES
        for caption in captions.describe(species, pose, rng)
    )
    assert [word for example in EXAMPLES for word in seen.unknown(example)] == []


def test_without_gradio_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[demo\]'"):
        demo.run()


def test_a_taken_port_and_a_foreign_address_are_told_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is taken"):
            demo.run(tmp_path, port=port)
    for host in ("192.0.2.1", "a..b"):  # an address for documentation, nobody's; and none at all
        with pytest.raises(UserError, match="--host"):
            demo.run(tmp_path, host=host)
    with pytest.raises(UserError, match="is missing: run `dvc repro`"):
        demo.run(tmp_path, port=port)


def test_errors_reach_the_page_as_a_sentence() -> None:
    gradio = pytest.importorskip("gradio", reason="the page needs the extra `demo`")

    def fail(error: Exception) -> demo.Answer:
        raise error

    told = demo._in_the_page(fail)
    with pytest.raises(gradio.Error) as shown:
        told(UserError("there is no sentence"))
    assert shown.value.message == "there is no sentence"
    with pytest.raises(gradio.Error) as shown:
        told(RuntimeError("Traceback: secret/path"))
    assert "secret" not in shown.value.message
