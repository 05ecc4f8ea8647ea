"""Class probabilities of images: averaged over scales and mirror images, in overlapping windows where images are large.

images --resize--> scaled --mirror--> view --model, window by window--> logits --mirror, resize--> softmax --> mean
"""

import math
from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


@torch.inference_mode()
def predict_probabilities(
    model: nn.Module,
    images: Float[Tensor, "b channels h w"],
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: int | None = None,
    overlap: float = 0.5,
) -> Float[Tensor, "b classes h w"]:
    """Softmax probabilities of each pixel, on the device of `images`, which is also the model's.

    Images are resized bilinearly with antialiasing, as in training: nothing then leaves the range of values the network
    was trained on, as bicubic overshoot would. Logits, not probabilities, are resized back, because that is how a
    dense network makes its own last step to the input size.

    Args:
        model: maps images (b, channels, h, w) to logits (b, classes, h, w) of the same size; in evaluation mode.
        images: normalised as the model expects.
        scales: factors on the image size; the probabilities of all of them are averaged.
        flip: average with the prediction for the mirror image, at every scale.
        window: side in pixels of the square that the model sees at once; a scaled image (or one side of it) that is
            smaller is taken whole. None takes every image whole.
        overlap: least part of a window, from 0 to below 1, that its neighbour sees as well.

    Raises:
        ValueError: the model is in training mode or changes the size, or an argument is out of range.
    """
    if model.training:
        raise ValueError("the model is in training mode, where results depend on the batch: call model.eval() first")
    check_views(scales, window, overlap)
    views = list(product(scales, (False, True) if flip else (False,)))
    total: Tensor | None = None
    for scale, mirrored in views:
        view = _resize(images, [max(1, round(side * scale)) for side in images.shape[-2:]])
        logits = _mirror(_window_logits(model, _mirror(view, mirrored), window, overlap), mirrored)
        probabilities = _resize(logits, images.shape[-2:]).softmax(dim=1)  # (b, classes, h, w)
        total = probabilities if total is None else total.add_(probabilities)
    assert total is not None
    return total.div_(len(views))  # in place, since of a photograph the maps of many classes are gigabytes


def check_views(scales: Sequence[float], window: int | None, overlap: float = 0.5) -> None:
    """Refuse what `predict_probabilities` cannot look through.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    if not scales or not all(0 < scale < math.inf for scale in scales):
        raise ValueError(f"scales must be one or more positive numbers, not {scales!r}: for example (0.5, 1.0, 1.5)")
    if window is not None and window < 1:
        raise ValueError(f"window must be at least 1 pixel, not {window}: give None to take images whole")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must be at least 0 and below 1, not {overlap}: 0.5 lets each pixel be seen twice")


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    if list(maps.shape[-2:]) == list(size):
        return maps
    wide = maps if maps.is_cuda else maps.to(torch.promote_types(maps.dtype, torch.float32))  # no 16 bits on a CPU
    resized = F.interpolate(wide, size=list(size), mode="bilinear", align_corners=False, antialias=True)
    return resized.to(maps.dtype)


def _mirror(maps: Tensor, mirrored: bool) -> Tensor:
    return maps.flip(-1) if mirrored else maps


def _window_logits(model: nn.Module, images: Tensor, window: int | None, overlap: float) -> Tensor:
    """Logits of whole images, blended from those of the windows where there is more than one."""
    height, width = images.shape[-2:]
    rows = _axis_windows(height, window or height, overlap)
    columns = _axis_windows(width, window or width, overlap)
    if len(rows) == len(columns) == 1:
        return _logits(model, images)
    total: Tensor | None = None
    for (across, vertical), (along, horizontal) in product(_beside(images, rows), _beside(images, columns)):
        logits = _logits(model, images[:, :, across, along])
        if total is None:
            total = logits.new_zeros(*logits.shape[:2], height, width)
        total[:, :, across, along] += logits * torch.outer(vertical, horizontal).to(logits.dtype)
    assert total is not None
    return total


def _beside(images: Tensor, windows: list[tuple[slice, Tensor]]) -> list[tuple[slice, Tensor]]:
    """The windows, with their weights on the device of the images: sent before the first, since a GPU's queue is long.

    A copy that is sent between two windows waits until the GPU has computed the first. Apple's, unless it is waited
    for, would copy weights that are gone by then, and get other numbers (pytorch#189690).
    """
    dtype = torch.promote_types(images.dtype, torch.float32)
    return [(place, weights.to(images.device, dtype, non_blocking=images.is_cuda)) for place, weights in windows]


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    logits = model(images)
    if logits.shape[-2:] != images.shape[-2:]:
        raise ValueError(
            f"the model made a map of {tuple(logits.shape)} from images of {tuple(images.shape)}: "
            "it must return logits at the size of its input"
        )
    return logits.to(torch.promote_types(logits.dtype, torch.float32))  # sums of half precision lose too much


def _axis_windows(length: int, window: int, overlap: float) -> list[tuple[slice, Tensor]]:
    """Evenly spread windows over one axis, each with its weights; at each pixel the weights sum to one.

    A weight falls linearly from the middle of its window to 1/window at the border, where a neighbour takes over:
    there is no step, hence no seam. Where one window alone sees a pixel, its weight there is one.
    """
    size = min(window, length)
    step = max(1, int(size * (1 - overlap)))
    count = 1 + math.ceil((length - size) / step)
    starts = [round(index * (length - size) / max(1, count - 1)) for index in range(count)]
    hat = torch.arange(1, size + 1, dtype=torch.float64).minimum(torch.arange(size, 0, -1))
    total = torch.zeros(length, dtype=torch.float64)
    for start in starts:
        total[start : start + size] += hat
    return [(slice(start, start + size), hat / total[start : start + size]) for start in starts]
