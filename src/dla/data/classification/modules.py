"""Lightning data modules of classification: digits, CIFAR, your own folders; elsewhere fine-grained sets, shards."""

from typing import Any, Literal

from dla.bands import as_bands
from dla.data.classification.base import SmallImagesData, StoredImagesData
from dla.data.classification.cifar import cifar_classes, read_cifar
from dla.data.classification.digits import CLASSES, read_digits
from dla.data.classification.files import parted
from dla.data.classification.folders import LabelledFolder, folder_classes
from dla.data.classification.labelled import ImageArrays, LabelledSet
from dla.data.places import split_place, warn_of_val
from dla.data.sample import Split
from dla.data.transforms import PerChannel


class DigitsData(SmallImagesData):
    """Handwritten digits that scikit-learn brings along, 1,438 to train and 359 to validate: nothing to download.

    Args:
        size: Side to which the images of 8x8 pixels are enlarged, in pixels.
        batch_size: Training images a batch, in each process.
        pad: Largest shift of a training image to any side, in pixels of the enlarged image.
        flip: Mirror training images, which makes other signs of digits.
        **settings: The others of `SmallImagesData`.
    """

    classes = CLASSES
    mean: PerChannel = (0.306, 0.306, 0.306)
    std: PerChannel = (0.319, 0.319, 0.319)

    def __init__(
        self, *, size: int = 16, batch_size: int = 32, pad: int = 2, flip: bool = False, **settings: Any
    ) -> None:
        super().__init__(size=size, batch_size=batch_size, pad=pad, flip=flip, **settings)

    def read(self, split: Split) -> ImageArrays:
        """All digits of one split; there is no test split."""
        return read_digits(split, size=self.crop)


class CIFARData(SmallImagesData):
    """CIFAR-10 or CIFAR-100, 45,000 images to train, 5,000 to validate, a tenth of each class, and 10,000 to test.

    Args:
        root: Folder that holds cifar-10-batches-bin or cifar-100-binary, or train/CLASS/*.png and test/CLASS/*.png.
        count: Number of classes, 10 or 100.
        **settings: Those of `SmallImagesData`, but for size.
    """

    mean: PerChannel = (0.4914, 0.4822, 0.4465)
    std: PerChannel = (0.2470, 0.2435, 0.2616)

    def __init__(self, root: str, *, count: Literal[10, 100] = 10, **settings: Any) -> None:
        super().__init__(size=32, **settings)
        self.root, self.count = root, count
        self.classes = cifar_classes(root, count)

    def read(self, split: Split) -> ImageArrays:
        """All images of one split; a missing folder or file is named by a FileNotFoundError."""
        return read_cifar(self.root, split, count=self.count)


class ImageFolderData(StoredImagesData):
    """Images in a folder per class, as ImageNet or your own: root/train/CLASS/NAME.jpg, the same with val and test.

    Args:
        root: Folder of the set.
        class_file: File with a class name a line, in the order of the indices; null takes root/classes.txt where there
            is one, else the folders of root/train by name. Other splits may lack a class, but have no other one.
        hold_out: Where there is no val: every tenth image of each class of train, in the order of names, validates and
            is not trained on.
        bands: Where images have other channels than red, green and blue, or more bits than 8: for each the values that
            become black and white, as [[0, 3000], [0, 3000], [0, 3000], [0, 5000]]; null reads pictures in colour.
        **settings: Those of `StoredImagesData`.
    """

    def __init__(
        self,
        root: str,
        *,
        class_file: str | None = None,
        hold_out: bool = False,
        bands: list[tuple[float, float]] | None = None,
        **settings: Any,
    ) -> None:
        self.bands = as_bands(bands)  # first, since augmentation is made for them
        super().__init__(**settings)
        self.root, self.hold_out = root, hold_out
        self.classes = folder_classes(root, class_file)

    def read(self, split: Split) -> LabelledSet:
        """The images of one split; a missing folder is named by a FileNotFoundError."""
        if self.hold_out and split != "test":
            if split == "val":
                warn_of_val(self.root, "{split}")
            train = split_place(self.root, "{split}", "train")
            return parted(LabelledFolder(train, self.classes, self.bands), split)
        folder = split_place(self.root, "{split}", split)
        if split == "val" and not folder.is_dir():
            raise FileNotFoundError(
                f"no folder {folder}: expected a folder per class in it, or --data.hold_out true, by which some of "
                "train validate"
            )
        return LabelledFolder(folder, self.classes, self.bands)
