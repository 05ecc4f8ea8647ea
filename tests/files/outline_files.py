"""Sets whose labels are in COCO's form, as files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from image_files import random_image, save_image

HEIGHT, WIDTH = 36, 48


def box(left: float, top: float, right: float, bottom: float) -> list[float]:
    """A rectangle as a polygon."""
    return [left, top, right, top, right, bottom, left, bottom]


def rectangles(*drawn: tuple[int, int, int, int, int], on: int = 0) -> np.ndarray:
    """Rectangles of a class each, as left, top, right, bottom behind it."""
    mask = np.full((HEIGHT, WIDTH), on)
    for index, left, top, right, bottom in drawn:
        mask[top:bottom, left:right] = index
    return mask


def save_outlines(
    path: Path,
    images: Sequence[tuple[str, Sequence[dict[str, Any]]]],
    categories: Sequence[str] = ("crack", "stain"),
    folder: Path | None = None,
) -> dict[str, Any]:
    """Write the labels: of each image its name and annotations; numbers and whatever they lack is filled in.

    Args:
        path: of the file; its folder is made.
        images: their annotations have a `category_id`, which counts from 1, and a `segmentation`.
        categories: names.
        folder: where images of random pixels are written; None for none.

    Returns:
        What was written.
    """
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [{"id": number, "name": name} for number, name in enumerate(categories, 1)]
    for number, (name, annotations) in enumerate(images):
        content["images"].append({"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH})
        for annotation in annotations:
            own = {"id": len(content["annotations"]), "image_id": number, "iscrowd": 0}
            content["annotations"].append(own | annotation)
        if folder is not None:
            save_image(folder / name, random_image(number, HEIGHT, WIDTH))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return content
