"""Lightning data modules of sets whose labels are outlines: COCO's form, LabelMe's and YOLO's."""

from pathlib import Path
from typing import Any

from dla.bands import as_bands
from dla.data.places import split_place
from dla.data.sample import SegmentationSet, Split
from dla.data.segmentation.folders import distinct
from dla.data.segmentation.modules import StoredData
from dla.data.segmentation.outlines.coco import Coco
from dla.data.segmentation.outlines.labelme import LabelMe
from dla.data.segmentation.outlines.outlined import IGNORED, Outlined, outline_colors, with_background
from dla.data.segmentation.outlines.yolo import Yolo


class OutlineData(StoredData):
    """Outlines; a subclass says where they are, and how they are read.

    Args:
        root: Folder of the set.
        images: Folder of the images within root; {split} stands for train, val or test.
        annotations: Of the labels within root, in the same way.
        classes: Names of the categories that count, in the order of their indices; all else counts as not drawn. Null
            takes all that the labels of train name, and other splits may then have no other ones.
        background: Name of the class of pixels within no outline, which has index 0 unless it is among the classes;
            null makes such pixels void.
        hold_out: Where there is no val: every tenth image of train, in the order of names, validates and is not trained
            on. Frames of one film, which are alike, are better parted by hand.
        bands: As of `FolderData`.
        **settings: Those of `SegmentationData`.
    """

    reader: type[Outlined]
    otherwise = "; or name the classes, as --data.classes"
    """What also helps where what names the categories is missing."""

    def __init__(
        self,
        root: str,
        *,
        images: str,
        annotations: str,
        classes: list[str] | None = None,
        background: str | None = "background",
        hold_out: bool = False,
        bands: list[tuple[float, float]] | None = None,
        **settings: Any,
    ) -> None:
        self.bands = as_bands(bands)
        super().__init__(root, **settings)
        counted = self._categories(annotations) if classes is None else distinct(classes)
        self.classes = with_background(counted, background)
        self.colors = outline_colors(self.classes, background)
        self.layout: dict[str, Any] = {
            "background": background,
            "images": images,
            "annotations": annotations,
            "leave_out": classes is not None,
            "hold_out": hold_out,
            "bands": self.bands,
        }

    def read(self, split: Split) -> SegmentationSet:
        """The images and masks of one split; a missing file is named by a FileNotFoundError."""
        return self.reader(self.root, split, classes=self.classes, **self.layout)

    def _categories(self, annotations: str) -> tuple[str, ...]:
        """What the labels of train name."""
        labels = split_place(self.root, annotations, "train")
        try:
            named = self.reader.categories(Path(self.root), labels)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error}{self.otherwise}") from error
        return tuple(name for name in named if name != IGNORED)


class CocoData(OutlineData):
    """Outlines in files of COCO's form, as CVAT, Label Studio, Roboflow and others export them.

    Args:
        images: Folder of the images within root; {split} stands for train, val or test. Paths that the labels name are
            within it; where such files are not there, those of the last parts of the paths are taken.
        annotations: File of the labels within root, in the same way.
        **settings: Those of `OutlineData` and `SegmentationData`.
    """

    reader = Coco

    def __init__(
        self,
        root: str,
        *,
        images: str = "{split}2017",
        annotations: str = "annotations/instances_{split}2017.json",
        **settings: Any,
    ) -> None:
        super().__init__(root, images=images, annotations=annotations, **settings)


class LabelMeData(OutlineData):
    """Outlines as LabelMe keeps them, a JSON file for each image; images without one are left out.

    Args:
        images: Folder of the images within root; {split} stands for train, val or test.
        annotations: Folder of the JSON files within root, in the same way; they have the names of the images.
        **settings: Those of `OutlineData` and `SegmentationData`.
    """

    reader = LabelMe

    def __init__(self, root: str, *, images: str = "{split}", annotations: str = "{split}", **settings: Any) -> None:
        super().__init__(root, images=images, annotations=annotations, **settings)


class YoloData(OutlineData):
    """Outlines in the form of YOLO's segmentation, a text file for each image; `root` holds data.yaml or classes.txt.

    Args:
        images: Folder of the images within root; {split} stands for train, val or test.
        annotations: Folder of the text files within root, in the same way; on images without one nothing is drawn.
        **settings: Those of `OutlineData` and `SegmentationData`.
    """

    reader = Yolo
    otherwise = ""  # without names the numbers say nothing

    def __init__(
        self, root: str, *, images: str = "images/{split}", annotations: str = "labels/{split}", **settings: Any
    ) -> None:
        super().__init__(root, images=images, annotations=annotations, **settings)
