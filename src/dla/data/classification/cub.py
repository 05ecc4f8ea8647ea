"""CUB-200-2011, 11,788 photographs of 200 species of birds, as its publisher lays them out."""

import re
from collections.abc import Iterable, Sequence
from math import ceil, floor
from pathlib import Path
from typing import Literal

from torchvision import tv_tensors

from dla.data.classification.files import LabelledFiles, checked_files, read_lines
from dla.data.classification.labelled import Labelled

FOLDER = "CUB_200_2011"
PARTS = {"train": "1", "test": "0"}  # in train_test_split.txt

# Each line of these files: a number, which is the class's or the image's, and what is said of it.
LINES = {
    "classes.txt": (r"(\d+) (\S.*)", "NUMBER NAME"),
    "images.txt": (r"(\d+) (\S.*)", "NUMBER PATH"),
    "image_class_labels.txt": (r"(\d+) (\d+)", "NUMBER CLASS"),
    "train_test_split.txt": (r"(\d+) ([01])", "NUMBER 1, or 0 where the image is of test"),
    "bounding_boxes.txt": (
        r"(\d+) (-?\d+\.?\d* -?\d+\.?\d* \d+\.?\d* \d+\.?\d*)",
        "NUMBER LEFT TOP WIDTH HEIGHT",
    ),
}

Box = tuple[float, float, float, float]  # left, top, width, height, in pixels


class BoxedFiles(LabelledFiles):
    """Image files, of each of which the part in its box counts, widened to whole pixels.

    Args:
        files: Paths and indices of classes.
        boxes: As many boxes. One that lies outside its image is named by a ValueError once the image is asked for.
    """

    def __init__(self, files: Sequence[tuple[str, int]], boxes: Sequence[Box]) -> None:
        super().__init__(files)
        self.boxes = list(boxes)

    def __getitem__(self, index: int) -> Labelled:
        """What is in the box of image number `index`."""
        image, label = super().__getitem__(index)
        left, top, width, height = self.boxes[index]
        rows = slice(max(0, floor(top)), max(0, ceil(top + height)))
        columns = slice(max(0, floor(left)), max(0, ceil(left + width)))
        part = image[:, rows, columns]
        if not part.numel():
            raise ValueError(
                f"{self.files[index][0]} is {image.shape[2]}x{image.shape[1]}, but its box lies at {left}, {top} "
                f"and is {width}x{height} (bounding_boxes.txt); expected a part of the image"
            )
        return Labelled(tv_tensors.Image(part), label)


def cub_classes(root: str | Path) -> tuple[str, ...]:
    """The names of the classes, such as 001.Black_footed_Albatross, in the order of their numbers.

    Raises:
        FileNotFoundError: `root` does not hold the set.
        ValueError: a line is malformed, or the numbers are not 1, 2, 3 and so on.
    """
    folder = Path(root) / FOLDER
    if not folder.is_dir():
        within = (Path(root) / "images.txt").is_file()
        remedy = "give the folder above" if within else "unpack CUB_200_2011.tgz there"
        raise FileNotFoundError(f"{root} does not hold CUB-200-2011: no folder {folder}; {remedy}")
    names = _values(folder / "classes.txt")
    if sorted(names) != list(range(1, len(names) + 1)):
        raise ValueError(f"{folder / 'classes.txt'} does not number the classes 1, 2, 3 and so on: unpack it again")
    return tuple(names[number] for number in sorted(names))


def read_cub(root: str | Path, part: Literal["train", "test"], *, boxes: bool = False) -> LabelledFiles:
    """The images of the publisher's train or test split.

        root/CUB_200_2011/images/CLASS/NAME.jpg
        root/CUB_200_2011/images.txt, image_class_labels.txt, train_test_split.txt
        root/CUB_200_2011/bounding_boxes.txt                where `boxes` are wanted

    Args:
        root: Folder that holds CUB_200_2011.
        part: "train" or "test"; the publisher has no val split.
        boxes: Cut each image to the box of its bird.

    Raises:
        FileNotFoundError: a file is missing, or an image that is named.
        ValueError: a line is malformed or missing, or gives a class that does not exist; or no image is of the split.
    """
    classes, folder = cub_classes(root), Path(root) / FOLDER
    images = _values(folder / "images.txt")
    chosen = _chosen(folder / "train_test_split.txt", images, part)
    labels = _labels(folder / "image_class_labels.txt", images, len(classes))
    named = [(str(folder / "images" / images[number]), labels[number]) for number in chosen]
    files = checked_files(named, classes, folder / "images.txt")
    if not boxes:
        return LabelledFiles(files)
    drawn = _values(folder / "bounding_boxes.txt", of=images)
    return BoxedFiles(files, [_box(drawn[number]) for number in chosen])


def _chosen(path: Path, images: Iterable[int], part: Literal["train", "test"]) -> list[int]:
    """The numbers of the images of a split."""
    split = _values(path, of=images)
    chosen = [number for number in images if split[number] == PARTS[part]]
    if not chosen:
        raise ValueError(f"{path} has no image of {part}; expected lines NUMBER {PARTS[part]}: unpack it again")
    return chosen


def _labels(path: Path, images: Iterable[int], classes: int) -> dict[int, int]:
    """The index of each image's class, from 0; the file counts from 1."""
    labels = {number: int(value) for number, value in _values(path, of=images).items()}
    for number, label in labels.items():
        if not 1 <= label <= classes:
            raise ValueError(f"{path} gives image {number} class {label}; expected 1 to {classes}: unpack it again")
    return {number: label - 1 for number, label in labels.items()}


def _values(path: Path, of: Iterable[int] = ()) -> dict[int, str]:
    """What a file says of each number; it must have a line for each number of `of`."""
    form, meaning = LINES[path.name]
    values: dict[int, str] = {}
    for count, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        match = re.fullmatch(form, line.strip())
        if not match or int(match[1]) in values:
            fault = "has a number again" if match else "is malformed"
            raise ValueError(f"line {count} of {path} {fault}: {line!r}; expected {meaning}")
        values[int(match[1])] = match[2]
    absent = next((number for number in of if number not in values), None)
    if absent is not None:
        raise ValueError(f"{path} has no line for image {absent}, which images.txt names: unpack it again")
    return values


def _box(text: str) -> Box:
    left, top, width, height = map(float, text.split())
    return left, top, width, height
