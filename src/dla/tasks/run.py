"""A run's folder: resolved configuration, metrics, the best and the last checkpoint, a picture at the end."""

import os
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from dla.files import atomic_write


def loggers(root: str | os.PathLike[str]) -> list[Logger]:
    """A CSV of metrics and TensorBoard logs under `root`; a resumed run adds a version and overwrites nothing."""
    return [CSVLogger(root, name="metrics"), TensorBoardLogger(root, name="tensorboard")]


class RunCheckpoint(ModelCheckpoint):
    """Keeps `checkpoints/best.ckpt` and `checkpoints/last.ckpt` in the run's folder, written when an epoch ends.

    Args:
        monitor: Metric that tells which checkpoint is best.
        mode: "max" where more is better, "min" where less is.
    """

    def __init__(self, *, monitor: str = "val/miou", mode: str = "max") -> None:
        super().__init__(
            monitor=monitor,
            mode=mode,
            filename="best",
            save_last=True,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder, and refuse to overwrite another run's checkpoints."""
        self.dirpath = os.path.join(trainer.default_root_dir, "checkpoints")  # noqa: PTH118
        last = Path(self.dirpath, "last.ckpt")
        if stage == "fit" and last.exists() and trainer.ckpt_path is None:
            raise FileExistsError(
                f"{trainer.default_root_dir} holds a run already. Go on with it by --ckpt_path {last}, "
                "or choose another folder by --trainer.default_root_dir"
            )
        super().setup(trainer, pl_module, stage)


class SaveConfig(SaveConfigCallback):
    """Writes the resolved configuration to `config.yaml` in the run's folder."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, save_to_log_dir=False)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write it when training starts."""
        if stage != "fit":
            return
        root = Path(trainer.default_root_dir)
        root.mkdir(parents=True, exist_ok=True)
        with atomic_write(root / "config.yaml") as partial:
            self.parser.save(self.config, partial, skip_none=False, multifile=False)
