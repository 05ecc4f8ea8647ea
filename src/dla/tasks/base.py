"""What every job shares: the network by name, its optimizer and schedule, and what a checkpoint says of it."""

import os
import re
from typing import Any, Literal

import torch
from lightning import LightningModule
from torch import Tensor

from dla.data.sampling import draw_seed
from dla.models import create_model
from dla.tasks.schedules import Schedule, rate_factor
from dla.weights import load_weights

Batch = dict[str, Any]
"""Tensors by name; what annotators drew of an image comes as a list, since their number differs."""


class Task(LightningModule):
    """Builds a network and trains all of it with one optimizer; a subclass gives the loss and the metrics.

    Args:
        network: Name of a network (`dla models` lists them); with a dot and a tag it starts from those weights.
        backbone: Name of a timm model or of one of ours, whose maps `structure` fuses; takes the place of `network`.
        structure: What fuses the maps of `backbone`: ida, dla_up, fcn, fpn or unet.
        options: Further options of the network, such as out_stride or out_channels, as `create_model` takes them.
        num_classes: Given by the data.
        weights: File of weights to start from: of the whole network, or of its classifier.
        new_head: Do not take the head from these weights, because the classes are others.
        drop_path_rate: Stochastic depth of the last block.
        grad_checkpointing: Less memory for more time.
        optimizer: sgd, as the authors trained, or adamw, which gets further in a short run (lr 0.003).
        lr: Learning rate of the first epoch.
        momentum: Of SGD.
        weight_decay: Of all parameters.
        schedule: Poly, step or constant, once an epoch.
        power: Of the poly schedule.
        milestones: Epochs at which the step schedule multiplies the rate with gamma.
        gamma: See milestones.
        warmup: Epochs over which the rate rises at the start.
    """

    kind: str  # what a checkpoint says it does: "segmentation", "boundaries" or "classification"
    monitor: str  # the metric that tells the best checkpoint, the higher the better
    headline: str  # the same in words

    def __init__(
        self,
        *,
        network: str,
        backbone: str | None = None,
        structure: str = "ida",
        options: dict[str, Any] | None = None,
        num_classes: int,
        weights: str | None = None,
        new_head: bool = False,
        drop_path_rate: float = 0.0,
        grad_checkpointing: bool = False,
        optimizer: Literal["sgd", "adamw"] = "sgd",
        lr: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        schedule: Schedule = "poly",
        power: float = 0.9,
        milestones: list[int] | None = None,
        gamma: float = 0.1,
        warmup: int = 0,
    ) -> None:
        super().__init__()
        self.network = f"{backbone}+{structure}" if backbone else network
        self.num_classes, self.options = num_classes, options or {}
        self.optimizer, self.lr, self.momentum, self.weight_decay = optimizer, lr, momentum, weight_decay
        self.schedule: dict[str, Any] = {
            "schedule": schedule,
            "power": power,
            "milestones": milestones or [],
            "gamma": gamma,
            "warmup": warmup,
        }
        model: Any = create_model(
            self.network,
            pretrained="." in self.network,
            num_classes=num_classes,
            drop_path_rate=drop_path_rate,
            **self.options,
        )
        if weights:
            load_weights(model, weights, new_head=new_head)
        model.set_grad_checkpointing(grad_checkpointing)
        self.model = model.to(memory_format=torch.channels_last)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimizer over all parameters alike, as the authors had it."""
        if self.optimizer == "adamw":
            return torch.optim.AdamW(self.parameters(), self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(self.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)

    def on_train_epoch_start(self) -> None:
        """Set this epoch's learning rate."""
        lr = self.lr * rate_factor(self.current_epoch, self.trainer.max_epochs or -1, **self.schedule)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = lr
        self.log("train/lr", lr, sync_dist=True)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the random state, so that a step drops the same paths whether or not the run was resumed before it."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))  # of Lightning's `seed_everything`
        torch.manual_seed(draw_seed(seed + self.global_rank, self.current_epoch, batch_idx))

    @property
    def measuring(self) -> bool:
        """Whether this is `validate`; `trainer.validating` also holds within `fit`, between its epochs."""
        return self.trainer.state.fn == "validate"

    def log_loss(self, loss: Tensor, batch: Batch) -> Tensor:
        """Log the training loss, averaged over the epoch, and return it."""
        count = len(batch["image"])
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=count, sync_dist=True)
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to use the network without this class."""
        checkpoint["dla"] = {
            "task": self.kind,
            "model": re.sub(r"\.[^+]*", "", self.network),  # the tag names weights that are trained away by now
            "options": self.options,
            "num_classes": self.num_classes,
            **self.data_facts(),
        }

    def data_facts(self) -> dict[str, Any]:
        """What the data module says of its classes and of how images are normalised; nothing without one."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if data is None:
            return {}
        facts = {"classes": list(data.classes), "mean": list(data.mean), "std": list(data.std)}
        return facts | ({"colors": [list(color) for color in data.colors]} if hasattr(data, "colors") else {})
