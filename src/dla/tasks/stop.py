"""How SIGTERM ends a run of several processes: before one and the same step of all of them."""

import signal
import threading
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException


class StopTogether(Callback):
    """Ends training in several processes when SIGTERM comes to any of them, before a step that none has begun.

    Lightning's own handler asks the other processes from wherever it interrupts this one, and waits for them. Where
    they wait for this one at that moment, as for the checkpoint that it writes, all would wait for ever.
    """

    def __init__(self) -> None:
        self.asked = False

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM over from Lightning, which puts back at the end what was there before it."""
        if trainer.world_size > 1 and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._ask)

    on_train_start = on_sanity_check_start  # where there is no such check

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """End here, in all processes, if one was asked to.

        Raises:
            SIGTERMException: one was.
        """
        if trainer.world_size > 1 and trainer.strategy.reduce_boolean_decision(self.asked, all=False):
            raise SIGTERMException

    def _ask(self, *_: Any) -> None:
        self.asked = True
