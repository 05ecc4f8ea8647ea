"""Pascal VOC's layout, which CVAT, Datumaro and others export: one folder of images, one of masks, and lists."""

from pathlib import Path
from typing import Any

from dla.data.sample import IGNORE_INDEX
from dla.data.segmentation.indices import Void
from dla.data.segmentation.modules import FolderData
from dla.images import RGB

LABEL_MAP = "labelmap.txt"
BORDER: RGB = (224, 224, 192)
CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class VocData(FolderData):
    """Pascal VOC, 21 classes, or your own images as CVAT's "Segmentation mask" and other programs export them.

        root/JPEGImages/NAME.jpg    root/SegmentationClass/NAME.png    root/ImageSets/Segmentation/train.txt and val.txt

    Args:
        class_file: File within root that names the classes and their colours; null takes labelmap.txt, where that is
            there, else the classes of Pascal VOC.
        void: The colour, or without a class file the index, of what is no class; null is what Pascal VOC draws around
            things.
        names: File within root that lists the images of a split; {split} stands for train, val or test.
        **settings: Those of `FolderData` and `SegmentationData`.
    """

    def __init__(
        self,
        root: str,
        *,
        classes: list[str] | None = None,
        class_file: str | None = None,
        void: Void | None = None,
        images: str = "JPEGImages",
        annotations: str = "SegmentationClass",
        names: str = "ImageSets/Segmentation/{split}.txt",
        **settings: Any,
    ) -> None:
        if classes is None and class_file is None:
            mapped = Path(root, LABEL_MAP).is_file()
            classes, class_file = (None, LABEL_MAP) if mapped else ([*CLASSES], None)
        if void is None:
            void = IGNORE_INDEX if class_file is None else BORDER
        settings |= {"images": images, "annotations": annotations, "names": names}
        super().__init__(root, classes=classes, class_file=class_file, void=void, **settings)
