"""The data module that all segmentation sets share: from a set to normalised batches on the device."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from jaxtyping import Int
from torch import Tensor

from dla.data.base import STAGES, SetData
from dla.data.batch_augment import BatchAugment
from dla.data.loading import ONE_BY_ONE, Seeded
from dla.data.sample import PixelSet, Split
from dla.data.segmentation.balance import count_pixels
from dla.data.transforms import MEAN, STD, PerChannel, joint_transforms, normalized
from dla.images import RGB


class SegmentationData(SetData[PixelSet[Any]]):
    """What the data modules of all segmentation sets share; a subclass names the classes and reads a split.

    Training images are cropped and augmented; validation and test images come whole. A batch, after
    `on_after_batch_transfer`, is a dictionary: `image` float32 (B, 3, H, W), normalised; `mask` int64 (B, H, W),
    255 where pixels do not count; `index` and `epoch` int64 (B,). Where a subclass has `bands`, an image has C of them.

    Args:
        batch_size: Training images a batch, in each process.
        val_batch_size: Validation and test images a batch; above 1, they must be of one size.
        crop: Side of the square cut out of training images, in pixels; what it lacks is padded, and ignored.
        scale: Range of the random factor of a training image's size; null keeps the size.
        rotate: Largest random rotation to either side, in degrees.
        flip: Mirror training images left and right, half of the time.
        color: Brightness, contrast and saturation of training images vary by up to this part; 0 turns it off.
        augment: Where training images are augmented: "sample", one by one in the loader's workers, or "batch", all at
            once on the device, which a fast accelerator needs, and which asks for images of one size.
        cache: Read every image once, at the start, and keep it in memory, 4 bytes a pixel, or of bands 4 each.
        workers: Processes that load the data; 0 loads in the main process.
        **settings: The others of `SetData`.
    """

    tasks: ClassVar[tuple[str, ...]] = ("segmentation",)
    colors: tuple[RGB, ...]
    mean: PerChannel = MEAN
    std: PerChannel = STD
    turns: ClassVar[bool] = False  # training images that are higher than wide, where batches are augmented

    def __init__(
        self,
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
        **settings: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, val_batch_size=val_batch_size, workers=workers, **settings)
        self.cache = cache
        if augment not in ("sample", "batch"):
            raise ValueError(f"augment is {augment!r}; expected 'sample' or 'batch'")
        options = {"crop": crop, "scale": scale, "rotate": rotate, "flip": flip, "color": color}
        in_batches = augment == "batch"
        self.batch_augment = self.batch_augmentation(**options) if in_batches else None
        self.transform = None if in_batches else self.sample_augmentation(**options)

    def batch_augmentation(self, **options: Any) -> BatchAugment:
        """What augments whole batches; its options are crop, scale, rotate, flip and color."""
        return BatchAugment(**options)

    def sample_augmentation(self, **options: Any) -> Callable[..., tuple[Tensor, Tensor]]:
        """What augments an image and its mask; its options are the same."""
        if self.bands is not None:  # torchvision's changes of colour are for red, green and blue
            return self.batch_augmentation(**options).single
        return joint_transforms(**options)

    def count_pixels(self, part: int = 0, parts: int = 1) -> Int[Tensor, " classes"]:
        """How many pixels of the training images each class has; `part` and `parts` are those of `count_pixels`."""
        shown = self.bar("counting the pixels of each class")
        return count_pixels(self.whole("train"), self.num_classes, shown, part=part, parts=parts)

    def training(self) -> Seeded:
        """The training images, augmented."""
        return Seeded(
            self._set("train"),
            seed=self.seed,
            transform=self.transform,
            batch_augment=self.batch_augment,
            repeat=self.repeat,
        )

    def whole(self, split: Split) -> Seeded:
        """The images of a split as they are."""
        return Seeded(self._set(split), seed=self.seed)

    def setup(self, stage: str = "fit") -> None:
        """Read the splits that a stage needs, and no others: "fit" (train and val), "validate" or "test".

        Raises:
            ValueError: images are cached, to be stacked, and of different sizes.
        """
        super().setup(stage)
        for split in STAGES[stage] if self.cache else ():
            stacked = self.batch_augment is not None if split == "train" else self.val_batch_size > 1
            if stacked:
                self._check_sizes(split)

    def named(self, split: Split, index: int) -> str:
        """The file of an image of a split that was read, or where it has none its number."""
        files = getattr(self._set(split), "files", None)
        return str(files[index][0]) if files else f"number {index}"

    def _check_sizes(self, split: Split) -> None:
        """Refuse what could not be stacked, now and not in the first epoch or behind it."""
        kept: Any = self.sets[split]
        sizes = [tuple(sample.image.shape[:-3:-1]) for sample in kept.samples]  # width, height
        if split == "train" and self.turns:
            sizes = [(max(size), min(size)) for size in sizes]
        odd = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
        if odd is not None:
            first, other = (f"{width}x{height}" for width, height in (sizes[0], sizes[odd]))
            raise ValueError(
                f"images of {split} are of different sizes, {first} and {other} ({self.named(split, odd)}), and cannot "
                f"form batches: {ONE_BY_ONE}"
            )

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """On the device: augment a training batch where that is done in batches, then normalise; the rest stays."""
        image, mask = batch["image"], batch["mask"]
        if self.batch_augment is not None and "parameters" in batch:
            image, mask = self.batch_augment(image, mask, batch["parameters"])
        rest = {key: value for key, value in batch.items() if key != "parameters"}
        return rest | {"image": normalized(image, self.mean, self.std), "mask": mask.long()}
