"""Reads a file of labels in COCO's form: its pictures, and the outlines that were drawn on them, in JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dla.names import repeated

FIELDS = {
    "images": ("id", "file_name", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "segmentation"),
}
"""The lists of a file, and what each entry must have."""

AGAIN = "export the labels again, as COCO with outlines (polygons or masks)"
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
    """Read the whole file and check it, outlines included.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON or of another form, there is no picture, one stands in it twice or has no size, two
            categories have one id, or an annotation belongs to none or has no outline.
    """
    entries = {part: _entries(path, part, found) for part, found in _parts(path).items()}
    _check_images(path, entries["images"])
    categories = sorted(entries["categories"], key=lambda category: category["id"])
    if twice := repeated(str(number) for number, _ in {(each["id"], str(each["name"])) for each in categories}):
        raise ValueError(
            f"{path} has two categories of id {twice[0]}: expected an id of its own for each name; {AGAIN}"
        )
    names = {category["id"]: str(category["name"]) for category in categories}
    shapes: dict[Any, list[Shape]] = {image["id"]: [] for image in entries["images"]}
    shown = {image["id"]: str(image["file_name"]) for image in entries["images"]}
    _check_ids(path, entries["annotations"], {"image_id": shown, "category_id": names})
    _check_outlines(path, entries["annotations"], shown)
    for entry in entries["annotations"]:
        shapes[entry["image_id"]].append(Shape(entry["id"], names[entry["category_id"]], entry["segmentation"]))
    pictures = [
        Picture(str(image["file_name"]).replace("\\", "/"), image["height"], image["width"], shapes[image["id"]])
        for image in sorted(entries["images"], key=lambda image: str(image["file_name"]))
    ]
    return CocoFile(_classes(categories, {shape.category for of in shapes.values() for shape in of}), pictures)


def _parts(path: Path) -> dict[str, list[Any]]:
    """The three lists."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: name the file of the labels within root, as --data.annotations")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as JSON ({error}): {AGAIN}") from error
    parts = {part: content.get(part) if isinstance(content, dict) else None for part in FIELDS}
    if lacking := [part for part, found in parts.items() if not isinstance(found, list)]:
        raise ValueError(f"{path} has no list of {lacking[0]}, as files in COCO's form have: {AGAIN}")
    return {part: list(found or ()) for part, found in parts.items()}


def _entries(path: Path, part: str, entries: Sequence[Any]) -> list[dict[str, Any]]:
    for place, entry in enumerate(entries):
        held = entry if isinstance(entry, dict) else {}
        if lacking := [field for field in FIELDS[part] if held.get(field) is None]:
            name = held.get("id", f"number {place}")
            raise ValueError(f"{path}: {name} of its {part} has no {lacking[0]}: {AGAIN}")
    return list(entries)


def _check_images(path: Path, images: Sequence[Mapping[str, Any]]) -> None:
    if not images:
        raise ValueError(f"{path} has no images: {AGAIN}")
    for field in ("id", "file_name"):
        if twice := repeated(str(image[field]) for image in images):
            raise ValueError(f"{path} has two images of {field} {twice[0]}: expected each picture once; {AGAIN}")
    for image in images:
        size = image["width"], image["height"]
        if not all(isinstance(side, int) and side > 0 for side in size):
            raise ValueError(
                f"{path} has {image['file_name']} with the width {size[0]!r} and the height {size[1]!r}: expected "
                f"numbers of pixels, without a decimal point or quotes; {AGAIN}"
            )


def _check_ids(path: Path, entries: Sequence[Mapping[str, Any]], listed: Mapping[str, Mapping[Any, str]]) -> None:
    for entry in entries:
        for field, known in listed.items():
            if entry[field] not in known:
                what = f"annotation {entry['id']} of {path} is of {field} {entry[field]!r}"
                raise ValueError(f"{what}, which the file does not list: {AGAIN}")


def _check_outlines(path: Path, entries: Sequence[Mapping[str, Any]], shown: Mapping[Any, str]) -> None:
    if boxes := [entry for entry in entries if not entry["segmentation"]]:
        first = f"annotation {boxes[0]['id']} on {shown[boxes[0]['image_id']]}"
        raise ValueError(
            f"{path} has boxes alone, no outlines: {first}, and {len(boxes) - 1} others; draw outlines, or remove the "
            "boxes, which are no segmentation"
        )
    for entry in entries:
        polygons = entry["segmentation"] if isinstance(entry["segmentation"], list) else []
        if any(not isinstance(p, list) or len(p) < TRIANGLE or len(p) % 2 for p in polygons):
            raise ValueError(
                f"annotation {entry['id']} of {path}, on {shown[entry['image_id']]}, has a polygon that is not x, y, "
                "x, y, ... of three or more points: draw it anew or remove it"
            )


def _classes(categories: Sequence[Mapping[str, Any]], drawn: set[str]) -> tuple[str, ...]:
    """Without those that group others, as the first one of Roboflow's, which bears the project's name."""
    inner = [category for category in categories if category.get("supercategory") != category["name"]]
    groups = {category.get("supercategory") for category in inner} - drawn
    names = [str(category["name"]) for category in categories]
    return tuple(dict.fromkeys(name for name in names if name not in groups))
