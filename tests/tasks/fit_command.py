"""`dla fit` and its like with options by name, and what ends it early."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from lightning import Callback

from dla.cli import main

DLA = (sys.executable, "-m", "dla")


def words(options: dict[str, str], root: Path, *extra: str, command: str = "fit", **changes: str) -> list[str]:
    """The words behind `dla` for a run in the folder `root`; changes win over options."""
    given = {**options, "--trainer.default_root_dir": str(root), **changes}
    return [command, *(f"{key}={value}" for key, value in given.items()), *extra]


def fit_with(options: dict[str, str], root: Path, *extra: str, **changes: str) -> int:
    """Run that command in this process; its exit code."""
    return main(words(options, root, *extra, **changes))


class KilledError(Exception):
    """Stands for the end of the process."""


class Kill(Callback):
    """Ends training in the middle of an epoch, with no chance to write anything."""

    def __init__(self, epoch: int = 2, batch: int = 1) -> None:
        self.when = (epoch, batch)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Ends it."""
        if (trainer.current_epoch, batch_idx) == self.when:
            raise KilledError


class StopAwaited(Callback):
    """Sends SIGTERM to the first process, once the others wait for it."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Sends it in the second epoch."""
        if (trainer.current_epoch, batch_idx) == (1, 0):
            self._stop(trainer)

    def on_validation_batch_end(self, trainer: Any, *_: Any) -> None:
        """Sends it where nothing is trained."""
        if trainer.state.fn == "validate":
            self._stop(trainer)

    def _stop(self, trainer: Any) -> None:
        if trainer.is_global_zero:
            time.sleep(1)
            os.kill(os.getpid(), signal.SIGTERM)
        trainer.strategy.barrier()
