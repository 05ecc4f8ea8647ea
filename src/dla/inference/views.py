"""The views over which probabilities are averaged: scales and mirror images.

images --resize--> scaled --mirror--> view --model, window by window--> logits --mirror, resize--> softmax --> mean
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor, nn

from dla.inference.sizes import scaled
from dla.inference.windows import axis_windows, window_logits

WHOLE, WINDOW = 16_000_000, 1024
"""Of how many pixels an image is seen whole, since a million may take half a gigabyte; and else in what windows."""

ROWS = 256  # of a strip where logits are resized

OVERLAP = 0.25  # a half is as good and takes up to twice the time (docs/segmentation.md)


def predict_strips(
    model: nn.Module,
    images: Float[Tensor, "b channels h w"],
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: int | None = None,
    overlap: float = OVERLAP,
) -> Iterator[Float[Tensor, "b classes rows w"]]:
    """Softmax probabilities of each pixel, in strips of whole rows from the top, each as soon as no window adds to it.

    With windows, at the size of the images, memory then holds two rows of windows of every class and no more; where all
    scales are below 1, the logits of each view at its own size, and a strip. Otherwise the strip is the whole.

    Images are resized bilinearly with antialiasing, as in training: nothing then leaves the range of values the network
    was trained on, as bicubic overshoot would. Logits, not probabilities, are resized back, because that is how a
    dense network makes its own last step to the input size.

    Args:
        model: maps images (b, channels, h, w) to logits (b, classes, h, w) of the same size; in evaluation mode.
        images: normalised as the model expects, and on its device.
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
    back = _as_they_are if set(scales) == {1} else _by_rows if max(scales) < 1 else _at_once
    cut = partial(window_logits, model, window=window, overlap=overlap)
    views = [
        _view_logits(cut, back, images, scale, mirrored)
        for scale, mirrored in product(scales, (False, True) if flip else (False,))
    ]
    return _without_history(_averaged(views))


@torch.inference_mode()
def predict_probabilities(
    model: nn.Module, images: Float[Tensor, "b c h w"], **views: Any
) -> Float[Tensor, "b classes h w"]:
    """The strips of `predict_strips` in one, of a large image with many classes gigabytes; the same arguments."""
    return _joined(list(predict_strips(model, images, **views)))


def predict_classes(model: nn.Module, images: Float[Tensor, "b c h w"], **views: Any) -> Integer[Tensor, "b h w"]:
    """The most probable class of each pixel, in 8 bits where that suffices; the arguments of `predict_strips`.

    It looks at each strip by itself, so that the probabilities of a large image need not fit into memory together.
    """
    return torch.cat([_likeliest(strip) for strip in predict_strips(model, images, **views)], dim=1)


def model_runs(
    height: int, width: int, *, scales: Sequence[float], flip: bool, window: int | None, overlap: float = OVERLAP
) -> int:
    """How many times the model runs for an image of this size."""
    sizes = [scaled((height, width), scale) for scale in scales]
    counts = [math.prod(len(axis_windows(side, window or side, overlap)) for side in size) for size in sizes]
    return sum(counts) * (2 if flip else 1)


def fitting_window(size: Sequence[int], scales: Sequence[float], window: int | None) -> int | None:
    """The window asked for; where there is none, one for an image of a size (h, w) too large to be seen whole."""
    largest = math.prod(size) * max(scales, default=0) ** 2  # of none, which `check_views` refuses
    return window or (WINDOW if largest > WHOLE else None)


def check_views(scales: Sequence[float], window: int | None, overlap: float = OVERLAP) -> None:
    """Refuse what `predict_strips` cannot look through.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    if not scales or not all(0 < scale < math.inf for scale in scales):
        raise ValueError(f"scales must be one or more positive numbers, not {scales!r}: for example (0.5, 1.0, 1.5)")
    if window is not None and window < 1:
        raise ValueError(f"window must be at least 1 pixel, not {window}: give None to take images whole")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must be at least 0 and below 1, not {overlap}: 0.5 lets each pixel be seen twice")


def _averaged(views: list[Iterator[Tensor]]) -> Iterator[Tensor]:
    """Strips of probabilities from those of logits, of which all views have the same."""
    for logits in views[0]:
        total = logits.softmax(dim=1)
        del logits  # of a photograph the maps of many classes are gigabytes
        for others in views[1:]:
            total.add_(next(others).softmax(dim=1))
        yield total.div_(len(views))


def _likeliest(probabilities: Tensor) -> Tensor:
    classes = probabilities.max(dim=1).indices  # argmax takes six times as long on a CPU
    return classes.to(torch.uint8) if probabilities.shape[1] <= 256 else classes


def _without_history(strips: Iterator[Tensor]) -> Iterator[Tensor]:
    """The strips, made in inference mode; who takes them is not in it meanwhile."""
    while True:
        with torch.inference_mode():
            strip = next(strips, None)
        if strip is None:
            return
        yield strip


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    if list(maps.shape[-2:]) == list(size):
        return maps
    wide = maps if maps.is_cuda else maps.to(torch.promote_types(maps.dtype, torch.float32))  # no 16 bits on a CPU
    resized = F.interpolate(wide, size=list(size), mode="bilinear", align_corners=False, antialias=True)
    return resized.to(maps.dtype)


def _mirror(maps: Tensor, mirrored: bool) -> Tensor:
    return maps.flip(-1) if mirrored else maps


def _joined(strips: list[Tensor]) -> Tensor:
    return strips[0] if len(strips) == 1 else torch.cat(strips, dim=2)


def _view_logits(
    cut: Callable[[Tensor], Iterator[Tensor]],
    back: Callable[[Iterator[Tensor], Sequence[int]], Iterator[Tensor]],
    images: Tensor,
    scale: float,
    mirrored: bool,
) -> Iterator[Tensor]:
    """Logits of the images as one view of them has it, in the strips of `cut`, brought `back` to their size."""
    turned = partial(_mirror, mirrored=mirrored)
    # No name here holds what is passed on: between its strips a generator keeps what it has names for.
    yield from back(map(turned, cut(turned(_resize(images, scaled(images.shape[-2:], scale))))), images.shape[-2:])


def _as_they_are(strips: Iterator[Tensor], size: Sequence[int]) -> Iterator[Tensor]:
    return strips


def _at_once(strips: Iterator[Tensor], size: Sequence[int]) -> Iterator[Tensor]:
    yield _resize(_joined(list(strips)), size)


def _by_rows(strips: Iterator[Tensor], size: Sequence[int]) -> Iterator[Tensor]:
    """What `_resize` makes of all, `ROWS` by `ROWS`: those of an identity, resized, are the weights of each row."""
    maps = _joined(list(strips))
    identity = torch.eye(maps.shape[-2], dtype=torch.float32, device=maps.device)
    for weights in _resize(identity[None, None], (size[0], maps.shape[-2]))[0, 0].split(ROWS):
        seen = weights.any(0).nonzero()
        some = slice(int(seen[0]), int(seen[-1]) + 1)
        wide = _resize(maps[..., some, :].float(), (some.stop - some.start, size[1]))
        yield (weights[:, some] @ wide).to(maps.dtype)
