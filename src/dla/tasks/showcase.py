"""What a run shows: what it is about to do, a table of what was measured, and pictures of its data and predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from PIL import Image
from rich.console import Console
from rich.table import Table

from dla.costs import parameters
from dla.data.base import SetData
from dla.files import atomic_write
from dla.tasks.precision import slow_precision
from dla.tasks.say import say

NAMED = 12  # classes of a set before training


class Showcase(Callback):
    """Prints a table whenever measuring ends; writes to the run's folder `training.png` first, `examples.png` last.

    A subclass says how the table and the pictures are made. One that finds nothing to print or draw returns None.
    """

    def __init__(self) -> None:
        self.began = False
        self.measured_epoch: int | None = None  # counted from 0, after which `fit` last measured

    def table(self, trainer: Trainer, values: dict[str, float], title: str) -> Table | None:
        """The table of the metrics `values`, named without their split."""
        raise NotImplementedError

    def samples(self, data: Any) -> Image.Image | None:
        """Some training images of the data module as the network gets them, and their truth."""
        raise NotImplementedError

    def picture(self, data: Any, model: LightningModule) -> Image.Image | None:
        """Some validation images of the data module and what the network makes of them."""
        raise NotImplementedError

    def leave(self, trainer: Trainer, model: Any, split: str) -> None:
        """Write to the run's folder what the table of a split cannot hold."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what is trained, and where the results go."""
        self.began = True
        data = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, SetData):
            say(trainer, ", ".join(map(data.holds, data.sets)))
            say(trainer, listed(data.classes))
        say(
            trainer,
            f"{pl_module.network}, {parameters(pl_module) / 1e6:.1f} M parameters, "
            f"{trainer.num_training_batches} batches an epoch, {pl_module.device}, "
            f"precision {trainer.precision}; results in {trainer.default_root_dir}",
        )
        if slow := slow_precision(str(trainer.precision), pl_module.device):
            say(trainer, f"note: {slow}")
        if isinstance(data, SetData) and self._draws(trainer):
            self._save(trainer, self.samples(data), "training.png", "some training images, augmented, and their truth")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print and draw what the last epoch's network does."""
        if pl_module.monitor not in trainer.callback_metrics:
            say(trainer, "nothing was measured: validation is switched off, or the run ended before it")
            return
        self._print(trainer, "val", f"validation, {self._when(trainer)}")
        for callback in trainer.checkpoint_callbacks:
            best: Any = getattr(callback, "best_model_score", None)
            if getattr(callback, "monitor", None) == pl_module.monitor and best is not None and best.isfinite():
                where = callback.best_model_path  # type: ignore[attr-defined]
                say(trainer, f"best: {100 * float(best):.1f} % {pl_module.headline}, {where}")
        data = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, SetData) and self._draws(trainer):
            with torch.no_grad():
                picture = self.picture(data, pl_module.eval())
            self._save(trainer, picture, "examples.png", "some validation images and what the network makes of them")
        self._leave(trainer, pl_module, "val")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so where a run that went on had nothing left to do."""
        if not self.began:
            epochs = f"{trainer.current_epoch} of {trainer.max_epochs} epochs are done"
            say(trainer, f"nothing to train: {epochs}; for more, raise --trainer.max_epochs")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print what `validate` measured."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.measured_epoch = trainer.current_epoch
        if trainer.state.fn == "validate":
            self._print(trainer, "val", "validation")
            self._leave(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print what `test` measured."""
        self._print(trainer, "test", "test")
        self._leave(trainer, pl_module, "test")

    @torch.no_grad()
    def _leave(self, trainer: Trainer, model: Any, split: str) -> None:
        if model.measured and self._draws(trainer):
            Path(trainer.default_root_dir).mkdir(parents=True, exist_ok=True)
            self.leave(trainer, model, split)

    def _when(self, trainer: Trainer) -> str:
        """The epoch of what is shown; a run that is stopped by its time ends behind it."""
        done = trainer.current_epoch
        measured = done if self.measured_epoch is None else self.measured_epoch + 1
        return "last epoch" if measured >= done else f"epoch {measured} of {done}"

    def _print(self, trainer: Trainer, split: str, title: str) -> None:
        prefix = f"{split}/"
        logged = trainer.callback_metrics.items()
        values = {name.removeprefix(prefix): float(value) for name, value in logged if name.startswith(prefix)}
        table = self.table(trainer, values, title)
        if trainer.is_global_zero and table:
            Console().print(table)

    @staticmethod
    def _draws(trainer: Trainer) -> bool:
        return trainer.is_global_zero and not trainer.fast_dev_run  # type: ignore[attr-defined]

    @staticmethod
    def _save(trainer: Trainer, picture: Image.Image | None, name: str, what: str) -> None:
        if picture is None:
            return
        path = Path(trainer.default_root_dir, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            picture.save(partial)
        say(trainer, f"{what}: {path}")


def listed(classes: Sequence[str]) -> str:
    """How many classes there are, and the names of the first ones."""
    others = f" and {len(classes) - NAMED} others" if len(classes) > NAMED else ""
    return f"{len(classes)} classes: {', '.join(classes[:NAMED])}{others}"
