"""Semantic segmentation as a job: loss, optimizer, schedule, metrics (Section 4.2 and the authors' recipes)."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Integer
from lightning import Callback
from torch import Tensor

from dla.data.sample import IGNORE_INDEX
from dla.data.segmentation.balance import balanced
from dla.data.segmentation.base import SegmentationData
from dla.metrics.segmentation import SegmentationMetric, Segmented
from dla.tasks.base import Batch
from dla.tasks.dense import DenseTask, mean_over_processes
from dla.tasks.say import say
from dla.tasks.segmentation_showcase import SegmentationShowcase
from dla.tasks.unseen import UnseenClasses


class SegmentationTask(DenseTask):
    """Trains a dense predictor with cross-entropy; measures IoU per class, mean IoU and pixel accuracy.

    Args:
        network: Name of a dense predictor, such as dla34up; dla46_cup.camvid starts from those weights.
        num_classes: Given by the data.
        class_weights: Weight of each class in the loss, or "balanced", by which rare ones weigh more, as
            `dla.data.segmentation.balance` counts them in train; null for equal weights.
        **settings: Those of `DenseTask`, and the others of `Task`.
    """

    kind = "segmentation"
    monitor = "val/miou"
    headline = "mean IoU"

    def __init__(
        self,
        *,
        network: str = "dla34up",
        num_classes: int,
        class_weights: list[float] | Literal["balanced"] | None = None,
        **settings: Any,
    ) -> None:
        if num_classes < 2:
            raise ValueError(f"the data has {num_classes} class: name what is not of it, too, as [background, crack]")
        super().__init__(network=network, num_classes=num_classes, **settings)
        self.balances = class_weights == "balanced"
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", _as_weights(class_weights, num_classes), persistent=False)
        self.metric = SegmentationMetric(num_classes)
        self.measured: list[Segmented] = []

    def setup(self, stage: str) -> None:
        """As of `Task`; refuse to train on data whose classes cannot be counted, where they are to be balanced.

        Raises:
            ValueError: it names what does not go with the task.
        """
        super().setup(stage)
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if stage == "fit" and self.balances and not isinstance(data, SegmentationData):
            raise ValueError(
                f"class_weights is 'balanced', and {type(data).__name__} is no SegmentationData, whose pixels can be "
                "counted: give a weight for each class"
            )

    def on_train_start(self) -> None:
        """As of `Task`; weigh the classes, where they are to be balanced."""
        super().on_train_start()
        if self.balances:
            self._balance()

    def _balance(self) -> None:
        """Weigh the classes by how rare they are in train, of which each process counts its part."""
        strategy, data = self.trainer.strategy, self.trainer.datamodule  # type: ignore[attr-defined]
        here = data.count_pixels(self.global_rank, self.trainer.world_size).to(self.device)
        weights = balanced(strategy.reduce(here, reduce_op="sum").cpu())  # Apple's GPU has no float64
        self.class_weights = weights.to(self.device)
        lightest, heaviest = (f"{weights[k]:.2g} ({data.classes[k]})" for k in (weights.argmin(), weights.argmax()))
        say(self.trainer, f"classes weigh more in the loss the rarer they are, from {lightest} to {heaviest}")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        return self.log_loss(pixel_loss(self(batch["image"]), batch["mask"], self.class_weights), batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count pixels: in `fit` on the plain image, in `validate` with the test-time options."""
        self._count(self.classes(batch["image"], plain=not self.measuring), batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count pixels, over the scales, flips and windows asked for."""
        self._count(self.classes(batch["image"]), batch)

    def _count(self, classes: Integer[Tensor, "b h w"], batch: Batch) -> None:
        self.metric.update(classes, batch["mask"], batch.get("index"))  # a loader of one's own may have none

    def log_metrics(self, split: str) -> None:
        """Log what was counted."""
        iou, accuracy, images = self.metric.compute()
        self.metric.reset()
        self.measured = [] if self.trainer.sanity_checking else images
        if iou.isnan().all() and not self.trainer.sanity_checking:
            say(
                self.trainer,
                f"warning: no pixel of {split} counts, since all its annotations are void: check --data.void",
            )
        names = self.data_facts().get("classes", range(self.num_classes))
        each = {f"{split}/iou/{name}": value for name, value in zip(names, iou, strict=True)}
        self.log(f"{split}/miou", iou.nanmean(), prog_bar=True, sync_dist=True)
        self.log_dict({f"{split}/accuracy": accuracy, **each}, sync_dist=True)

    def configure_callbacks(self) -> list[Callback]:
        """Show results when a run ends, and warn of classes that never occur."""
        return [SegmentationShowcase(), UnseenClasses()]


def _as_weights(chosen: list[float] | str | None, count: int) -> Float[Tensor, " k"] | None:
    """The weights that were chosen; those that are to be balanced are all 1 until the pixels are counted."""
    if chosen is None:
        return None
    if chosen == "balanced":
        return torch.ones(count)
    if len(chosen) != count:
        raise ValueError(f"class_weights must name {count} weights, one per class, not {len(chosen)}")
    return torch.tensor(chosen)


def pixel_loss(
    logits: Float[Tensor, "b k h w"], mask: Int[Tensor, "b h w"], weight: Float[Tensor, " k"] | None
) -> Float[Tensor, ""]:
    """Cross-entropy, averaged over the pixels that count, of all processes; 0, and no quotient, where none does."""
    weight = None if weight is None else weight.float()  # in bf16-true it is in bfloat16, as all that a module has
    total = F.cross_entropy(logits.float(), mask, weight, ignore_index=IGNORE_INDEX, reduction="sum")
    counted = mask != IGNORE_INDEX
    # No boolean indexing here: its size is not known before the device has caught up.
    counts = counted.to(total) if weight is None else weight[mask.where(counted, 0)] * counted
    return total / mean_over_processes(counts.sum()).clamp(min=torch.finfo(total.dtype).tiny)
