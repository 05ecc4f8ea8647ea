"""Logits of large images, blended from those of overlapping windows."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn


def window_logits(model: nn.Module, images: Tensor, window: int | None, overlap: float) -> Iterator[Tensor]:
    """Logits of images in strips of whole rows, blended from those of the windows where there is more than one."""
    height, width = images.shape[-2:]
    rows = axis_windows(height, window or height, overlap)
    columns = _beside(images, axis_windows(width, window or width, overlap))
    if len(rows) == len(columns) == 1:
        yield _logits(model, images)
        return
    ends = [place.start for place, _ in rows[1:]] + [height]  # from where on the windows below add to a row
    begun: Tensor | None = None
    for (across, vertical), end in zip(_beside(images, rows), ends, strict=True):
        band = _band(model, images[:, :, across], vertical, columns, begun)
        yield band[:, :, : end - across.start].clone()  # so that who keeps it does not keep the band
        begun = band[:, :, end - across.start :]


def _band(
    model: nn.Module, images: Tensor, vertical: Tensor, columns: list[tuple[slice, Tensor]], begun: Tensor | None
) -> Tensor:
    """Weighted logits of one row of windows, added to those that the row above has `begun`."""
    band: Tensor | None = None
    for along, horizontal in columns:
        logits = _logits(model, images[..., along])
        if band is None:
            band = logits.new_zeros(*logits.shape[:2], *images.shape[-2:])
            if begun is not None:
                band[:, :, : begun.shape[2]] = begun
        band[..., along] += logits * torch.outer(vertical, horizontal)
    assert band is not None
    return band


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


def axis_windows(length: int, window: int, overlap: float) -> list[tuple[slice, Tensor]]:
    """Evenly spread windows over one axis, each with its weights; at each pixel the weights sum to one.

    A weight falls linearly from the middle of its window to 1/window at the border, where a neighbour takes over:
    there is no step, hence no seam. Where one window alone sees a pixel, its weight there is one.
    """
    size = min(window, length)
    step = max(1, int(size * (1 - overlap)))
    count = 1 + math.ceil((length - size) / step)
    starts = [round(index * (length - size) / max(1, count - 1)) for index in range(count)]
    hat = torch.arange(1, size + 1).minimum(torch.arange(size, 0, -1))
    total = torch.zeros(length, dtype=torch.float64)
    for start in starts:
        total[start : start + size] += hat
    return [(slice(start, start + size), hat / total[start : start + size]) for start in starts]
