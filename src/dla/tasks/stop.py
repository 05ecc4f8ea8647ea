"""How SIGTERM ends a run of several processes: training before one and the same step of all, measuring at once."""

import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException


class StopTogether(Callback):
    """Ends several processes when SIGTERM comes to any of them; training before a step that none has begun.

    Lightning's own handler asks the other processes from wherever it interrupts this one, and waits for them. Where
    they wait for this one at that moment, as for the checkpoint that it writes, all would wait for ever.
    """

    def __init__(self) -> None:
        self.asked = False

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM over from Lightning, which puts back at the end what was there before it."""
        _take_over(trainer, self._ask)

    on_train_start = on_sanity_check_start  # where there is no such check

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take it over where nothing is trained, and so nothing is lost by an end at once."""
        if trainer.state.fn != "fit":
            _take_over(trainer, partial(_end, trainer))

    on_test_start = on_validation_start

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """End here, in all processes, if one was asked to.

        Raises:
            SIGTERMException: one was.
        """
        if trainer.world_size > 1 and trainer.strategy.reduce_boolean_decision(self.asked, all=False):
            raise SIGTERMException

    def _ask(self, *_: Any) -> None:
        self.asked = True


def _take_over(trainer: Trainer, handler: Callable[..., None]) -> None:
    if trainer.world_size > 1 and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _end(trainer: Trainer, signum: int, _: Any) -> None:
    """End this process and those that it has started; of others, what started them sees to it."""
    if trainer.strategy.launcher is not None:
        trainer.strategy.launcher.kill(signum)
    raise SIGTERMException
