"""How right an exported network's answers are, to see what 8 bits cost."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from dla.deploy.outputs import Run
from dla.export.pictures import Size, model_inputs
from dla.images import read_image
from dla.predict import Predictor

THRESHOLDS = 33  # between these, ODS is interpolated


class Accuracy(NamedTuple):
    """What measures a network, with progress on standard error.

    Attributes:
        name: what is measured: top-1 accuracy, mean IoU or ODS.
        of: gives it, from 0 to 1, of what runs the network.
    """

    name: str
    of: Callable[[Run], float]


def accuracy(predictor: Predictor, root: str | Path, size: Size, *, void: int) -> Accuracy:
    """What measures a network on the val split under `root`.

    Args:
        predictor: knows the classes and how images are prepared.
        root: holds val/CLASS/NAME.jpg for a classifier; val/NAME.jpg and valannot/NAME.png, 8-bit class indices, for
            segmentation; images/val/NAME.jpg and groundTruth/val/NAME.mat, or .png, for boundaries.
        size: (h, w) of the images that the network gets; its answers are resized to the annotations.
        void: what annotations hold where no class is given, in segmentation.

    Raises:
        ValueError: the network is not trained, or the set does not fit its classes.
        FileNotFoundError: the split is not there.
    """
    if not predictor.classes:
        raise ValueError("accuracy is measured of trained networks, which this one is not: leave out --test")
    if predictor.task == "classification":
        return Accuracy("top-1 accuracy", _top1(predictor, root, size))
    if predictor.task == "boundaries":
        return Accuracy("ODS", _ods(predictor, root, size))
    return Accuracy("mean IoU", _mean_iou(predictor, root, size, void))


def _top1(predictor: Predictor, root: str | Path, size: Size) -> Callable[[Run], float]:
    from dla.data.classification.folders import LabelledFolder  # the sets need the extra [train]

    files: Sequence[tuple[str, int]] = LabelledFolder(Path(root) / "val", predictor.classes).files

    def measure(run: Run) -> float:
        right = sum(
            int(run(model_inputs(predictor, read_image(path), size))[0].argmax()) == label
            for path, label in _shown(files)
        )
        return right / len(files)

    return measure


def _mean_iou(predictor: Predictor, root: str | Path, size: Size, void: int) -> Callable[[Run], float]:
    from dla.data.segmentation.folders import PairedFolders
    from dla.metrics.iou import class_iou

    samples = PairedFolders(root, "val", classes=predictor.classes, void=void)

    def measure(run: Run) -> float:
        iou = class_iou(len(predictor.classes))
        for image, mask in _shown(samples):
            iou.update(_logits(run, predictor, image, size).argmax(1), mask.as_subclass(Tensor)[None].long())
        return float(iou.compute().nanmean())

    return measure


def _ods(predictor: Predictor, root: str | Path, size: Size) -> Callable[[Run], float]:
    from dla.data.boundaries.bsds import BSDS500
    from dla.metrics.boundary import BoundaryMetric

    samples = BSDS500(root, "val")

    def measure(run: Run) -> float:
        metric = BoundaryMetric(THRESHOLDS)
        for image, truths in _shown(samples):
            metric.update(_logits(run, predictor, image, size).softmax(1)[:, 1], [truths])
        return float(metric.compute()["ods"])

    return measure


def _logits(run: Run, predictor: Predictor, image: Tensor, size: Size) -> Tensor:
    """Those of each pixel, (1, k, h, w), of a picture, uint8 (3, h, w), that the network gets at `size`."""
    logits = run(model_inputs(predictor, transforms.to_pil_image(image), size))[0]
    return F.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=False)


def _shown(samples: Any) -> Iterator[Any]:
    """One sample after another, with progress."""
    numbers = track(range(len(samples)), "measuring", console=Console(stderr=True), transient=True)
    return (samples[number] for number in numbers)
