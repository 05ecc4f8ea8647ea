"""How well each image of a split is segmented, over batches and processes."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multiclass_confusion_matrix
from torchmetrics.utilities import dim_zero_cat

from dla.data.sample import IGNORE_INDEX


class Segmented(NamedTuple):
    """An image: its index in the split, mean IoU of the classes that occur or are predicted, and pixel accuracy."""

    image: int
    iou: float
    accuracy: float


class ImageIoU(Metric):
    """Mean IoU and pixel accuracy of each image; one of which no pixel counts is left out.

    Args:
        num_classes: How many there are.
    """

    full_state_update = False
    rows: list[Tensor]

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("rows", [], dist_reduce_fx="cat")

    def update(self, classes: Integer[Tensor, "b h w"], masks: Int[Tensor, "b h w"], index: Int[Tensor, " b"]) -> None:
        """Add a batch."""
        images = zip(index, classes, masks, strict=True)
        self.rows.append(torch.stack([torch.stack([number, *self._score(*pair)]) for number, *pair in images]))

    def compute(self) -> list[Segmented]:
        """The images, worst first."""
        rows = dim_zero_cat(self.rows).tolist()
        kept = sorted((row for row in rows if row[2] == row[2]), key=lambda row: (row[1], row[0]))
        return [Segmented(int(image), iou, accuracy) for image, iou, accuracy in kept]

    def _score(self, classes: Integer[Tensor, "h w"], mask: Int[Tensor, "h w"]) -> tuple[Float[Tensor, ""], ...]:
        options: dict[str, Any] = {"ignore_index": IGNORE_INDEX, "validate_args": False}
        counts = multiclass_confusion_matrix(classes, mask, self.num_classes, **options).float()
        hits, either = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
        return (hits / either).nanmean(), hits.sum() / counts.sum()
