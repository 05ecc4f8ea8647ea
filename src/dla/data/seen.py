"""The part of an image that a sampling grid looks at."""

import math

from jaxtyping import Float
from torch import Tensor


def seen(grid: Float[Tensor, "1 c c 2"], height: int, width: int) -> tuple[Tensor, slice, slice]:
    """The rows and columns of an image that a grid looks at, and the same grid over them alone."""
    columns, rows = (_span(grid[..., axis], length) for axis, length in enumerate((width, height)))
    first = grid.new_tensor([columns.start, rows.start])
    whole = grid.new_tensor([width, height])
    part = grid.new_tensor([columns.stop - columns.start, rows.stop - rows.start])
    return ((grid + 1) * whole - 2 * first) / part - 1, rows, columns


def _span(places: Tensor, length: int) -> slice:
    """Where places between -1 and 1 lie in a length of pixels, with what blur and bilinear sampling see beside them.

    All of it where some lie outside: a mirror image reaches far.
    """
    first, last = ((place.item() + 1) / 2 * length for place in places.aminmax())
    if first < 0 or last > length:
        return slice(0, length)
    return slice(max(math.floor(first) - 2, 0), min(math.ceil(last) + 2, length))
