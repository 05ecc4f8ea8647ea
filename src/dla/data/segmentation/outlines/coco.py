"""Sets whose labels are outlines in files of COCO's form, as programs for labelling export them."""

from pathlib import Path
from typing import Any

from dla.data.sample import Split
from dla.data.segmentation.outlines.coco_file import read_coco
from dla.data.segmentation.outlines.outlined import Drawn, Labels, Outlined
from dla.data.segmentation.pairing import named_files


class Coco(Outlined):
    """One split of a set with labels in COCO's form: a file for all images.

    Args:
        root: Folder of the set.
        split: Which split to read.
        images: Folder of the images within root; {split} stands for train, val or test. Paths that the labels name are
            within it; where such files are not there, those of the last parts of the paths are taken.
        annotations: File of the labels within root, in the same way.
        **settings: Those of `Outlined`.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        *,
        images: str = "{split}2017",
        annotations: str = "annotations/instances_{split}2017.json",
        **settings: Any,
    ) -> None:
        super().__init__(root, split, images=images, annotations=annotations, **settings)

    @staticmethod
    def read(root: Path, images: Path, annotations: Path) -> Labels:
        """What the file says, and the images that it names."""
        categories, pictures = read_coco(annotations)
        files = named_files(images, [picture.name for picture in pictures], annotations)
        drawn = [Drawn(file, annotations, picture) for file, picture in zip(files, pictures, strict=True)]
        return Labels(annotations, categories, drawn)

    @staticmethod
    def categories(root: Path, annotations: Path) -> tuple[str, ...]:
        """What the file names, in the order of the numbers."""
        return read_coco(annotations).categories
