"""Lightning data modules of segmentation: synthetic scenes, CamVid, Cityscapes, your own images."""

from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from dla.bands import as_bands
from dla.data.sample import SegmentationSet, Split
from dla.data.segmentation.base import SegmentationData
from dla.data.segmentation.camvid import CamVid
from dla.data.segmentation.cityscapes import Cityscapes
from dla.data.segmentation.class_file import named_classes
from dla.data.segmentation.folders import PairedFolders, class_colors, distinct
from dla.data.segmentation.indices import Void
from dla.data.segmentation.pairing import others
from dla.data.segmentation.reduced import Reduced
from dla.data.segmentation.scene_base import SceneData
from dla.data.segmentation.scenes import Scenes
from dla.images import RGB


class ScenesData(SceneData):
    """Synthetic scenes, made on the fly: nothing to download.

    Args:
        scale: Range of the random factor of a training image's size; null keeps the size.
        rotate: Largest random rotation to either side, in degrees.
        **settings: Those of `SceneData`, and the others of `SegmentationData`.
    """

    classes = Scenes.classes
    colors = Scenes.colors

    def __init__(self, *, scale: tuple[float, float] | None = None, rotate: float = 0.0, **settings: Any) -> None:
        super().__init__(scale=scale, rotate=rotate, **settings)

    def read(self, split: Split) -> SegmentationSet:
        """The scenes of one split."""
        return Scenes(**self.scene_options(split))


class StoredData(SegmentationData):
    """A set read from a folder; a subclass names its classes and reads a split.

    Args:
        root: Folder of the set.
        max_size: What the longer side of larger images is reduced to, in pixels, as 1024 for photographs of a phone;
            `dla predict` does the same, and gives masks of the pictures' own size. Null keeps all as they are.
        **settings: Those of `SegmentationData`.

    Raises:
        ValueError: `max_size` is below 1.
    """

    def __init__(self, root: str, *, max_size: int | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        if max_size is not None and max_size < 1:
            raise ValueError(f"max_size is {max_size}; expected a number of pixels of at least 1, or null")
        self.root, self.max_size = root, max_size

    def prepared(self, found: SegmentationSet) -> SegmentationSet:
        """The set with its larger images reduced."""
        return Reduced(found, self.max_size) if self.max_size else found


class CamVidData(StoredData):
    """CamVid in SegNet's layout, eleven classes; `root` holds train, trainannot, val, valannot, test, testannot."""

    classes = CamVid.classes
    colors = CamVid.colors

    def read(self, split: Split) -> SegmentationSet:
        """The images and masks of one split; a missing folder or file is named by a FileNotFoundError."""
        return CamVid(self.root, split)


class CityscapesData(StoredData):
    """Cityscapes in its official layout, 19 classes; `root` holds leftImg8bit and gtFine."""

    classes = Cityscapes.classes
    colors = Cityscapes.colors

    def read(self, split: Split) -> SegmentationSet:
        """The images and masks of one split; a missing folder or file is named by a FileNotFoundError."""
        return Cityscapes(self.root, split)


class FolderData(StoredData):
    """Your own images: root/train/NAME.jpg and root/trainannot/NAME.png, the same with val and test.

    Args:
        root: Folder of the set.
        classes: Names of the classes, in the order of the indices that the annotations hold; null for those of
            `class_file`.
        class_file: File within root that names the classes and what annotations hold for each, as programs for
            labelling write it: labelmap.txt, label_colors.txt, class_dict.csv or _classes.csv. What holds `void` is
            no class.
        colors: One RGB colour per class, for pictures; null for those of `values`, else evenly spread hues.
        void: What annotations hold where no class is given: a number, a colour, or "other", which is all else.
        values: What annotations hold for each class, as [0, 255] in masks of black and white, or its colour where they
            are painted, as [[0, 0, 0], [200, 30, 30]]; null for its index, or for what `class_file` says.
        images: Folder of the images within root; {split} stands for train, val or test.
        annotations: Folder of the annotations within root; it may be that of the images where there is a suffix.
        suffix: What annotations have in their names behind that of the image, as _mask in NAME_mask.png.
        names: File within root that lists the images of a split, in the same way, one a line, which may lie in folders
            within `images`; or in each line the paths of an image and its annotation within root. Null for all that
            lie there.
        hold_out: Where there is no val: every tenth image of train, in the order of names, validates and is not trained
            on. Frames of one film, which are alike, are better parted by hand.
        bands: Where images have other channels than red, green and blue, or more bits than 8: for each the values that
            become black and white, as [[0, 3000], [0, 3000], [0, 3000], [0, 5000]]; null reads pictures in colour.
        **settings: Those of `SegmentationData`.

    Raises:
        ValueError: neither `classes` nor `class_file` names the classes, or both do, or values or colours do not fit.
    """

    def __init__(
        self,
        root: str,
        *,
        classes: list[str] | None = None,
        class_file: str | None = None,
        colors: list[RGB] | None = None,
        void: Void = 255,
        values: list[int] | list[RGB] | None = None,
        images: str = "{split}",
        annotations: str = "{split}annot",
        suffix: str = "",
        names: str | None = None,
        hold_out: bool = False,
        bands: list[tuple[float, float]] | None = None,
        **settings: Any,
    ) -> None:
        self.bands = as_bands(bands)  # first, since augmentation is made for them
        super().__init__(root, **settings)
        named, held = named_classes(root, classes, values, class_file, void)
        self.classes = distinct(named)
        self.colors = class_colors(len(named), colors, held)
        self.layout: dict[str, Any] = {
            "void": void,
            "values": held,
            "images": images,
            "annotations": annotations,
            "suffix": suffix,
            "names": names,
            "hold_out": hold_out,
            "bands": self.bands,
        }

    def setup(self, stage: str = "fit") -> None:
        """As of `SegmentationData`; warn of images that lists give to train and to val, too."""
        super().setup(stage)
        if stage == "fit":
            sets: Any = self.sets
            train = {image for image, _ in sets["train"].files}
            if shared := [image for image, _ in sets["val"].files if image in train]:
                rank_zero_warn(
                    f"{shared[0]} is in train and in val{others(shared)}: what is measured on val is too good; list "
                    "each image for one of them"
                )

    def read(self, split: Split) -> SegmentationSet:
        """The images and masks of one split; a missing folder or file is named by a FileNotFoundError."""
        return PairedFolders(self.root, split, classes=self.classes, colors=self.colors, **self.layout)
