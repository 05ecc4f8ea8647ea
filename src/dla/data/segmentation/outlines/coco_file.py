"""Reads a file of labels in COCO's form: its pictures, and the outlines that were drawn on them, in JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dla.data.segmentation.outlines.coco_checks import AGAIN, checked
from dla.data.segmentation.outlines.fill import Picture, Shape


class CocoFile(NamedTuple):
    """What a file holds.

    Attributes:
        categories: names in the order of their numbers, but for those that are only there to group others.
        pictures: by name.
    """

    categories: tuple[str, ...]
    pictures: list[Picture]


def read_coco(path: Path) -> CocoFile:
    """Read and check the whole file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON or of another form, there is no picture, one stands in it twice or has no size, two
            categories have one id, or an annotation belongs to none or has no list of outlines.
    """
    parts = checked(path, _content(path))
    categories = sorted(parts["categories"], key=lambda category: category["id"])
    names = {category["id"]: str(category["name"]) for category in categories}
    shapes: dict[Any, list[Shape]] = {image["id"]: [] for image in parts["images"]}
    for entry in parts["annotations"]:
        shapes[entry["image_id"]].append(
            Shape(entry["id"], names[entry["category_id"]], entry["segmentation"] or "box")
        )
    pictures = [
        Picture(str(image["file_name"]).replace("\\", "/"), (image["height"], image["width"]), shapes[image["id"]])
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


def _classes(categories: Sequence[Mapping[str, Any]], drawn: set[str]) -> tuple[str, ...]:
    """Without those that group others, as the first one of Roboflow's, which bears the project's name."""
    inner = [category for category in categories if category.get("supercategory") != category["name"]]
    groups = {category.get("supercategory") for category in inner} - drawn
    names = [str(category["name"]) for category in categories]
    return tuple(dict.fromkeys(name for name in names if name not in groups))
