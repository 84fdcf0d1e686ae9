"""Inception-v3 as papers use it for FID and IS: torch-fidelity's network with the weights of the TensorFlow original.

Optional: needs the extra `inception` and the weights file, which torch-fidelity publishes as
`weights-inception-2015-12-05-6726825d.pth`. Nothing is downloaded here.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stackgan.errors import UserError

BATCH_SIZE = 32
SPLITS = 10  # of the Inception score, as in Salimans et al. (2016)
RESIZE = "bilinear to 299 as TensorFlow 1 does it, without antialiasing"


class Inception:
    """A feature extractor: uint8 pictures [B, 3, H, W] to (pool features [B, 2048], class logits [B, 1008])."""

    def __init__(self, extractor: Any, device: torch.device | str = "cpu") -> None:
        self.extractor = extractor.to(device)
        self.device = device

    @torch.no_grad()
    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        parts = [self.extractor(batch.to(self.device)) for batch in images.split(BATCH_SIZE)]
        return torch.cat([part[0].cpu() for part in parts]), torch.cat([part[1].cpu() for part in parts])


def load(weights: Path, device: torch.device | str = "cpu") -> Inception:
    """Build the network with a weights file. A missing extra or a broken file is a `UserError`."""
    try:
        module = import_module("torch_fidelity.feature_extractor_inceptionv3")
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that was built for another torch
        raise UserError(
            f"evaluate.features is inception, but torch-fidelity cannot be imported ({error}): "
            "run `pip install -e '.[inception]'`, with the torchvision that belongs to your build of torch"
        ) from error
    try:
        # torch-fidelity itself would unpickle anything; what passes here holds tensors alone.
        torch.load(weights, map_location="cpu", weights_only=True)
        extractor = module.FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights)
        )
    except Exception as error:  # torch has no common error for files cut short, garbage and foreign pickles
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise UserError(f"{weights} holds no Inception weights of torch-fidelity's ({reason})") from error
    return Inception(extractor, device)


def inception_score(logits: Tensor, splits: int = SPLITS) -> tuple[float, float]:
    """IS: exp of the mean KL(p(y|x) ‖ p(y)) over pictures, [N, 1008] logits in `splits` parts: mean and deviation.

    1 is worst, the number of classes best. It rewards confident and varied ImageNet classes, not birds that look real
    (Salimans et al., 2016); papers on CUB often use a network fine-tuned on birds, whose scale is another.
    """
    scores = []
    for part in logits.double().chunk(min(splits, len(logits))):
        log_p = part.log_softmax(1)
        log_marginal = log_p.logsumexp(0) - torch.tensor(len(part)).log()
        scores.append((log_p.exp() * (log_p - log_marginal)).sum(1).mean().exp())
    values = torch.stack(scores)
    return float(values.mean()), float(values.std(correction=0))
