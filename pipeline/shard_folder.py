"""Where the shards of a run lie."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.files import require
from pipeline.paths import Paths
from stackgan.mirror import mirror

if TYPE_CHECKING:
    from pipeline.params import Params

GIGABYTE = 10**9


def shard_folder(params: "Params", size: int) -> Path:
    """The folder to read shards of `size` from: the preset's own, or a mirror of that at the URL `runtime.shards`."""
    if params.runtime.shards is None:
        return require(Paths(params.preset).shards(size), made_by=f"shard@{size}")
    url = f"{params.runtime.shards.rstrip('/')}/{size}"
    return mirror(url, Paths.mirrors(), round(params.runtime.shards_room * GIGABYTE))
