"""Reads what LabelMe keeps of a picture, and X-AnyLabeling in the same form: the shapes drawn on it, in JSON."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools.mask import encode

from dla.data.segmentation.outlines.fill import Picture, Shape

AGAIN = "open and save it again in the program that wrote it, or remove it"
FIELDS = ("imageHeight", "imageWidth", "shapes")
CORNERS = 90  # of a circle, whose polygon then has 0.1 % less than its area

Point = Sequence[float]
Size = tuple[int, int]


def read_labelme(path: Path) -> Picture:
    """What was drawn on a picture; polygons, rectangles, circles and masks have outlines, lines and points none.

    Raises:
        ValueError: the file is no JSON or of another form, or a shape has no label or is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as JSON ({error}): {AGAIN}") from error
    held: Any = content if isinstance(content, dict) else {}
    height, width, shapes = (held.get(key) for key in FIELDS)
    if not isinstance(shapes, list) or not all(isinstance(side, int) and side > 0 for side in (height, width)):
        raise ValueError(f"{path} lacks one of {', '.join(FIELDS)}, which LabelMe's files have: {AGAIN}")
    outlines = [_shape(path, number, entry, (height, width)) for number, entry in enumerate(shapes, 1)]
    return Picture(path.stem, (height, width), outlines)


def _shape(path: Path, number: int, entry: Any, size: Size) -> Shape:
    held = entry if isinstance(entry, dict) else {}
    label = held.get("label")
    if label is None or label == "":
        raise ValueError(f"shape {number} of {path} has no label: give it one, or remove it")
    kind = held.get("shape_type") or "polygon"  # which old versions leave out
    if kind not in OUTLINES:
        return Shape(number, str(label), str(kind))
    try:
        points = [(float(x), float(y)) for x, y in held["points"]]
        return Shape(number, str(label), OUTLINES[kind](points, held, size))
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"shape {number} of {path}, a {kind}, cannot be read ({error!r}): {AGAIN}") from error


def _polygon(points: Sequence[Point], _entry: Mapping[str, Any], _size: Size) -> list[list[float]]:
    return [list(chain.from_iterable(points))]


def _rectangle(points: Sequence[Point], _entry: Mapping[str, Any], _size: Size) -> list[list[float]]:
    """Two opposite corners, or all four."""
    (left, top), (right, bottom) = np.min(points, 0).tolist(), np.max(points, 0).tolist()
    return [[left, top, right, top, right, bottom, left, bottom]]


def _circle(points: Sequence[Point], _entry: Mapping[str, Any], _size: Size) -> list[list[float]]:
    """Its centre, and a point on it."""
    centre, edge = np.array(points)
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    around = centre + np.hypot(*(edge - centre)) * np.stack([np.cos(angles), np.sin(angles)], 1)
    return [around.ravel().tolist()]


def _mask(points: Sequence[Point], entry: Mapping[str, Any], size: Size) -> Any:
    """A PNG, from the first of its two corners on; by the second, some programs mean its last pixel, some the next."""
    left, top = np.round(points).astype(int).min(0).tolist()
    with Image.open(BytesIO(base64.b64decode(entry["mask"]))) as image:
        inside = np.asarray(image.convert("L")) > 0
    if not (left >= 0 and top >= 0 and top + len(inside) <= size[0] and left + inside.shape[1] <= size[1]):
        raise ValueError("it goes beyond the picture")
    whole = np.zeros(size, np.uint8, order="F")
    whole[top : top + len(inside), left : left + inside.shape[1]] = inside
    code = encode(whole)
    return code | {"counts": code["counts"].decode()}  # as it stands in JSON


OUTLINES: dict[str, Callable[[Sequence[Point], Mapping[str, Any], Size], Any]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "oriented_rectangle": _polygon,  # LabelMe's, by its four corners
    "rotation": _polygon,  # X-AnyLabeling's of the same kind
    "quadrilateral": _polygon,
    "circle": _circle,
    "mask": _mask,
}
"""By the name of a shape."""
