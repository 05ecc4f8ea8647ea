"""What all data modules share: a set per split, read when it is needed, and loaders over draws of it."""

import warnings
from collections.abc import Sized
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar, cast

import torch
from lightning import LightningDataModule
from torch.multiprocessing import get_sharing_strategy
from torch.utils.data import DataLoader, Dataset

from dla.bands import Bands
from dla.data.loading import Cached, Item, batches_done, collate, fitting
from dla.data.sample import Split
from dla.data.sampling import SeededSampler, global_seed
from dla.data.transforms import MIDDLE, SPREAD, PerChannel

Set = TypeVar("Set")
NOT_RESUMABLE = ".*resuming from a checkpoint that ended before the epoch ended.*"  # Lightning's, of any loader
STAGES: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}


class SetData(LightningDataModule, Generic[Set]):
    """Reads the splits that a stage needs, and gives batches of their draws; a run that goes on gets the same ones.

    A subclass says how a split is read, and what its draws are.

    Args:
        batch_size: Training images a batch, in each process.
        val_batch_size: Validation and test images a batch.
        workers: Processes that load the data; 0 loads in the main process.
        seed: Seed of order and augmentation, at least 0; null takes that of `seed_everything`, 0 without one.
        repeat: How often one epoch goes through the training images, augmented differently each time.

    Raises:
        ValueError: a number is too small, and named: `workers` and `seed` are at least 0, the others at least 1.
    """

    tasks: ClassVar[tuple[str, ...]]  # the kinds of task that its batches are for
    classes: tuple[str, ...]
    mean: PerChannel  # per channel, of images from 0 to 1: the set's own, until `normalize_as` says otherwise
    std: PerChannel
    bands: Bands | None = None  # ranges of their values, where images have other channels than RGB
    streams: ClassVar[bool] = False  # training images come one after another, and none can be looked up
    lengthens: ClassVar[str] = "repeat"  # the option by which an epoch has more images
    collate = staticmethod(collate)
    cache: bool = False  # keep a split in memory

    def __init__(
        self, *, batch_size: int, val_batch_size: int, workers: int, seed: int | None = None, repeat: int = 1
    ) -> None:
        super().__init__()
        if self.bands is not None:
            self.mean, self.std = len(self.bands) * (MIDDLE,), len(self.bands) * (SPREAD,)
        seed = global_seed() if seed is None else seed
        at_least_1 = {"batch_size": batch_size, "val_batch_size": val_batch_size, "repeat": repeat}
        for name, number in {**at_least_1, "workers": workers, "seed": seed}.items():
            if number < (least := int(name in at_least_1)):
                raise ValueError(f"{name} is {number}; expected a number of at least {least}")
        self.batch_size, self.val_batch_size = batch_size, val_batch_size
        self.workers, self.seed, self.repeat = workers, seed, repeat
        self.sets: dict[Split, Set] = {}

    def read(self, split: Split) -> Set:
        """The set of one split; called once, when a stage first needs it."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to read its {split} split")

    def prepared(self, found: Set) -> Set:
        """What is made of a split before anything of it is read or kept: nothing, unless a subclass says so."""
        return found

    def training(self) -> Dataset[Item]:
        """The training split, indexed by draws, augmented."""
        raise NotImplementedError

    def whole(self, split: Split) -> Dataset[Item]:
        """A split, indexed by draws, as it is measured."""
        raise NotImplementedError

    def measured(self, split: Split) -> Dataset[Item]:
        """What is loaded of a split to measure it: by default the whole."""
        return self.whole(split)

    def sampler(self, dataset: Sized) -> SeededSampler:
        """The order in which an epoch draws training images."""
        return SeededSampler(dataset, shuffle=True, seed=self.seed, drop_last=True)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.classes)

    def normalize_as(self, mean: PerChannel, std: PerChannel) -> None:
        """Normalise batches from now on as weights expect that were trained on other images than these."""
        self.mean, self.std = mean, std

    def setup(self, stage: str = "fit") -> None:
        """Read the splits that a stage needs, and no others: "fit" (train and val), "validate" or "test".

        Raises:
            ValueError: it is another stage.
        """
        if stage not in STAGES:
            raise ValueError(f"stage is {stage!r}; expected one of {', '.join(STAGES)}: `dla predict` reads pictures")
        for split in STAGES[stage]:
            if split not in self.sets:
                found: Any = self.prepared(self.read(split))
                self.sets[split] = cast(Set, Cached(found, self.bar(f"reading {split}"))) if self.cache else found

    def holds(self, split: Split) -> str:
        """How much there is of a split that was read, in words, such as "367 images of train"."""
        found: Any = self._set(split)
        return f"{len(found)} images of {split}"

    def train_dataloader(self) -> DataLoader[Item]:
        """Batches of augmented images in random order; the last, incomplete one is left out."""
        dataset: Any = self.training()
        sampler = self.sampler(dataset)
        if len(sampler) < self.batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} exceeds the {len(sampler)} training samples of this process; "
                f"lower batch_size or raise {self.lengthens}"
            )
        if self.trainer is not None:  # a resumed run's workers read ahead before Lightning sets the epoch
            loop: Any = self.trainer.fit_loop
            done = loop.epoch_progress.current.processed
            sampler.set_epoch(done)  # not `current_epoch`, which is one behind at this moment
            self.go_on(sampler, done, batches_done(loop))
        return self._loader(dataset, sampler, self.batch_size, drop_last=True)

    def go_on(self, sampler: SeededSampler, epoch: int, batches: int) -> None:
        """Leave out what a run has had of the epoch in which it goes on, which Lightning would load once more."""
        if batches:
            sampler.leave_out(epoch, batches * self.batch_size)
            warnings.filterwarnings("ignore", message=NOT_RESUMABLE)

    def val_dataloader(self) -> DataLoader[Item]:
        """Validation images in order."""
        return self._measured("val")

    def test_dataloader(self) -> DataLoader[Item]:
        """Test images in order."""
        return self._measured("test")

    def bar(self, doing: str) -> str:
        """What stands beside a bar while a split is read: what is done, or nothing where no progress is shown."""
        shows = self.trainer is not None and self.trainer.is_global_zero and self.trainer.progress_bar_callback
        return doing if shows else ""

    def _set(self, split: Split) -> Set:
        if split not in self.sets:
            raise RuntimeError(f"the {split} split is not read yet: call setup first, as the trainer does")
        return self.sets[split]

    def _measured(self, split: Split) -> DataLoader[Item]:
        dataset: Any = self.measured(split)
        return self._loader(dataset, SeededSampler(dataset, shuffle=False), self.val_batch_size, drop_last=False)

    def _loader(
        self, dataset: Dataset[Item], sampler: SeededSampler, batch_size: int, drop_last: bool
    ) -> DataLoader[Item]:
        # A fork shares what is cached; of what is sent to another process, each tensor takes one of its open files. Not
        # so on macOS, which passes tensors on by name, and whose own libraries may crash in a fork.
        forks = self.workers > 0 and self.cache and get_sharing_strategy() == "file_descriptor"
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=partial(fitting, self.collate),
            pin_memory=torch.cuda.is_available(),
            drop_last=drop_last,
            persistent_workers=self.workers > 0,
            multiprocessing_context="fork" if forks else None,
        )
