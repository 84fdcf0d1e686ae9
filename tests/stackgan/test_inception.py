"""Inception: what can be tried without its weights, which are no part of the project."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stackgan.errors import UserError
from stackgan.inception import inception_score, load


class Extractor(nn.Module):
    """In torch-fidelity's place: the same arguments, the same kind of answer."""

    def __init__(self, name: str, features_list: list[str], feature_extractor_weights_path: str) -> None:
        super().__init__()
        self.asked = features_list
        self.weight = torch.load(feature_extractor_weights_path, weights_only=True)["weight"]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        assert images.dtype == torch.uint8
        means = images.float().mean((2, 3)) @ self.weight
        return means, means * 2


@pytest.fixture
def extra(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Extractor
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.usefixtures("extra")
def test_features_come_in_batches_from_the_file_given(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(3, 4)}, tmp_path / "weights.pth")
    inception = load(tmp_path / "weights.pth")
    assert inception.extractor.asked == ["2048", "logits_unbiased"]
    images = torch.randint(0, 256, (70, 3, 8, 8), dtype=torch.uint8)
    pooled, classes = inception.look(images)
    assert pooled.shape == (70, 4)
    assert torch.allclose(pooled[:, 0], images.float().mean((2, 3)).sum(1), rtol=1e-4)
    assert torch.equal(classes, pooled * 2)


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize("content", [b"", b"no weights", b"\x80\x04cos\nsystem\n."])
def test_a_broken_or_unsafe_file_is_a_user_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(UserError, match="holds no Inception weights"):
        load(tmp_path / "weights.pth")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[inception\]'"):
        load(tmp_path / "weights.pth")


def test_inception_score_goes_from_one_to_the_number_of_classes() -> None:
    sure_and_varied = 50.0 * torch.eye(10).repeat(20, 1)
    assert inception_score(sure_and_varied) == pytest.approx((10, 0), abs=1e-3)
    assert inception_score(torch.zeros(200, 10)) == pytest.approx((1, 0), abs=1e-6)
    assert inception_score(50.0 * torch.eye(10)[:1].repeat(200, 1))[0] == pytest.approx(1, abs=1e-6)
