"""What the jobs with a prediction for each pixel share: a dense predictor, and how it is measured."""

from typing import Any

from jaxtyping import Float, Integer
from torch import Tensor, distributed

from dla.inference import OVERLAP, check_views, fitting_window, predict_classes, predict_probabilities
from dla.models import DensePredictor, list_models
from dla.names import parse
from dla.tasks.base import Task


class DenseTask(Task):
    """Trains a dense predictor; a subclass gives the loss and the metrics.

    Args:
        network: Name of a dense predictor, such as dla34up, or BACKBONE+STRUCTURE.
        num_classes: Given by the data.
        test_scales: Sizes of the image over which `validate` and `test` average.
        test_flip: Average over mirrored images as well, in `validate` and `test`.
        window: Side in pixels of the windows in which larger images are measured; null for 1024 in those of more than
            16 million pixels.
        overlap: Least part of a window that the next one sees, too.
        **settings: The others of `Task`.

    Raises:
        ValueError: the network is no dense predictor, or a scale or the window is none.
    """

    def __init__(
        self,
        *,
        network: str = "dla34up",
        num_classes: int,
        test_scales: list[float] | None = None,
        test_flip: bool = False,
        window: int | None = None,
        overlap: float = OVERLAP,
        **settings: Any,
    ) -> None:
        super().__init__(network=network, num_classes=num_classes, **settings)
        if not isinstance(self.model, DensePredictor):
            raise ValueError(f"{self.network} gives no class to each pixel; {_dense(self.network)} does")
        scales = test_scales or [1.0]
        check_views(scales, window, overlap)
        self.inference: dict[str, Any] = {"scales": scales, "flip": test_flip, "window": window, "overlap": overlap}

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Logits of every pixel."""
        return self.run(images)

    def probabilities(self, images: Float[Tensor, "b c h w"], *, plain: bool = False) -> Float[Tensor, "b k h w"]:
        """Of every pixel, over the scales and flips asked for or of the `plain` image; in windows where it is large."""
        return predict_probabilities(self, images, **self._views(images, plain))

    def classes(self, images: Float[Tensor, "b c h w"], *, plain: bool = False) -> Integer[Tensor, "b h w"]:
        """The most probable class of every pixel, seen as by `probabilities`."""
        return predict_classes(self, images, **self._views(images, plain))

    def _views(self, images: Tensor, plain: bool) -> dict[str, Any]:
        views = self.inference | ({"scales": [1.0], "flip": False} if plain else {})
        return views | {"window": fitting_window(images.shape[-2:], views["scales"], views["window"])}


def mean_over_processes(counted: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """How many pixels count in the batch, by weight: the mean over the processes that train together.

    They average the gradients of their losses. So a loss divided by this gives each pixel the weight that it has in one
    batch of them all; divided by its own process's count, a pixel would weigh more where few others count.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return counted
    total = counted.detach().clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def _dense(network: str) -> str:
    """A dense predictor near `network`, or ours where there is none."""
    named = parse(network)
    if named.library == "timm":
        return f"{named.base}+ida"
    return f"{named.base}up" if f"{named.base}up" in list_models() else "dla34up"
