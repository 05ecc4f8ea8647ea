"""Measures how fast a run trains, and on what; `dla compare` gives it to each run."""

import json
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from dla.compare.runs import MACHINES
from dla.files import write_text
from dla.machine import device_name, now, versions


class Stopwatch(Callback):
    """Logs `time/images_per_second`, of training alone, and `time/seconds`, of the epoch with its validation.

    Writes `machines.json` to the run's folder: device, threads, versions, where the data lies and how many images there
    are; once for all starts of the run that agree.

    Args:
        classes: that the data must have.
        image_size: side of its images, in pixels.
    """

    def __init__(self, classes: int, image_size: int) -> None:
        self.said = {"classes": classes, "image_size": image_size}
        self.begun = self.validation_begun = 0.0
        self.validated = 0.0  # seconds of this epoch that went into validation
        self.images = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write down the machine.

        Raises:
            ValueError: the data has other classes, or images of another size, than the study says.
        """
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        has = {"classes": data.num_classes, "image_size": getattr(data, "crop", self.said["image_size"])}
        for name, found in has.items():
            if found != self.said[name]:
                raise ValueError(f"the study says {name}: {self.said[name]}, and its data has {found}: mend the study")
        if trainer.is_global_zero:
            path, machine = Path(trainer.default_root_dir, MACHINES), _machine(trainer)
            before = json.loads(path.read_text(encoding="utf-8")) if trainer.current_epoch and path.exists() else []
            write_text(path, json.dumps(before if machine in before else [*before, machine], indent=1))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self.begun, self.validated, self.images = now(trainer.strategy.root_device), 0.0, 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, i: int
    ) -> None:
        """Count the batch."""
        self.images += len(batch["image"]) * trainer.world_size

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training stops here."""
        self.validation_begun = now(trainer.strategy.root_device)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """And goes on."""
        self.validated += now(trainer.strategy.root_device) - self.validation_begun

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's times."""
        seconds = now(trainer.strategy.root_device) - self.begun
        speed = self.images / (seconds - self.validated)
        pl_module.log_dict({"time/seconds": seconds, "time/images_per_second": speed}, sync_dist=True)


def _machine(trainer: Trainer) -> dict[str, Any]:
    device = trainer.strategy.root_device
    data = trainer.datamodule  # type: ignore[attr-defined]
    val, root = data.val_dataloader(), getattr(data, "root", None)
    packages = ("torch", "lightning", "timm", "deep-layer-aggregation")
    return {
        "device": device_name(device),
        "devices": trainer.world_size,
        "threads": torch.get_num_threads(),
        "precision": str(trainer.precision),
        "root": root and str(root),
        "versions": versions(packages),
        "train_images": trainer.num_training_batches * _images_a_batch(trainer, trainer.train_dataloader),
        # Lightning knows the number of batches from its sanity check on, which a study may leave out.
        "val_images": min(len(val.dataset), (sum(trainer.num_val_batches) or len(val)) * _images_a_batch(trainer, val)),
    }


def _images_a_batch(trainer: Trainer, loader: Any) -> int:
    """Of all processes together."""
    return int(loader.batch_size * trainer.world_size)
