"""How right an exported network's answers are, to see what 8 bits cost."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from dla.deploy.outputs import Run
from dla.export.pictures import Size, model_inputs
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


def accuracy(predictor: Predictor, samples: Any, size: Size) -> Accuracy:
    """What measures a network.

    Args:
        predictor: knows the classes and how images are prepared.
        samples: images and their truth, as `val_set` gives them.
        size: (h, w) of the images that the network gets; its answers are resized to the annotations.
    """
    if predictor.task == "classification":
        return Accuracy("top-1 accuracy", _top1(predictor, samples, size))
    if predictor.task == "boundaries":
        return Accuracy("ODS", _ods(predictor, samples, size))
    return Accuracy("mean IoU", _mean_iou(predictor, samples, size))


def _top1(predictor: Predictor, samples: Any, size: Size) -> Callable[[Run], float]:
    def measure(run: Run) -> float:
        right = sum(
            int(_outputs(run, predictor, image, size).argmax()) == int(label) for image, label in _shown(samples)
        )
        return right / len(samples)

    return measure


def _mean_iou(predictor: Predictor, samples: Any, size: Size) -> Callable[[Run], float]:
    from dla.metrics.segmentation import SegmentationMetric  # which needs the extra [train]

    def measure(run: Run) -> float:
        metric = SegmentationMetric(len(predictor.classes))
        for image, mask in _shown(samples):
            metric.update(_logits(run, predictor, image, size).argmax(1), mask.as_subclass(Tensor)[None].long())
        return float(metric.compute().iou.nanmean())

    return measure


def _ods(predictor: Predictor, samples: Any, size: Size) -> Callable[[Run], float]:
    from dla.metrics.boundary import BoundaryMetric

    def measure(run: Run) -> float:
        metric = BoundaryMetric(THRESHOLDS)
        for image, truths in _shown(samples):
            metric.update(_logits(run, predictor, image, size).softmax(1)[:, 1], [truths])
        return float(metric.compute()["ods"])

    return measure


def _logits(run: Run, predictor: Predictor, image: Tensor, size: Size) -> Tensor:
    """Those of each pixel, (1, k, h, w), of an image of a set, (c, h, w), that the network gets at `size`."""
    outputs = _outputs(run, predictor, image, size)
    return F.interpolate(outputs, image.shape[-2:], mode="bilinear", align_corners=False)


def _outputs(run: Run, predictor: Predictor, image: Tensor, size: Size) -> Tensor:
    picture = transforms.to_pil_image(image) if predictor.bands is None else image.as_subclass(Tensor)
    return run(model_inputs(predictor, picture, size))[0]


def _shown(samples: Any) -> Iterator[Any]:
    """One sample after another, with progress."""
    numbers = track(range(len(samples)), "measuring", console=Console(stderr=True), transient=True)
    return (samples[number] for number in numbers)
