"""A run's folder: the resolved configuration, metrics, the best and the last checkpoint."""

from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from dla.files import atomic_write


def loggers(root: str) -> list[Logger]:
    """A CSV of metrics and TensorBoard logs under `root`; a resumed run adds a version and overwrites nothing."""
    return [CSVLogger(root, name="metrics"), TensorBoardLogger(root, name="tensorboard")]


def checkpoints(root: str, monitor: str) -> list[ModelCheckpoint]:
    """`checkpoints/last.ckpt`, of the end of each epoch, and `checkpoints/best.ckpt`, of the highest `monitor`."""
    folder = Path(root, "checkpoints")
    last = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    best = ModelCheckpoint(
        folder, "best", monitor, mode="max", save_on_train_epoch_end=False, enable_version_counter=False
    )
    return [last, best]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all.

    Lightning's own goes through the system's temporary folder; on another file system than the run's, moving from
    there is copying, and a process killed meanwhile leaves half of the only checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write beside `path`, then rename."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            torch.save(checkpoint, partial)


def refuse_second_run(root: str) -> None:
    """Raise FileExistsError where `root` holds a run, which a new one would overwrite."""
    last = Path(root, "checkpoints", "last.ckpt")
    if last.exists():
        raise FileExistsError(
            f"{root} already holds a run. Go on with it by `dla fit --config {root}/config.yaml --ckpt_path {last}`, "
            "or choose another folder by --trainer.default_root_dir"
        )


class SaveConfig(SaveConfigCallback):
    """Writes the resolved configuration to `config.yaml` in the run's folder when training starts."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write it whole or not at all."""
        if stage != "fit":
            return
        root = Path(trainer.default_root_dir)
        root.mkdir(parents=True, exist_ok=True)
        config = self.config.clone()
        config.ckpt_path = config.weights_only = None  # where a run went on from is not part of its recipe
        with atomic_write(root / "config.yaml") as partial:
            self.parser.save(config, partial, skip_none=False, multifile=False)
