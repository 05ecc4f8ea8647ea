"""How well a split is segmented, all of it and each image, from pixels that are counted once."""

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


class Segmentation(NamedTuple):
    """A split: IoU of each class over all pixels, pixel accuracy, and the images, those of the lowest IoU first.

    The IoU of a class that neither occurs nor is predicted is NaN: take the `nanmean`.
    """

    iou: Float[Tensor, " k"]
    accuracy: Float[Tensor, ""]
    images: list[Segmented]


class SegmentationMetric(Metric):
    """IoU of each class and pixel accuracy, of all pixels and of each image; one of which none counts is left out.

    Args:
        num_classes: How many there are.
    """

    full_state_update = False
    counts: Tensor
    rows: list[Tensor]

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        zeros = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")
        self.add_state("rows", [], dist_reduce_fx="cat")

    def update(
        self, classes: Integer[Tensor, "b h w"], masks: Int[Tensor, "b h w"], index: Int[Tensor, " b"] | None = None
    ) -> None:
        """Add a batch; where `index` does not say which images these are, they count among all alone."""
        counts = [self._count(*pair) for pair in zip(classes, masks, strict=True)]
        self.counts = self.counts + torch.stack(counts).sum(0)
        if index is not None:
            scores = [torch.stack([number, *_image(part)]) for number, part in zip(index, counts, strict=True)]
            self.rows.append(torch.stack(scores))

    def compute(self) -> Segmentation:
        """What was counted, over all processes."""
        rows = dim_zero_cat(self.rows).tolist() if len(self.rows) else []
        kept = sorted((row for row in rows if row[2] == row[2]), key=lambda row: (row[1], row[0]))
        images = [Segmented(int(image), iou, accuracy) for image, iou, accuracy in kept]
        return Segmentation(_iou(self.counts), _accuracy(self.counts), images)

    def _count(self, classes: Integer[Tensor, "h w"], mask: Int[Tensor, "h w"]) -> Int[Tensor, "k k"]:
        # The readers have checked the labels; to check again means to wait for the device at every batch.
        options: dict[str, Any] = {"ignore_index": IGNORE_INDEX, "validate_args": False}
        return multiclass_confusion_matrix(classes, mask, self.num_classes, **options)


def _image(counts: Int[Tensor, "k k"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    return _iou(counts).nanmean(), _accuracy(counts)


def _iou(counts: Int[Tensor, "k k"]) -> Float[Tensor, " k"]:
    hits = counts.diagonal()
    return hits / (counts.sum(0) + counts.sum(1) - hits)


def _accuracy(counts: Int[Tensor, "k k"]) -> Float[Tensor, ""]:
    return counts.diagonal().sum() / counts.sum()
