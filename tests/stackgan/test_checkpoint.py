from pathlib import Path
from typing import Any, cast

import pytest
import torch

from stackgan.checkpoint import (
    CONFIG,
    DISCRIMINATOR,
    GENERATOR,
    StageCard,
    load_card,
    load_discriminator,
    load_stage1,
    read_stage2,
    save_stage,
)
from stackgan.errors import UserError
from stackgan.networks import Discriminator, Stage1Generator, Stage2Generator
from tests.stackgan.recipes import network

T = 16


def _folder(path: Path, stage: int) -> tuple[Stage1Generator | Stage2Generator, Discriminator]:
    stage1 = Stage1Generator(network(), T)
    generator = stage1 if stage == 1 else Stage2Generator(network(), T, stage1)
    generator(torch.randn(4, T), torch.randn(4, network().noise_dim))  # moves the batch-norm statistics
    discriminator = Discriminator(network(), T, 64 if stage == 1 else 256)
    path.mkdir()
    card = StageCard(stage=stage, embedding_dim=T, network=network())
    cast("Any", generator).to(memory_format=torch.channels_last)
    save_stage(path, card, generator, discriminator)
    return generator.eval(), discriminator.eval()


def test_both_stages_come_back_from_their_folders(tmp_path: Path) -> None:
    embedding, noise = torch.randn(2, T), torch.randn(2, network().noise_dim)
    for stage in (1, 2):
        folder = tmp_path / f"stage{stage}"
        generator, discriminator = _folder(folder, stage)
        if isinstance(generator, Stage2Generator):
            loaded: Stage1Generator | Stage2Generator = read_stage2(
                folder / GENERATOR, load_card(folder, 2), generator.stage1
            )
        else:
            loaded = load_stage1(folder)
        assert not loaded.training
        assert not any(parameter.requires_grad for parameter in loaded.parameters())
        image = generator(embedding, noise).image
        assert torch.allclose(loaded(embedding, noise).image, image, atol=1e-6)
        logits = discriminator(image, embedding).conditional[0]
        assert torch.allclose(load_discriminator(folder)(image, embedding).conditional[0], logits, atol=1e-5)


def test_stage2s_file_does_not_repeat_stage1(tmp_path: Path) -> None:
    _folder(tmp_path / "stage2", 2)
    assert b"stage1." not in (tmp_path / "stage2" / GENERATOR).read_bytes()


def test_equal_weights_make_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        torch.manual_seed(0)
        _folder(tmp_path / name, 1)
    for file in (CONFIG, GENERATOR, DISCRIMINATOR):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_damaged_and_foreign_folders_are_named(tmp_path: Path) -> None:
    _folder(tmp_path / "stage1", 1)
    with pytest.raises(UserError, match=r"nowhere/config\.json is missing"):
        load_stage1(tmp_path / "nowhere")
    with pytest.raises(UserError, match="describes Stage 1 where Stage 2"):
        load_card(tmp_path / "stage1", 2)
    card = StageCard(stage=1, embedding_dim=T + 1, network=network())
    (tmp_path / "stage1" / CONFIG).write_text(card.model_dump_json())
    with pytest.raises(UserError, match="does not fit"):
        load_stage1(tmp_path / "stage1")
    (tmp_path / "stage1" / GENERATOR).write_bytes(b"cut short")
    with pytest.raises(UserError, match="is no readable weights file"):
        load_stage1(tmp_path / "stage1")
    (tmp_path / "stage1" / CONFIG).write_text("{}")
    with pytest.raises(UserError, match=r"is no model's config"):
        load_stage1(tmp_path / "stage1")
