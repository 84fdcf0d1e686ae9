"""How long each stage took on this machine when `dvc repro` last ran it whole: what `doctor` can honestly promise.

Kept in .cache/durations.json, seconds by preset and stage; Git and DVC know nothing of it.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.files import write_json
from pipeline.paths import Paths, project_root
from stackgan.errors import UserError

Seconds = dict[str, float]


@contextmanager
def recorded(command: str, preset: str) -> Iterator[None]:
    """Record how long the block takes if DVC runs it as a stage and it ends well.

    A run by hand may try other parameters, and one that finds a checkpoint may do only the rest: neither counts.
    """
    stage = os.environ.get("DVC_STAGE")
    before = [each for each in Paths.checkpoints(command, "").glob("*") if each.is_dir()]
    start = time.monotonic()
    yield
    resumed = not all(checkpoint.exists() for checkpoint in before)  # a stage removes its own, and no other's
    if stage and not resumed:
        known = _read()
        known.setdefault(preset, {})[stage] = round(time.monotonic() - start, 1)
        with suppress(OSError, UserError):  # a note for `doctor` is no reason to call a finished stage failed
            write_json(_file(), known)


def of_stages(preset: str) -> Seconds:
    """Seconds by DVC's name of the stage, as in shard@64; empty where no stage of the preset ran yet."""
    return _read().get(preset, {})


def _read() -> dict[str, Seconds]:
    try:
        known: dict[str, Seconds] = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    return known


def _file() -> Path:
    return project_root() / ".cache" / "durations.json"
