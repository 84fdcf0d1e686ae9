"""Checkpoints of a training that may be killed at any moment.

They lie outside DVC's outs, in a folder named by the fingerprint of everything that determines the training, so that a
run finds its own checkpoint and never another's. Runs with the same fingerprint take turns.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from pipeline import console
from pipeline.files import atomic_file, claim, sha256
from pipeline.paths import Paths
from stackgan.errors import UserError

KEPT = 2

State = dict[str, Any]


def fingerprint(values: Mapping[str, Any], files: Iterable[Path]) -> str:
    """16 hexadecimal digits out of plain `values` and the content of `files`."""
    text = json.dumps([values, [sha256(file) for file in files]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Checkpoints:
    """The last two checkpoints of one run, newest first; a broken one counts as none.

    `claim` comes before all else, in the one process that saves.
    """

    def __init__(self, stage: str, fingerprint: str, seconds: float) -> None:
        self.folder = Paths.checkpoints(stage, fingerprint)
        self.seconds = seconds
        self._saved = time.monotonic()
        self._claimed = ExitStack()

    def claim(self) -> None:
        """Keep other runs out until `remove` or the end of the process; wait where another run is at work."""
        lock = self.folder.with_suffix(".lock")
        self._claimed.enter_context(claim(lock, f"with the same parameters and data holds {lock}"))

    def due(self) -> bool:
        return time.monotonic() - self._saved >= self.seconds

    def save(self, step: int, state: State) -> None:
        with atomic_file(self._path(step)) as temporary, temporary.open("wb") as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:
                if isinstance(error.__context__, OSError):  # what the disk said, before torch hid it
                    raise error.__context__ from None
                raise
        for old in self._newest_first()[KEPT:]:
            old.unlink(missing_ok=True)
        self._saved = time.monotonic()

    def load(self) -> State | None:
        """The newest checkpoint that can be read, on the CPU; None where there is none."""
        for path in self._newest_first():
            try:
                state: State = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # torch has no common error for files cut short, garbage and foreign pickles
                console.warn(f"checkpoint {path} cannot be read ({type(error).__name__}): going back to the one before")
            else:
                return state
        return None

    def restore(
        self, put: Callable[[State], None], share: Callable[[Callable[[], State | None]], State | None] | None = None
    ) -> bool:
        """Give the newest checkpoint to `put`; False where there is none. One that does not fit is a `UserError`.

        Where several processes train, `share` is given `load` and returns in each what it gave in the first.
        """
        state = share(self.load) if share else self.load()
        if state is None:
            return False
        try:
            put(state)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{self.folder}: the checkpoint does not fit this training ({type(error).__name__}: {reason}): "
                "delete the folder to begin anew"
            ) from error
        return True

    def remove(self) -> None:
        """Forget a run that has ended well."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._claimed.close()

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:09d}.pt"

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.pt"), reverse=True)
