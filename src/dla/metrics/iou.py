"""The measure of segmentation: intersection over union of each class."""

from typing import Any

from torchmetrics.classification import MulticlassJaccardIndex

from dla.data.sample import IGNORE_INDEX


def class_iou(num_classes: int, **options: Any) -> MulticlassJaccardIndex:
    """IoU of each class over all pixels seen, NaN of one that neither occurs nor is predicted: take the `nanmean`."""
    return MulticlassJaccardIndex(
        num_classes, average="none", zero_division=float("nan"), ignore_index=IGNORE_INDEX, **options
    )
