"""What the data modules of synthetic scenes share, whatever is to be found in them: scenes are made on the fly."""

from typing import Any, Literal

from dla.data.sample import Split
from dla.data.segmentation.base import SegmentationData


class SceneData(SegmentationData):
    """Synthetic scenes: nothing to download. They are the same whatever the seed is, as a set on disk would be.

    Args:
        size: Side of the images, in pixels.
        train_images: How many scenes to train on.
        val_images: How many other scenes to validate, and again others to test on.
        val_batch_size: Validation and test images a batch.
        crop: Side of the square cut out of training images, in pixels; null for the whole image.
        augment: Augment training images one by one in the workers, "sample", or at once on the device, "batch".
        cache: Make the scenes once and keep them in memory, 4 bytes a pixel.
        workers: Processes that load the data; 0 loads in the main process.
        **settings: The others of the job's data module.
    """

    def __init__(
        self,
        *,
        size: int = 96,
        train_images: int = 1024,
        val_images: int = 128,
        val_batch_size: int = 16,
        crop: int | None = None,
        augment: Literal["sample", "batch"] = "batch",
        cache: bool = True,
        workers: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(
            val_batch_size=val_batch_size,
            crop=size if crop is None else crop,
            augment=augment,
            cache=cache,
            workers=workers,
            **settings,
        )
        self.size, self.train_images, self.val_images = size, train_images, val_images

    def scene_options(self, split: Split) -> dict[str, Any]:
        """Which scenes a split has, as their sets take it."""
        count = self.train_images if split == "train" else self.val_images
        return {"count": count, "size": self.size, "split": split}
