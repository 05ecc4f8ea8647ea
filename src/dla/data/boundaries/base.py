"""The data module that all boundary sets share: several truths of an image become one mask, and stay at hand."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from torch import Tensor

from dla.data.batch_augment import BatchAugment
from dla.data.boundaries.annotators import CLASSES, COLORS, Merge, Merger, SeededTruths, collate_truths
from dla.data.sample import Split
from dla.data.segmentation.base import SegmentationData


class BoundaryData(SegmentationData):
    """What the data modules of all boundary sets share; a subclass reads a split.

    A batch is that of `SegmentationData`, with a mask of 0, 1 on boundaries, and 255 where pixels do not count.
    Validation and test batches have `truths` too, for the benchmark: a list of B tensors, bool (A, H, W), one map for
    each of the annotators of that image; none, A = 0, where the image only fills up the last round of processes.

    What a turned or small image lacks is filled with its mirror image and the mirrored truth, which counts: it is as
    true as the rest, while ignoring it would leave a quarter of a BSDS crop without use. Lines stay whole when
    they are turned.

    Args:
        merge: How the annotators become one mask: "any", what at least one marks is boundary; "vote", what more than
            `threshold` of them mark, and what fewer mark does not count; "sample", what one of them marks, drawn anew
            in each epoch, while validation votes.
        threshold: The share of the annotators that "vote" asks for.
        crop: Side of the square cut out of training images, in pixels.
        scale: Range of the random factor of a training image's size; null keeps the size.
        rotate: Largest random rotation to either side, in degrees.
        flip: Mirror training images left and right, half of the time.
        color: Brightness, contrast and saturation of training images vary by up to this part; 0 turns it off.
        augment: Where training images are augmented: "sample", one by one in the loader's workers, or "batch", all at
            once on the device. The latter asks for images of one size but for their orientation: it turns those that
            are higher than wide by 90 degrees.
        cache: Read every image once, at the start, and keep it in memory, 3 bytes a pixel and one per annotator.
        **settings: The others of `SegmentationData`.
    """

    tasks: ClassVar[tuple[str, ...]] = ("boundaries", "segmentation")
    classes = CLASSES
    colors = COLORS
    turns = True
    collate = staticmethod(collate_truths)

    def __init__(
        self,
        *,
        merge: Merge = "vote",
        threshold: float = 0.3,
        crop: int = 416,
        scale: tuple[float, float] | None = None,
        rotate: float = 180.0,
        flip: bool = True,
        color: float = 0.4,
        augment: Literal["sample", "batch"] = "sample",
        cache: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(
            crop=crop, scale=scale, rotate=rotate, flip=flip, color=color, augment=augment, cache=cache, **settings
        )
        self.merger = Merger(merge, threshold)
        self.judge = Merger("vote", threshold) if merge == "sample" else self.merger

    def batch_augmentation(self, **options: Any) -> BatchAugment:
        """What augments whole batches: reflection outside, and lines that stay whole."""
        return BatchAugment(padding="reflect", lines=True, **options)

    def sample_augmentation(self, **options: Any) -> Callable[..., tuple[Tensor, Tensor]]:
        """The same for a single image."""
        return self.batch_augmentation(**options).single

    def training(self) -> SeededTruths:
        """The training images, with one mask each, augmented."""
        return SeededTruths(
            self._set("train"),
            merger=self.merger,
            landscape=self.batch_augment is not None,
            seed=self.seed,
            transform=self.transform,
            batch_augment=self.batch_augment,
            repeat=self.repeat,
        )

    def whole(self, split: Split) -> SeededTruths:
        """The images of a split as they are, with one mask and all truths each."""
        return SeededTruths(self._set(split), merger=self.judge, keep=True, seed=self.seed)
