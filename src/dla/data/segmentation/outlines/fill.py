"""What was drawn around things in a picture, and how it is filled: by pycocotools, as COCO's own tools do."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from pycocotools.mask import area, decode, frPyObjects, merge
from torch import Tensor

FAR = 1e6  # beyond that pycocotools takes memory for lines of any length


class Shape(NamedTuple):
    """What was drawn around a thing.

    Attributes:
        number: the annotation's own, to name it.
        category: its name.
        outline: polygons, each as x, y, x, y, ... in pixels, or a run-length code as pycocotools takes it; of what has
            no inside the word for it, such as "box".
    """

    number: int
    category: str
    outline: Any


class Picture(NamedTuple):
    """What was drawn on a picture.

    Attributes:
        name: of its file.
        size: height and width in pixels; None where coordinates are parts of them, from 0 to 1.
        shapes: in any order.
    """

    name: str
    size: tuple[int, int] | None
    shapes: list[Shape]


def filled(picture: Picture, size: tuple[int, int], indices: Mapping[str, int], rest: int) -> UInt8[Tensor, "h w"]:
    """The mask of a picture. Small things lie on large ones; a crowd (`iscrowd`) counts as what it is a crowd of.

    Args:
        picture: with its shapes; those of no index count as not drawn.
        size: height and width of the mask where the picture has none.
        indices: of the categories.
        rest: what pixels within no outline get.

    Raises:
        ValueError: an outline cannot be filled, and its annotation is named.
    """
    size = picture.size or size
    codes = []
    for shape in picture.shapes:
        if shape.category in indices:
            with _named(shape, picture):
                codes.append((shape, _code(shape.outline if picture.size else _in_pixels(shape.outline, size), size)))
    codes.sort(key=lambda drawn: -int(area(drawn[1])))
    mask = np.full(size, rest, np.uint8)
    for shape, code in codes:
        with _named(shape, picture):
            mask[decode(code) > 0] = indices[shape.category]
    return torch.from_numpy(mask)


@contextmanager
def _named(shape: Shape, picture: Picture) -> Iterator[None]:
    """An error in the block is one of this shape."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        what = f"the outline of annotation {shape.number}, on {picture.name},"
        raise ValueError(f"{what} cannot be filled ({error}): draw it anew, or export the labels again") from error


def _in_pixels(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> list[list[float]]:
    """Polygons whose coordinates are parts of a picture's sides, in one of this height and width."""
    return [(np.reshape(polygon, (-1, 2)) * size[::-1]).ravel().tolist() for polygon in polygons]


def _code(outline: Any, size: tuple[int, int]) -> Any:
    """The run-length code of what an outline covers in a picture of this height and width."""
    if isinstance(outline, list):
        _expect_numbers(outline)
        return merge(frPyObjects(outline, *size))
    if tuple(outline["size"]) != size:
        raise ValueError(f"it is for a picture of {outline['size']}, height and width, not of {list(size)}")
    return outline if isinstance(outline["counts"], str) else _compressed(outline)


def _expect_numbers(polygons: Sequence[Sequence[Any]]) -> None:
    coordinates = np.concatenate(polygons).astype(float)
    if not (abs(coordinates) < FAR).all():  # NaN is not either
        raise ValueError("a coordinate is no number of pixels")


def _compressed(code: Mapping[str, Any]) -> Any:
    (height, width), covered = code["size"], sum(code["counts"])
    if covered != height * width:  # pycocotools would leave the rest of the picture to chance
        raise ValueError(f"its runs have {covered} pixels, the picture {height * width}")
    return frPyObjects(code, height, width)
