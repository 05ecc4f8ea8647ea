"""Lightning data modules, configured by their signatures: synthetic scenes, CamVid, Cityscapes."""

from typing import Any, Literal

from dla.data.camvid import CamVid
from dla.data.cityscapes import Cityscapes
from dla.data.paired import PairedFolders, spread_colors
from dla.data.sample import Color, SegmentationSet
from dla.data.scenes import Scenes
from dla.data.segmentation import SegmentationData, Split

__all__ = ["CamVidData", "CityscapesData", "FolderData", "ScenesData", "SegmentationData", "StoredData"]


class ScenesData(SegmentationData):
    """Synthetic scenes, made on the fly: nothing to download.

    Args:
        size: Side of the images, in pixels.
        train_images: How many scenes to train on.
        val_images: How many other scenes to validate, and again others to test on.
        batch_size: Training images a batch, in each process.
        val_batch_size: Validation and test images a batch.
        crop: Side of the square cut out of training images, in pixels; null for the whole image.
        scale: Range of the random factor of a training image's size; null keeps the size.
        rotate: Largest random rotation to either side, in degrees.
        flip: Mirror training images left and right, half of the time.
        color: Brightness, contrast and saturation of training images vary by up to this part; 0 turns it off.
        augment: Augment training images one by one in the workers, "sample", or at once on the device, "batch".
        cache: Make the scenes once and keep them in memory, 4 bytes a pixel.
        workers: Processes that load the data; 0 loads in the main process.
        seed: Seed of scenes, order and augmentation, at least 0.
        repeat: How often one epoch goes through the training images, augmented differently each time.
    """

    classes = Scenes.classes
    colors = Scenes.colors

    def __init__(
        self,
        *,
        size: int = 96,
        train_images: int = 1024,
        val_images: int = 128,
        batch_size: int = 16,
        val_batch_size: int = 16,
        crop: int | None = None,
        scale: tuple[float, float] | None = None,
        rotate: float = 0.0,
        flip: bool = True,
        color: float = 0.0,
        augment: Literal["sample", "batch"] = "batch",
        cache: bool = True,
        workers: int = 0,
        seed: int = 0,
        repeat: int = 1,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            val_batch_size=val_batch_size,
            crop=size if crop is None else crop,
            scale=scale,
            rotate=rotate,
            flip=flip,
            color=color,
            augment=augment,
            cache=cache,
            workers=workers,
            seed=seed,
            repeat=repeat,
        )
        self.size, self.train_images, self.val_images = size, train_images, val_images

    def read(self, split: Split) -> SegmentationSet:
        """The scenes of one split."""
        count = self.train_images if split == "train" else self.val_images
        return Scenes(count, size=self.size, split=split, seed=self.seed)


class StoredData(SegmentationData):
    """A set read from a folder; a subclass names its classes and reads a split.

    Args:
        root: Folder of the set.
        batch_size: Training images a batch, in each process.
        val_batch_size: Validation and test images a batch; above 1, they must be of one size.
        crop: Side of the square cut out of training images, in pixels; what it lacks is padded, and ignored.
        scale: Range of the random factor of a training image's size; null keeps the size.
        rotate: Largest random rotation to either side, in degrees.
        flip: Mirror training images left and right, half of the time.
        color: Brightness, contrast and saturation of training images vary by up to this part; 0 turns it off.
        augment: Where training images are augmented: "sample", one by one in the loader's workers, or "batch", all at
            once on the device, which a fast accelerator needs, and which asks for images of one size.
        cache: Read every image once, at the start, and keep it in memory, 4 bytes a pixel.
        workers: Processes that load the data; 0 loads in the main process.
        seed: Seed of order and augmentation, at least 0.
        repeat: How often one epoch goes through the training images, augmented differently each time.
    """

    def __init__(
        self,
        root: str,
        *,
        batch_size: int = 16,
        val_batch_size: int = 1,
        crop: int = 448,
        scale: tuple[float, float] | None = (0.5, 2.0),
        rotate: float = 10.0,
        flip: bool = True,
        color: float = 0.0,
        augment: Literal["sample", "batch"] = "sample",
        cache: bool = False,
        workers: int = 2,
        seed: int = 0,
        repeat: int = 1,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            val_batch_size=val_batch_size,
            crop=crop,
            scale=scale,
            rotate=rotate,
            flip=flip,
            color=color,
            augment=augment,
            cache=cache,
            workers=workers,
            seed=seed,
            repeat=repeat,
        )
        self.root = root


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
        classes: Names of the classes, in the order of the indices that the annotations hold.
        colors: One RGB colour per class, for pictures; null for evenly spread hues.
        void: What annotations hold where no class is given.
        **settings: Those of `StoredData`.
    """

    def __init__(
        self, root: str, *, classes: list[str], colors: list[Color] | None = None, void: int = 255, **settings: Any
    ) -> None:
        super().__init__(root, **settings)
        self.classes, self.void = tuple(classes), void
        self.colors = tuple(colors) if colors else spread_colors(len(classes))

    def read(self, split: Split) -> SegmentationSet:
        """The images and masks of one split; a missing folder or file is named by a FileNotFoundError."""
        return PairedFolders(self.root, split, classes=self.classes, colors=self.colors, void=self.void)
