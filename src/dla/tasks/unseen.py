"""Classes that no training image holds, said while there is time to mend the annotations."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from dla.data.sample import IGNORE_INDEX
from dla.tasks.say import say


class UnseenClasses(Callback):
    """Looks which classes the masks of the first epoch hold, and warns of those that are missing.

    Such a class is never learned, and where validation lacks it too, the mean of the others looks perfect. Masks of 0
    and 255, in which the object is what is void here, are the usual cause.
    """

    def __init__(self) -> None:
        self.seen: Tensor | None = None  # of each class, then of void

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the masks of the first epoch, and warn behind its last batch; before, no number is fetched.

        Not at the epoch's end, where processes ask each other for other things: the one that shows progress for the
        mean loss, before it comes to this.
        """
        if trainer.current_epoch:
            return
        values = [*range(pl_module.num_classes), IGNORE_INDEX]  # type: ignore[arg-type]
        here = torch.stack([(batch["mask"] == value).any() for value in values])
        self.seen = here if self.seen is None else self.seen | here
        if trainer.is_last_batch:
            self._warn(trainer, pl_module, self.seen)

    def _warn(self, trainer: Trainer, pl_module: LightningModule, here: Tensor) -> None:
        every: Any = trainer.strategy.reduce(here.int(), reduce_op="max")  # of all processes
        *seen, void = every.tolist()
        names: Any = pl_module.data_facts().get("classes", range(len(seen)))  # type: ignore[operator]
        missing = [str(name) for name, found in zip(names, seen, strict=True) if not found]
        if missing:
            cause = "; where masks hold 0 and 255, which means void, give --data.values '[0, 255]'" if void else ""
            say(
                trainer, f"warning: no pixel of the first epoch is {' or '.join(missing)}: check the annotations{cause}"
            )
