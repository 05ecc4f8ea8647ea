"""The Lightning data module of sets whose labels are in COCO's form."""

from typing import Any

from dla.bands import as_bands
from dla.data.sample import SegmentationSet, Split
from dla.data.segmentation.coco import Coco, coco_categories, outline_colors, with_background
from dla.data.segmentation.folders import distinct
from dla.data.segmentation.modules import StoredData


class CocoData(StoredData):
    """Outlines in files of COCO's form, as CVAT, Label Studio, Roboflow and others export them.

    Args:
        root: Folder of the set.
        classes: Names of the categories that count, in the order of their indices; all else counts as not drawn. Null
            takes all that the labels of train name, and other splits may then have no other ones.
        background: Name of the class of pixels within no outline, which has index 0 unless it is among the classes;
            null makes such pixels void.
        images: Folder of the images within root; {split} stands for train, val or test. Paths that the labels name are
            within it; where such files are not there, those of the last parts of the paths are taken.
        annotations: File of the labels within root, in the same way.
        hold_out: Where there is no val: every tenth image of train, in the order of names, validates and is not trained
            on. Frames of one film, which are alike, are better parted by hand.
        bands: As of `FolderData`.
        **settings: Those of `SegmentationData`.
    """

    def __init__(
        self,
        root: str,
        *,
        classes: list[str] | None = None,
        background: str | None = "background",
        images: str = "{split}2017",
        annotations: str = "annotations/instances_{split}2017.json",
        hold_out: bool = False,
        bands: list[tuple[float, float]] | None = None,
        **settings: Any,
    ) -> None:
        self.bands = as_bands(bands)
        super().__init__(root, **settings)
        counted = coco_categories(root, annotations) if classes is None else distinct(classes)
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
        return Coco(self.root, split, classes=self.classes, **self.layout)
