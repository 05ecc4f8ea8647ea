"""What is wrong with a file in COCO's form, in words: the entry, what was expected, and what to do."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from dla.names import repeated

FIELDS = {
    "images": ("id", "file_name", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "segmentation"),
}
"""The lists of a file, and what each entry must have."""

AGAIN = "export the labels again, as COCO with outlines (polygons or masks)"


def checked(path: Path, content: Any) -> dict[str, list[dict[str, Any]]]:
    """The lists of a file's content, of which all is as it should be.

    Raises:
        ValueError: it is not, as `read_coco` says.
    """
    held = content if isinstance(content, dict) else {}
    for part in FIELDS:
        _expect_entries(path, part, held.get(part))
    images, categories, annotations = (held[part] for part in FIELDS)
    _expect_pictures(path, images)
    _expect_ids(path, categories)
    shown = {image["id"]: image["file_name"] for image in images}
    _expect_listed(path, annotations, "image_id", shown)
    _expect_listed(path, annotations, "category_id", {category["id"] for category in categories})
    _expect_outlines(path, annotations, shown)
    return {part: held[part] for part in FIELDS}


def _expect_entries(path: Path, part: str, entries: Any) -> None:
    if not isinstance(entries, list):
        raise ValueError(f"{path} has no list of {part}, as files in COCO's form have: {AGAIN}")
    for place, entry in enumerate(entries):
        held = entry if isinstance(entry, dict) else {}
        if lacking := [field for field in FIELDS[part] if held.get(field) is None]:
            name = held.get("id", f"number {place}")
            raise ValueError(f"{path}: {name} of its {part} has no {lacking[0]}: {AGAIN}")


def _expect_pictures(path: Path, images: Sequence[Mapping[str, Any]]) -> None:
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


def _expect_ids(path: Path, categories: Sequence[Mapping[str, Any]]) -> None:
    if twice := repeated(str(number) for number, _ in {(each["id"], str(each["name"])) for each in categories}):
        raise ValueError(
            f"{path} has two categories of id {twice[0]}: expected an id of its own for each name; {AGAIN}"
        )


def _expect_listed(path: Path, entries: Sequence[Mapping[str, Any]], field: str, listed: Collection[Any]) -> None:
    for entry in entries:
        if entry[field] not in listed:
            what = f"annotation {entry['id']} of {path} is of {field} {entry[field]!r}"
            raise ValueError(f"{what}, which the file does not list: {AGAIN}")


def _expect_outlines(path: Path, entries: Sequence[Mapping[str, Any]], shown: Mapping[Any, str]) -> None:
    for entry in entries:
        polygons = entry["segmentation"] if isinstance(entry["segmentation"], list) else []
        if any(not isinstance(polygon, list) or not polygon or len(polygon) % 2 for polygon in polygons):
            raise ValueError(
                f"annotation {entry['id']} of {path}, on {shown[entry['image_id']]}, has a polygon that is not x, y, "
                "x, y, ...: draw it anew or remove it"
            )
