"""Where the Inception weights of `evaluate.features: inception` come from: a path, or a URL that is fetched once."""

import urllib.error
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

import torch

from pipeline.evaluate_config import EvaluateConfig
from pipeline.files import atomic_file, sha256
from pipeline.paths import Paths
from stackgan.errors import UserError


def find_weights(config: EvaluateConfig) -> Path:
    """The weights file, fetched if need be, with the checksum that the params give (if they give one)."""
    source = config.inception_weights
    if source is None:
        raise UserError(
            "evaluate.features is inception: give evaluate.inception_weights, the path or URL of torch-fidelity's "
            "weights-inception-2015-12-05-6726825d.pth"
        )
    path = _fetched(source) if urlparse(source).scheme in ("http", "https") else Path(source)
    if not path.is_file():
        raise UserError(f"evaluate.inception_weights: there is no file {path}")
    if config.inception_sha256 and (found := sha256(path)) != config.inception_sha256:
        raise UserError(f"{path}: SHA-256 is {found}, not evaluate.inception_sha256: delete it or correct the params")
    return path


def _fetched(url: str) -> Path:
    path = Paths.downloads() / PurePosixPath(urlparse(url).path).name
    if not path.exists():
        try:
            with atomic_file(path) as temporary:
                torch.hub.download_url_to_file(url, str(temporary))
        except (urllib.error.URLError, OSError) as error:
            raise UserError(f"evaluate.inception_weights: {url} cannot be fetched ({error})") from error
    return path
