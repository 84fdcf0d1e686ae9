"""Which shipped model a command uses."""

from pathlib import Path

from pipeline import params
from pipeline.paths import Paths
from stackgan.errors import UserError


def model_folder(given: Path | None) -> Path:
    """The folder given, or else models/<preset>/stackgan of the project in the current folder."""
    if given is not None:
        return given
    if not params.PARAMS.exists():
        raise UserError("there is no params.yaml here that names a model: give its folder, --model FOLDER")
    return Paths(params.load().preset).stackgan
