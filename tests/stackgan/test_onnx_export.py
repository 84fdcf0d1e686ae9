"""ONNX Runtime draws what PyTorch draws."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stackgan import onnx_export
from stackgan.errors import UserError
from stackgan.model import STAGES, StackGAN
from stackgan.networks import STAGE_SIZES
from tests.stackgan.test_model import CAPTIONS, make_model, make_parts


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> StackGAN:
    parts = make_parts(tmp_path_factory.mktemp("parts"))
    return StackGAN.from_pretrained(make_model(parts, tmp_path_factory.mktemp("model")), "cpu")


@pytest.mark.parametrize("stage", STAGES)
def test_the_pictures_agree_for_any_batch(model: StackGAN, stage: int, tmp_path: Path) -> None:
    for package in onnx_export.PACKAGES:
        pytest.importorskip(package, reason="the extra `onnx` is not installed")
    import onnx
    import onnxruntime

    path = tmp_path / f"stage{stage}.onnx"
    assert onnx_export.export(model, stage, path) <= onnx_export.TOLERANCE
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["embedding", "noise"]
    for count in (1, 2, 5):
        embedding, noise = model.encode((2 * CAPTIONS)[:count]), model.noise(count, seed=count)
        (image,) = session.run(None, {"embedding": embedding.numpy(), "noise": noise.numpy()})
        assert image.shape == (count, 3, STAGE_SIZES[stage], STAGE_SIZES[stage])
        with torch.no_grad():
            expected = model.generators[stage](embedding, noise).image.numpy()
        assert expected.std() > 0.001
        assert np.abs(image - expected).max() < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == [path.name]


def test_without_the_extra_it_says_how_to_install_it(
    model: StackGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(UserError, match=r"no_such_package: run `pip install -e '\.\[onnx\]'`"):
        onnx_export.export(model, 1, tmp_path / "stage1.onnx")
    assert not list(tmp_path.iterdir())
