"""Sets whose labels are in the form of YOLO's segmentation: a text file for each image, and a list of the classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from dla.data.sample import Split
from dla.data.segmentation.outlines.fill import Picture
from dla.data.segmentation.outlines.outlined import Drawn, Labels, Outlined, labels_and_images
from dla.data.segmentation.outlines.yolo_file import NAMES, read_classes, read_shapes
from dla.data.segmentation.pairing import others


class Yolo(Outlined):
    """One split of a set with YOLO's labels. On an image without a file nothing is drawn, as the form has it.

    Args:
        root: Folder of the set, with the names of the classes in data.yaml or, a line each, in classes.txt.
        split: Which split to read.
        images: Folder of the images within root; {split} stands for train, val or test.
        annotations: Folder of the text files within root, in the same way; they have the names of the images.
        **settings: Those of `Outlined`.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        *,
        images: str = "images/{split}",
        annotations: str = "labels/{split}",
        **settings: Any,
    ) -> None:
        super().__init__(root, split, images=images, annotations=annotations, **settings)

    @staticmethod
    def read(root: Path, images: Path, annotations: Path) -> Labels:
        """What the files of a folder say, and all images."""
        names = read_classes(root)
        files, shown = labels_and_images(images, annotations, ".txt", besides=NAMES)
        if bare := [path for stem, path in shown.items() if stem not in files]:
            rank_zero_warn(f"{bare[0]} has no labels in {annotations}, so nothing is drawn on it{others(bare)}")
        drawn = [
            Drawn(path, label, Picture(path.name, None, read_shapes(label, names) if stem in files else []))
            for stem, path in shown.items()
            for label in [files.get(stem, annotations / f"{stem}.txt")]
        ]
        return Labels(annotations, _distinct(names), drawn)

    @staticmethod
    def categories(root: Path, annotations: Path) -> tuple[str, ...]:
        """The names of the classes."""
        return _distinct(read_classes(root))


def _distinct(names: Mapping[int, str]) -> tuple[str, ...]:
    """Each name once: two numbers of one name are one class."""
    return tuple(dict.fromkeys(names.values()))
