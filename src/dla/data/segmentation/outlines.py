"""Fills what was drawn around things, by pycocotools, as COCO's own tools do."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from pycocotools.mask import area, decode, frPyObjects, merge
from torch import Tensor

from dla.data.segmentation.coco_file import AGAIN, Picture, Shape


def filled(picture: Picture, indices: Mapping[str, int], rest: int) -> UInt8[Tensor, "h w"]:
    """The mask of a picture. Small things lie on large ones; a crowd (`iscrowd`) counts as what it is a crowd of.

    Args:
        picture: with its shapes; those of no index count as not drawn.
        indices: of the categories.
        rest: what pixels within no outline get.

    Raises:
        ValueError: an outline cannot be filled, and its annotation is named.
    """
    codes = [(shape, _code(shape, picture)) for shape in picture.shapes if shape.category in indices]
    codes.sort(key=lambda drawn: -int(area(drawn[1])))
    mask = np.full((picture.height, picture.width), rest, np.uint8)
    for shape, code in codes:
        mask[decode(code) > 0] = indices[shape.category]
    return torch.from_numpy(mask)


def _code(shape: Shape, picture: Picture) -> Any:
    """The run-length code of what an outline covers."""
    size, outline = [picture.height, picture.width], shape.outline
    try:
        if isinstance(outline, list):
            return merge(frPyObjects(outline, *size))
        if list(outline["size"]) != size:
            raise ValueError(f"it is for a picture of {outline['size']}, height and width, not of {size}")
        code = outline if isinstance(outline["counts"], str) else frPyObjects(outline, *size)
        decode(code)  # which tells of a broken one
    except (KeyError, TypeError, ValueError) as error:
        what = f"the outline of annotation {shape.number}, on {picture.name},"
        raise ValueError(f"{what} cannot be filled ({error}): {AGAIN}") from error
    return code
