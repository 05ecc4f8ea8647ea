"""Reads a file of labels in COCO's form: its pictures, and the outlines that were drawn on them, in JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_warn

from dla.data.segmentation.coco_checks import AGAIN, checked

TRIANGLE = 6  # coordinates


class Shape(NamedTuple):
    """What was drawn around a thing.

    Attributes:
        number: the annotation's own, to name it.
        category: its name.
        outline: polygons, each as x, y, x, y, ... in pixels, or a run-length code.
    """

    number: int
    category: str
    outline: Any


class Picture(NamedTuple):
    """A picture's name, its size, and what was drawn on it."""

    name: str
    height: int
    width: int
    shapes: list[Shape]


class CocoFile(NamedTuple):
    """What a file holds.

    Attributes:
        categories: names in the order of their numbers, but for those that are only there to group others.
        pictures: by name.
    """

    categories: tuple[str, ...]
    pictures: list[Picture]


def read_coco(path: Path) -> CocoFile:
    """Read and check the whole file. Polygons of one or two points are passed over with a warning.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON or of another form, there is no picture, one stands in it twice or has no size, two
            categories have one id, or an annotation belongs to none or has no outline.
    """
    parts = checked(path, _content(path))
    categories = sorted(parts["categories"], key=lambda category: category["id"])
    names = {category["id"]: str(category["name"]) for category in categories}
    shapes: dict[Any, list[Shape]] = {image["id"]: [] for image in parts["images"]}
    for entry in _covering(path, parts["annotations"]):
        shapes[entry["image_id"]].append(Shape(entry["id"], names[entry["category_id"]], entry["segmentation"]))
    pictures = [
        Picture(str(image["file_name"]).replace("\\", "/"), image["height"], image["width"], shapes[image["id"]])
        for image in sorted(parts["images"], key=lambda image: str(image["file_name"]))
    ]
    return CocoFile(_classes(categories, {shape.category for of in shapes.values() for shape in of}), pictures)


def _content(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: name the file of the labels within root, as --data.annotations")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as JSON ({error}): {AGAIN}") from error


def _covering(path: Path, annotations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without polygons of one or two points, which a slip of the hand leaves; pycocotools would fill a box."""
    covering = [entry | {"segmentation": _of_three_points(entry["segmentation"])} for entry in annotations]
    slips = [old for old, new in zip(annotations, covering, strict=True) if old != new]
    if slips:
        rank_zero_warn(
            f"polygons of one or two points cover nothing and are passed over: annotation {slips[0]['id']} of {path}, "
            f"and {len(slips) - 1} others"
        )
    return [entry for entry in covering if entry["segmentation"]]


def _of_three_points(outline: Any) -> Any:
    if not isinstance(outline, list):
        return outline
    return [polygon for polygon in outline if len(polygon) >= TRIANGLE]


def _classes(categories: Sequence[Mapping[str, Any]], drawn: set[str]) -> tuple[str, ...]:
    """Without those that group others, as the first one of Roboflow's, which bears the project's name."""
    inner = [category for category in categories if category.get("supercategory") != category["name"]]
    groups = {category.get("supercategory") for category in inner} - drawn
    names = [str(category["name"]) for category in categories]
    return tuple(dict.fromkeys(name for name in names if name not in groups))
