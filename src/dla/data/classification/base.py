"""The data modules that classification sets share: small images kept in memory, and files of any size."""

from collections.abc import Sized
from typing import Any, ClassVar

from dla.data.base import SetData
from dla.data.classification.labelled import LabelledSet, SeededImages
from dla.data.classification.views import Policy, center_view, random_view, ten_views
from dla.data.loading import Item
from dla.data.sample import Split
from dla.data.sampling import RepeatedSampler, SeededSampler
from dla.data.shift import Shift
from dla.data.transforms import MEAN, STD, PerChannel, normalized


class ClassificationData(SetData[LabelledSet]):
    """What the data modules of all classification sets share.

    A batch, after `on_after_batch_transfer`, is a dictionary: `image` float32 (B, C, H, W), normalised, or
    (B, 10, C, H, W) where ten crops of each image are measured; `label` int64 (B,), -1 where an image only fills up an
    uneven last batch of several processes; `index` and `epoch` int64 (B,).

    A subclass sets `classes`, `crop`, the side of the images in pixels, and `resize`, the shorter side to which an
    image is resized before its centre is cut out.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    mean: PerChannel = MEAN
    std: PerChannel = STD
    shift: Shift | None = None
    crop: int
    resize: int

    def on_after_batch_transfer(self, batch: Item, dataloader_idx: int) -> Item:
        """On the device: shift a training batch where that is done in batches, then normalise."""
        image = batch["image"]
        if self.shift is not None and "parameters" in batch:
            image = self.shift(image, batch["parameters"])
        kept = {key: batch[key] for key in ("label", "index", "epoch")}
        pixels = normalized(image.flatten(0, -4), self.mean, self.std)  # the crops of an image as images
        return {"image": pixels.view(image.shape), **kept}


class SmallImagesData(ClassificationData):
    """Images of one small size, kept in memory; training images are shifted and mirrored in batches, on the device.

    Args:
        size: Side of the images, in pixels.
        batch_size: Training images a batch, in each process.
        val_batch_size: Validation and test images a batch.
        pad: Largest shift of a training image to any side, in pixels; its mirror image fills the gap.
        flip: Mirror training images left and right, half of the time.
        workers: Processes that load the data; 0 loads in the main process.
        **settings: The others of `SetData`.
    """

    def __init__(
        self,
        *,
        size: int,
        batch_size: int = 128,
        val_batch_size: int = 500,
        pad: int = 4,
        flip: bool = True,
        workers: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, val_batch_size=val_batch_size, workers=workers, **settings)
        if not 0 <= pad < size:
            raise ValueError(f"pad is {pad}; expected 0 to {size - 1} pixels, less than the side of the images")
        self.crop = self.resize = size
        self.shift = Shift(pad=pad, flip=flip)

    def training(self) -> SeededImages:
        """The training images, with the parameters of their shifts."""
        return SeededImages(self._set("train"), seed=self.seed, batch_augment=self.shift, repeat=self.repeat)

    def whole(self, split: Split) -> SeededImages:
        """The images of a split as they are."""
        return SeededImages(self._set(split), seed=self.seed)


class StoredImagesData(ClassificationData):
    """Images of any size, read from files: a random part of each to train, the centre to measure.

    Args:
        batch_size: Training images a batch, in each process.
        val_batch_size: Validation and test images a batch.
        crop: Side of the images that the network sees, in pixels.
        resize: Shorter side, in pixels, to which images are resized before their centre is cut out to be measured; null
            for 8/7 of `crop`, as 256 for 224.
        scale: Range of the part of a training image's area that is cut out, at an aspect between 3:4 and 4:3.
        flip: Mirror training images left and right, half of the time.
        color: Brightness, contrast and saturation of training images vary by up to this part; 0 turns it off.
        jitter: Brightness, contrast and sharpness of training images vary by up to this part instead, in random order,
            as in the authors' recipe (0.4); 0 turns it off.
        lighting: Standard deviation of light along the principal components of ImageNet's colours (the authors: 0.1); 0
            turns it off.
        policy: Further augmentation of training images by torchvision: randaugment, trivialaugment, autoaugment,
            augmix, or null.
        aug_repeats: Repeated augmentation: how often each image that an epoch draws comes in a row, augmented
            differently. An epoch is as long as without, and draws a part of the images.
        ten_crop: `validate` and `test` measure each image in ten crops: corners, centre, and their mirror images; `fit`
            watches the centre.
        cache: Read every image once, at the start, and keep it in memory, 3 bytes a pixel, or of bands 4 each.
        workers: Processes that load the data; 0 loads in the main process.
        **settings: The others of `SetData`.
    """

    def __init__(
        self,
        *,
        batch_size: int = 64,
        val_batch_size: int = 64,
        crop: int = 224,
        resize: int | None = None,
        scale: tuple[float, float] = (0.08, 1.0),
        flip: bool = True,
        color: float = 0.0,
        jitter: float = 0.0,
        lighting: float = 0.0,
        policy: Policy | None = None,
        aug_repeats: int = 1,
        ten_crop: bool = False,
        cache: bool = False,
        workers: int = 2,
        **settings: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, val_batch_size=val_batch_size, workers=workers, **settings)
        self.crop, self.resize = crop, round(crop * 8 / 7) if resize is None else resize
        self.cache, self.aug_repeats = cache, aug_repeats
        if aug_repeats < 1:
            raise ValueError(f"aug_repeats is {aug_repeats}; expected 1, which turns it off, or more")
        if self.bands is not None and (color or jitter or lighting or policy):
            raise ValueError(
                "color, jitter, lighting and policy are for red, green and blue: leave them out with bands"
            )
        self.random_view = random_view(
            crop=crop, scale=scale, flip=flip, color=color, jitter=jitter, lighting=lighting, policy=policy
        )
        self.center_view = center_view(crop=crop, resize=self.resize)
        self.ten_views = ten_views(crop=crop, resize=self.resize) if ten_crop else None

    def training(self) -> SeededImages:
        """Random parts of the training images."""
        return SeededImages(self._set("train"), seed=self.seed, transform=self.random_view, repeat=self.repeat)

    def whole(self, split: Split) -> SeededImages:
        """The centres of a split's images."""
        return SeededImages(self._set(split), seed=self.seed, transform=self.center_view)

    def measured(self, split: Split) -> SeededImages:
        """The centres, or ten crops where they are asked for and a network is not just watched while it is trained."""
        watched = self.trainer is not None and self.trainer.state.fn == "fit"
        if self.ten_views is None or watched:
            return self.whole(split)
        return SeededImages(self._set(split), seed=self.seed, transform=self.ten_views)

    def sampler(self, dataset: Sized) -> SeededSampler:
        """Each image several times in a row where repeated augmentation is asked for."""
        if self.aug_repeats == 1:
            return super().sampler(dataset)
        return RepeatedSampler(dataset, copies=self.aug_repeats, seed=self.seed)
