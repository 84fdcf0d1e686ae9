"""Where the Inception weights of `evaluate.features: inception` come from: a path, or a URL that is fetched once."""

import shutil
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse
from urllib.request import urlopen

from pipeline.evaluate_config import EvaluateConfig
from pipeline.files import atomic_file, sha256
from pipeline.paths import Paths, project_root
from stackgan.errors import UserError

TIMEOUT = 60  # seconds without a byte


def find_weights(config: EvaluateConfig) -> Path:
    """The weights file, fetched if need be, with the checksum that the params give (if they give one)."""
    source = config.inception_weights
    if source is None:
        raise UserError(
            "evaluate.features is inception: give evaluate.inception_weights, the path or URL of torch-fidelity's "
            "weights-inception-2015-12-05-6726825d.pth"
        )
    # A queued experiment runs elsewhere; a relative path is one in the project.
    path = _fetched(source) if urlparse(source).scheme in ("http", "https") else project_root() / source
    if not path.is_file():
        raise UserError(f"evaluate.inception_weights: there is no file {path}")
    if config.inception_sha256 and (found := sha256(path)) != config.inception_sha256:
        raise UserError(f"{path}: SHA-256 is {found}, not evaluate.inception_sha256: delete it or correct the params")
    return path


def _fetched(url: str) -> Path:
    path = Paths.download(PurePosixPath(urlparse(url).path).name, url)
    if not path.exists():
        try:
            with urlopen(url, timeout=TIMEOUT) as response, atomic_file(path) as temporary:
                with temporary.open("wb") as file:
                    shutil.copyfileobj(response, file)
                expected = response.headers.get("Content-Length")
                if expected and temporary.stat().st_size != int(expected):
                    raise OSError(f"it ended before {expected} bytes had come")
        except (OSError, HTTPException) as error:
            raise UserError(f"evaluate.inception_weights: {url} cannot be fetched ({error})") from error
    return path
