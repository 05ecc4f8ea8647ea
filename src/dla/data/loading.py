"""From a set to batches: decoded once, augmented by the seed of each draw, stacked."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from shutil import disk_usage
from typing import Any, TypeAlias, TypeVar

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from dla.data.batch_augment import BatchAugment
from dla.data.sample import IGNORE_INDEX
from dla.data.sampling import Draw, as_draw, draw_seed
from dla.data.shift import Shift
from dla.machine import memory

# One loaded sample: `image` uint8 (3, H, W), `mask` uint8 (H, W), `index` and `epoch` int64 (), which say where it
# comes from, and, if it is to be augmented in its batch, `parameters` float32 (8,). A batch has B of each, stacked.
Item: TypeAlias = dict[str, Tensor]

Kept = TypeVar("Kept")  # of what is read at a place
FEW = 8  # samples, by which it is judged what all take
SHARED = Path("/dev/shm")  # on Linux; batches of the processes that load lie there until they are used
ONE_BY_ONE = "set --data.augment sample for training, and --data.val_batch_size 1 for evaluation"


def read_all(dataset: Any, shown: str = "") -> list[Any]:
    """All of a set, read once; as a list it is a set in memory, which the loader's workers share.

    Args:
        dataset: The set.
        shown: What stands beside a bar, which goes once all is read; no bar where it is empty.

    Raises:
        ValueError: the machine has not so much memory, as far as the first samples show.
    """
    found: list[Any] = []
    count = len(dataset)
    with closing(read_each(dataset.__getitem__, range(count), shown)) as samples:
        for sample in samples:
            found.append(sample)
            if len(found) == FEW:
                _expect_room(found, count)
    return found


def read_each(read: Callable[[int], Kept], places: Sequence[int], shown: str = "") -> Generator[Kept, None, None]:
    """What `read` gives for each place, in their order, by several threads; `shown` as of `read_all`."""
    console, pool = Console(stderr=True), ThreadPoolExecutor()  # Pillow decodes outside Python's lock
    try:
        found = pool.map(read, places)
        yield from track(found, shown, len(places), console=console, transient=True, disable=not shown)
    finally:
        pool.shutdown(cancel_futures=True)  # what is not read by now, after an error, never is


class Cached:
    """A set whose samples are read once, at the start, and kept in memory as uint8.

    They are read before the loader's workers start, so that all of them share the one copy.

    Args:
        dataset: The set.
        shown: As of `read_all`.

    Raises:
        ValueError: as by `read_all`.
    """

    def __init__(self, dataset: Any, shown: str = "") -> None:
        self.files = getattr(dataset, "files", None)  # where it has some, to name them
        self.samples = read_all(dataset, shown)

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        """Sample number `index`; not a copy, so it must not be changed."""
        return self.samples[index]


def _expect_room(first: list[Any], count: int) -> None:
    """Refuse what would fill the memory, upon which a system ends the program without a word."""
    size = sum(part.nbytes for sample in first for part in sample if isinstance(part, Tensor)) * count // len(first)
    room = memory()
    if room is not None and size > room:
        raise ValueError(
            f"{count} images take about {size / 2**30:.0f} GiB once they are read, and this machine has "
            f"{room / 2**30:.0f}: set --data.cache false, or for segmentation reduce them, as by --data.max_size 1024"
        )


class Seeded(Dataset[Item]):
    """A set indexed by draws, so that augmentation depends on seed, epoch and index alone.

    Not on the number of workers, nor on what ran before: an interrupted run goes on as if it had not been.

    Args:
        dataset: The set of samples.
        seed: Seed of the augmentation, at least 0.
        transform: Joint transform of (image, mask), run under the seed of the draw; None for none.
        batch_augment: Augmentation of whole batches, for which the parameters are drawn here; None for none.
        repeat: How often an epoch visits the set. Index i stands for sample i % len(dataset), augmented anew.
    """

    truth = "mask"  # its name in an item

    def __init__(
        self,
        dataset: Any,
        *,
        seed: int = 0,
        transform: Callable[..., tuple[Tensor, Tensor]] | None = None,
        batch_augment: BatchAugment | Shift | None = None,
        repeat: int = 1,
    ) -> None:
        self.dataset, self.seed, self.repeat = dataset, seed, repeat
        self.transform, self.batch_augment = transform, batch_augment

    def blank(self, truth: Tensor) -> Tensor:
        """What a filler has in place of its truth."""
        return torch.full_like(truth, IGNORE_INDEX)

    def __len__(self) -> int:
        """The number of indices: samples times repeats."""
        return len(self.dataset) * self.repeat

    def __getitem__(self, draw: Draw | int) -> Item:
        """The sample of a draw, augmented; a filler's mask is 255 everywhere."""
        draw = as_draw(draw)
        return self.item(draw, self.dataset[draw.item % len(self.dataset)])

    def item(self, draw: Draw, sample: Any) -> Item:
        """What a draw makes of its sample."""
        epoch, index, filler = draw
        image, mask = sample
        seed = draw_seed(self.seed, epoch, index)
        if self.transform is not None:
            image, mask = transformed(self.transform, image, mask, seed)
        mask = self.blank(mask) if filler else mask
        item = {"index": torch.tensor(index), "epoch": torch.tensor(epoch)}
        item |= {"image": image.as_subclass(Tensor), self.truth: mask.as_subclass(Tensor)}
        if self.batch_augment is not None:
            item["parameters"] = self.batch_augment.draw(seed)
        return item


def collate(items: list[Item]) -> Item:
    """Stack items of one size; unequal sizes raise a ValueError that names the indices and the remedy."""
    sizes = {int(item["index"]): tuple(item["image"].shape[1:]) for item in items}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{index}: {width}x{height}" for index, (height, width) in sizes.items())
        raise ValueError(f"images of unequal sizes cannot form a batch (numbers {listed}): {ONE_BY_ONE}")
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}


def fitting(collate: Callable[[list[Any]], dict[str, Any]], items: list[Any]) -> dict[str, Any]:
    """A batch as by `collate`, for which a process that loads it has room in shared memory, by which it is handed on.

    Raises:
        ValueError: there is none. torch would lose the batch, and wait for it for ever.
    """
    batch = collate(items)
    if get_worker_info() and SHARED.is_dir():
        parts = [part for value in batch.values() for part in (value if isinstance(value, list) else [value])]
        size, free = sum(part.nbytes for part in parts), disk_usage(SHARED).free
        if size > free:
            raise ValueError(
                f"a batch of {size / 2**20:.1f} MiB has no room in {SHARED}, where {free / 2**20:.1f} MiB are free: "
                "give it more (--shm-size in Docker), or set --data.workers 0"
            )
    return batch


def transformed(
    transform: Callable[..., tuple[Tensor, Tensor]], image: Tensor, mask: Tensor, seed: int
) -> tuple[Tensor, Tensor]:
    """What the transform makes of an image and its mask or label under a seed; the random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: in the main process that would seed the accelerator too, and never give it back.
        torch.default_generator.manual_seed(seed)
        return transform(image, mask)


def batches_done(loop: Any) -> int:
    """How many batches of its epoch a run has had that goes on within it; 0 where it goes on behind an epoch's end.

    A checkpoint is of within an epoch where validation comes several times in it, or where Slurm asked for one. An
    epoch that was cut off is not gone on with: Lightning takes it for done.

    Args:
        loop: Lightning's loop over epochs, as a checkpoint has left it.
    """
    epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress
    within = loop.restarting and epochs.processed < epochs.started and not batches.is_last_batch
    return int(batches.current.processed) if within else 0
