"""Reads what is in the files of YOLO's segmentation: the names of the classes, and the outlines of one image."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from dla.data.segmentation.outlines.fill import Shape
from dla.files import read_text

NAMES = ("data.yaml", "classes.txt")
"""Where the names of the classes may stand, within the root."""

BOX = 4  # numbers: a box, since two points have no inside


def read_classes(root: Path) -> dict[int, str]:
    """The names of the classes by their numbers, in the order of these.

    Raises:
        FileNotFoundError: there is no file of them.
        ValueError: it has no names, their numbers are in doubt, or the labels are keypoints.
    """
    path = next((root / name for name in NAMES if (root / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"no {' or '.join(NAMES)} in {root}, which names the classes of YOLO's labels: copy it there by that name, "
            "or write classes.txt in the order of the numbers, a name a line"
        )
    return _listed(path) if path.suffix == ".txt" else _in_yaml(path)


def _listed(path: Path) -> dict[int, str]:
    """Those of a list, in which the number of a name is that of its line."""
    names = [line.strip() for line in read_text(path).rstrip().splitlines()]
    if not names:
        raise ValueError(f"{path} lists no class; expected one name a line")
    if "" in names:
        raise ValueError(
            f"line {names.index('') + 1} of {path} is empty, so that the numbers of the names behind it are in doubt: "
            "remove it, or write the name that belongs there"
        )
    return dict(enumerate(names))


def _in_yaml(path: Path) -> dict[int, str]:
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} cannot be read as YAML ({error}); expected the key names") from error
    held = content if isinstance(content, dict) else {}
    if "kpt_shape" in held:  # lines of a box and points, which would fill as an outline
        raise ValueError(f"{path} is of keypoints (kpt_shape): export the labels as YOLO for segmentation")
    names = held.get("names")
    numbered = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(numbered, dict) or not numbered or not all(isinstance(number, int) for number in numbered):
        raise ValueError(f"{path} has the names {names!r}; expected a list of the names of the classes")
    return {number: str(name) for number, name in sorted(numbered.items())}


def read_shapes(path: Path, names: Mapping[int, str]) -> list[Shape]:
    """What a file holds, a line each: number of the class, x and y of each point in parts of the picture, or a box.

    Raises:
        ValueError: a line is another one.
    """
    lines = enumerate(read_text(path).splitlines(), 1)
    return [_shape(path, number, line.split(), names) for number, line in lines if line.strip()]


def _shape(path: Path, number: int, words: Sequence[str], names: Mapping[int, str]) -> Shape:
    try:
        category, *polygon = map(float, words)  # some programs write 0.0 for class 0
    except ValueError as error:
        raise ValueError(f"line {number} of {path} is no number of a class and x, y, x, y, ... ({error})") from error
    if category not in names:
        raise ValueError(f"line {number} of {path} is of class {category:g}; there are {min(names)} to {max(names)}")
    if not all(-1 <= place <= 2 for place in polygon):
        raise ValueError(f"line {number} of {path} has other numbers than parts of the picture, from 0 to 1")
    if len(polygon) == BOX:
        return Shape(number, names[int(category)], "box")
    if len(polygon) % 2:
        raise ValueError(
            f"line {number} of {path} has {len(polygon)} numbers behind its class; expected x, y, x, y, ..."
        )
    return Shape(number, names[int(category)], [polygon])
