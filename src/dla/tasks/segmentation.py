"""Semantic segmentation as a job: loss, optimizer, schedule, metrics (Section 4.2 and the authors' recipes)."""

import os
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from lightning import LightningModule
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from dla.data.sample import IGNORE_INDEX
from dla.data.sampling import draw_seed
from dla.inference import predict_probabilities
from dla.models import DensePredictor, create_model
from dla.tasks.schedules import Schedule, rate_factor
from dla.tasks.showcase import Showcase
from dla.weights import load_weights

Batch = dict[str, Tensor]


class SegmentationTask(LightningModule):
    """Trains a dense predictor with cross-entropy; measures IoU per class, mean IoU and pixel accuracy.

    Args:
        network: Name of a dense predictor, such as dla34up; dla46_cup.camvid starts from those weights.
        num_classes: Given by the data.
        weights: File of weights to start from: of the whole network, or of its classifier.
        new_head: Do not take the head from these weights, because the classes are others.
        drop_path_rate: Stochastic depth of the last block.
        grad_checkpointing: Less memory for more time.
        class_weights: Weight of each class in the loss; null for equal weights.
        optimizer: sgd, as the authors trained, or adamw, which gets further in a short run (lr 0.003).
        lr: Learning rate of the first epoch.
        momentum: Of SGD.
        weight_decay: Of all parameters.
        schedule: Poly, step or constant, once an epoch.
        power: Of the poly schedule.
        milestones: Epochs at which the step schedule multiplies the rate with gamma.
        gamma: See milestones.
        warmup: Epochs over which the rate rises at the start.
        test_scales: Sizes of the image over which `validate` and `test` average.
        test_flip: Average over mirrored images as well, in `validate` and `test`.
        window: Side in pixels of the windows that `validate` and `test` cut large images into; null for none.
    """

    monitor = "val/miou"  # what tells the best checkpoint

    def __init__(
        self,
        *,
        network: str = "dla34up",
        num_classes: int,
        weights: str | None = None,
        new_head: bool = False,
        drop_path_rate: float = 0.0,
        grad_checkpointing: bool = False,
        class_weights: list[float] | None = None,
        optimizer: Literal["sgd", "adamw"] = "sgd",
        lr: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        schedule: Schedule = "poly",
        power: float = 0.9,
        milestones: list[int] | None = None,
        gamma: float = 0.1,
        warmup: int = 0,
        test_scales: list[float] | None = None,
        test_flip: bool = False,
        window: int | None = None,
    ) -> None:
        super().__init__()
        if class_weights is not None and len(class_weights) != num_classes:
            raise ValueError(f"class_weights must name {num_classes} weights, one per class, not {len(class_weights)}")
        self.network, self.num_classes = network, num_classes
        self.optimizer, self.lr, self.momentum, self.weight_decay = optimizer, lr, momentum, weight_decay
        self.schedule: dict[str, Any] = {
            "schedule": schedule,
            "power": power,
            "milestones": milestones or [],
            "gamma": gamma,
            "warmup": warmup,
        }
        self.inference: dict[str, Any] = {"scales": test_scales or [1.0], "flip": test_flip, "window": window}
        model = create_model(network, pretrained="." in network, num_classes=num_classes, drop_path_rate=drop_path_rate)
        if not isinstance(model, DensePredictor):
            raise ValueError(f"{network} classifies whole images; {network}up gives a class to each pixel")
        if weights:
            load_weights(model, weights, new_head=new_head)
        model.set_grad_checkpointing(grad_checkpointing)
        self.model = model.to(memory_format=torch.channels_last)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", torch.tensor(class_weights) if class_weights else None, persistent=False)
        # The readers have checked the labels; to check again means to wait for the device at every batch.
        options: dict[str, Any] = {"num_classes": num_classes, "ignore_index": IGNORE_INDEX, "validate_args": False}
        self.metrics = MetricCollection(
            {
                "iou": MulticlassJaccardIndex(average="none", zero_division=float("nan"), **options),
                "accuracy": MulticlassAccuracy(average="micro", **options),
            }
        )

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        """Logits of every pixel."""
        return self.model(images.contiguous(memory_format=torch.channels_last))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        loss = pixel_loss(self(batch["image"]), batch["mask"], self.class_weights)
        self.log(
            "train/loss",
            loss,
            on_step=False,
            on_epoch=True,
            prog_bar=True,
            batch_size=len(batch["mask"]),
            sync_dist=True,
        )
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count pixels: in `fit` on the plain image, in `validate` with the test-time options."""
        if self.trainer.validating:
            self.test_step(batch, batch_idx)
        else:
            self.metrics.update(self(batch["image"]).argmax(1), batch["mask"])

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count pixels, over the scales, flips and windows asked for."""
        probabilities = predict_probabilities(self, batch["image"], **self.inference)
        self.metrics.update(probabilities.argmax(1), batch["mask"])

    def on_validation_epoch_end(self) -> None:
        """Log what was counted."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log what was counted."""
        self._log_metrics("test")

    def _log_metrics(self, split: str) -> None:
        values = self.metrics.compute()
        self.metrics.reset()
        names = self._data_facts().get("classes", range(self.num_classes))
        ious = {f"{split}/iou/{name}": iou for name, iou in zip(names, values["iou"], strict=True)}
        self.log(f"{split}/miou", values["iou"].nanmean(), prog_bar=True, sync_dist=True)
        self.log_dict({f"{split}/accuracy": values["accuracy"], **ious}, sync_dist=True)

    def configure_callbacks(self) -> Showcase:
        """Show results when a run ends."""
        return Showcase()

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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to use the network without this class."""
        checkpoint["dla"] = {
            "model": self.network.partition(".")[0],
            "num_classes": self.num_classes,
            **self._data_facts(),
        }

    def _data_facts(self) -> dict[str, Any]:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if data is None:
            return {}
        return {
            "classes": list(data.classes),
            "colors": [list(color) for color in data.colors],
            "mean": list(data.mean),
            "std": list(data.std),
        }


def pixel_loss(
    logits: Float[Tensor, "b k h w"], mask: Int[Tensor, "b h w"], weight: Float[Tensor, " k"] | None
) -> Float[Tensor, ""]:
    """Cross-entropy, averaged over the pixels that count; 0, and not a quotient of zeros, where none does."""
    total = F.cross_entropy(logits.float(), mask, weight, ignore_index=IGNORE_INDEX, reduction="sum")
    counted = mask != IGNORE_INDEX
    # No boolean indexing here: its size is not known before the device has caught up.
    counts = counted.to(total) if weight is None else weight[mask.where(counted, 0)] * counted
    return total / counts.sum().clamp(min=torch.finfo(total.dtype).tiny)
