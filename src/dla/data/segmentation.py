"""The data module that all segmentation sets share: from a set to normalised batches on the device."""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from dla.data.batch_augment import BatchAugment, per_channel
from dla.data.loading import Cached, Item, Seeded, collate
from dla.data.sample import SegmentationSet
from dla.data.sampling import SeededSampler
from dla.data.transforms import MEAN, STD, joint_transforms
from dla.images import RGB

Split = Literal["train", "val", "test"]
Triple = tuple[float, float, float]
STAGES: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}


class SegmentationData(LightningDataModule):
    """What the data modules of all segmentation sets share; a subclass names the classes and reads a split.

    Training images are cropped and augmented; validation and test images come whole. A batch, after
    `on_after_batch_transfer`, is a dictionary: `image` float32 (B, 3, H, W), normalised; `mask` int64 (B, H, W),
    255 where pixels do not count; `index` and `epoch` int64 (B,).

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
        cache: Read every image once, at the start, and keep it in memory, 4 bytes a pixel.
        workers: Processes that load the data; 0 loads in the main process.
        seed: Seed of order and augmentation, at least 0.
        repeat: How often one epoch goes through the training images, augmented differently each time.
    """

    classes: tuple[str, ...]
    colors: tuple[RGB, ...]
    mean: ClassVar[Triple] = MEAN
    std: ClassVar[Triple] = STD

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
        seed: int = 0,
        repeat: int = 1,
    ) -> None:
        super().__init__()
        self.batch_size, self.val_batch_size = batch_size, val_batch_size
        self.cache, self.workers, self.seed, self.repeat = cache, workers, seed, repeat
        if augment not in ("sample", "batch"):
            raise ValueError(f"augment is {augment!r}; expected 'sample' or 'batch'")
        in_batches = augment == "batch"
        build: Callable = BatchAugment if in_batches else joint_transforms
        augmentation = build(crop=crop, scale=scale, rotate=rotate, flip=flip, color=color)
        self.batch_augment: BatchAugment | None = augmentation if in_batches else None
        self.transform = None if in_batches else augmentation
        self.sets: dict[Split, SegmentationSet] = {}

    def read(self, split: Split) -> SegmentationSet:
        """The set of one split; called once, when a stage first needs it."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to read its {split} split")

    @property
    def num_classes(self) -> int:
        """The number of classes, 255 not counted."""
        return len(self.classes)

    def setup(self, stage: str = "fit") -> None:
        """Read the splits that a stage needs, and no others: "fit" (train and val), "validate" or "test"."""
        for split in STAGES[stage]:
            if split not in self.sets:
                dataset = self.read(split)
                self.sets[split] = Cached(dataset) if self.cache else dataset

    def train_dataloader(self) -> DataLoader[Item]:
        """Batches of augmented crops in random order; the last, incomplete one is left out."""
        dataset = Seeded(
            self._set("train"),
            seed=self.seed,
            transform=self.transform,
            batch_augment=self.batch_augment,
            repeat=self.repeat,
        )
        sampler = SeededSampler(dataset, shuffle=True, seed=self.seed, drop_last=True)
        if len(sampler) < self.batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} exceeds the {len(sampler)} training samples of this process; "
                "lower batch_size or raise repeat"
            )
        if self.trainer is not None:  # a resumed run's workers read ahead before Lightning sets the epoch
            done = self.trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
            sampler.set_epoch(done)  # not `current_epoch`, which is one behind at this moment
        return self._loader(dataset, sampler, self.batch_size, drop_last=True)

    def val_dataloader(self) -> DataLoader[Item]:
        """Whole validation images in order."""
        return self._whole("val")

    def test_dataloader(self) -> DataLoader[Item]:
        """Whole test images in order."""
        return self._whole("test")

    def on_after_batch_transfer(self, batch: Item, dataloader_idx: int) -> Item:
        """On the device: augment a training batch where that is done in batches, then normalise."""
        image, mask = batch["image"], batch["mask"]
        if self.batch_augment is not None and "parameters" in batch:
            image, mask = self.batch_augment(image, mask, batch["parameters"])
        return {
            "image": normalized(image, self.mean, self.std),
            "mask": mask.long(),
            "index": batch["index"],
            "epoch": batch["epoch"],
        }

    def _set(self, split: Split) -> SegmentationSet:
        if split not in self.sets:
            raise RuntimeError(f"the {split} split is not read yet: call setup first, as the trainer does")
        return self.sets[split]

    def _whole(self, split: Split) -> DataLoader[Item]:
        dataset = Seeded(self._set(split), seed=self.seed)
        return self._loader(dataset, SeededSampler(dataset, shuffle=False), self.val_batch_size, drop_last=False)

    def _loader(self, dataset: Seeded, sampler: SeededSampler, batch_size: int, drop_last: bool) -> DataLoader[Item]:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            drop_last=drop_last,
            persistent_workers=self.workers > 0,
        )


def normalized(image: Tensor, mean: Triple, std: Triple) -> Float[Tensor, "b 3 h w"]:
    """Images between 0 and 255, of any type, over 255, less `mean` and over `std`, in float32."""
    return (image.float() / 255 - per_channel(mean, image.device)) / per_channel(std, image.device)
