"""Sets whose labels LabelMe has written: a JSON file for each image, beside it or in a folder of their own."""

from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from dla.data.sample import Split
from dla.data.segmentation.outlines.labelme_file import read_labelme
from dla.data.segmentation.outlines.outlined import Drawn, Labels, Outlined, files_by_stem, labels_and_images
from dla.data.segmentation.pairing import others


class LabelMe(Outlined):
    """One split of a set with LabelMe's labels. An image without a file has not been labelled, and is left out.

    Args:
        root: Folder of the set.
        split: Which split to read.
        images: Folder of the images within root; {split} stands for train, val or test.
        annotations: Folder of the JSON files within root, in the same way; they have the names of the images.
        **settings: Those of `Outlined`.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        *,
        images: str = "{split}",
        annotations: str = "{split}",
        **settings: Any,
    ) -> None:
        super().__init__(root, split, images=images, annotations=annotations, **settings)

    @staticmethod
    def read(root: Path, images: Path, annotations: Path) -> Labels:
        """What the files of a folder say, and their images."""
        files, shown = labels_and_images(images, annotations, ".json")
        if bare := [path for stem, path in shown.items() if stem not in files]:
            rank_zero_warn(f"{bare[0]} has no labels in {annotations}, and is left out{others(bare)}")
        drawn = [Drawn(shown[stem], path, read_labelme(path)) for stem, path in files.items()]
        named = {shape.category for of in drawn for shape in of.picture.shapes}
        return Labels(annotations, tuple(sorted(named)), drawn)

    @staticmethod
    def categories(root: Path, annotations: Path) -> tuple[str, ...]:
        """What the files of a folder name, in the order of the alphabet."""
        pictures = map(read_labelme, files_by_stem(annotations, (".json",), "annotations").values())
        return tuple(sorted({shape.category for picture in pictures for shape in picture.shapes}))
