"""The data module of WebDataset shards, for classification sets that outgrow a folder."""

from collections.abc import Sized
from importlib import import_module
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from dla.data.classification.base import StoredImagesData
from dla.data.classification.folders import folder_classes
from dla.data.classification.shard_files import ShardImages, expanded_shards
from dla.data.classification.shard_stream import ShardStream
from dla.data.sample import Split
from dla.data.sampling import SeededSampler, this_process


class ShardsData(StoredImagesData):
    """Images in tar files, KEY.jpg (or .jpeg, .png, .webp) beside KEY.cls, which says the class by index or name.

    The shards of train are streamed, in an order that depends on seed and epoch. Those of val and test are local files,
    of which the places of all images are read at the start, so that each image counts once.

    Args:
        train: Shards to train on, such as data/shards/train-{0000..0127}.tar; also by http:, https: or pipe:COMMAND,
            which runs the command.
        val: Shards to validate on, local files that are not compressed.
        test: Shards to test on, likewise; null where there are none.
        train_images: Training images an epoch, of all processes together: the number that the shards hold, or another.
        class_file: File with a class name a line, in the order of their indices.
        count: Number of classes, where there is no such file; they are then named by their indices.
        buffer: Images from which each worker picks the next one, at random, not decoded: 1000 of ImageNet are 110 MB.
        **settings: Those of `StoredImagesData`, but for cache, repeat and aug_repeats.
    """

    streams = True
    lengthens = "train_images"

    def __init__(
        self,
        train: str,
        val: str,
        *,
        train_images: int,
        test: str | None = None,
        class_file: str | None = None,
        count: int | None = None,
        buffer: int = 1000,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        _require_webdataset()
        if self.cache or self.repeat != 1 or self.aug_repeats != 1:
            raise ValueError(
                "cache, repeat and aug_repeats do not work with shards; train_images sets an epoch's length"
            )
        if train_images < 1 or buffer < 1:
            raise ValueError(f"train_images is {train_images} and buffer {buffer}; expected numbers of at least 1")
        self.shards: dict[Split, str | None] = {"train": train, "val": val, "test": test}
        self.train_images, self.buffer = train_images, buffer
        self.classes = _classes(class_file, count)

    def read(self, split: Split) -> Any:
        """The names of the shards of train; the images of val or test, found by reading through their shards once."""
        shards = self.shards[split]
        if shards is None:
            raise ValueError(f"there are no {split} shards: name them by --data.{split}")
        names = expanded_shards(shards)
        return names if split == "train" else ShardImages(names, self.classes)

    def holds(self, split: Split) -> str:
        """The same, of train its shards, since their images are not counted."""
        return f"{len(self._set(split))} shards of train" if split == "train" else super().holds(split)

    def training(self) -> ShardStream:  # type: ignore[override]  # what the loader wants of either is the same
        """Random parts of the training images, in this process's share of the shards."""
        shards: Any = self._set("train")
        rank, processes = this_process()
        if len(shards) < processes * max(1, self.workers):
            raise ValueError(
                f"train has {len(shards)} shards, too few for {processes} processes of {max(1, self.workers)} workers, "
                "each of which reads its own: lower --data.workers or make more shards"
            )
        return ShardStream(
            shards,
            self.classes,
            images=self.train_images,
            transform=self.random_view,
            buffer=self.buffer,
            seed=self.seed,
            rank=rank,
            processes=processes,
        )

    def sampler(self, dataset: Sized) -> SeededSampler:
        """Draws in ascending order; the stream is in random order itself."""
        return SeededSampler(dataset, shuffle=False, drop_last=True)

    def go_on(self, sampler: SeededSampler, epoch: int, batches: int) -> None:
        """Say that a stream begins anew: to leave out what was had of it would be to read it all."""
        if batches:
            rank_zero_warn(
                f"the checkpoint is of epoch {epoch + 1} after {batches} batches: its shards are read from their "
                "start, so that the rest of this epoch has images again that it had before"
            )


def _require_webdataset() -> None:
    try:
        import_module("webdataset")
    except ModuleNotFoundError:
        message = "shards are read by webdataset: pip install 'deep-layer-aggregation[shards]'"
        raise ModuleNotFoundError(message) from None


def _classes(file: str | None, count: int | None) -> tuple[str, ...]:
    if (file is None) == (count is None):
        raise ValueError(f"class_file is {file} and count is {count}; expected one of them, to tell the classes")
    if file is not None:
        return folder_classes("", file)
    if not count or count < 1:
        raise ValueError(f"count is {count}; expected the number of classes, at least 1")
    return tuple(str(number) for number in range(count))
