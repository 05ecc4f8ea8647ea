"""The order of samples, and the seed of each: a function of seed, epoch and index, and of nothing else."""

import os
from collections.abc import Iterator, Sized
from itertools import islice
from typing import NamedTuple, cast

import numpy as np
from torch import distributed
from torch.utils.data import DistributedSampler


class Draw(NamedTuple):
    """One sample to load: in which epoch, which item, and whether it only fills up an uneven last round."""

    epoch: int
    item: int
    filler: bool = False


def as_draw(index: int | Draw) -> Draw:
    """A draw; of an index, which Lightning's `overfit_batches` asks for, always the same one."""
    return index if isinstance(index, Draw) else Draw(epoch=0, item=index)


def global_seed() -> int:
    """That of Lightning's `seed_everything`, 0 where it was not called."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


def this_process() -> tuple[int, int]:
    """Its rank in the process group, and how many processes that has; 0 of 1 without a group."""
    grouped = distributed.is_available() and distributed.is_initialized()
    return (distributed.get_rank(), distributed.get_world_size()) if grouped else (0, 1)


def draw_seed(seed: int, epoch: int, index: int) -> int:
    """A seed of 64 bits for one sample in one epoch; neighbouring arguments give unrelated seeds."""
    return int(np.random.SeedSequence((seed, epoch, index)).generate_state(1, np.uint64)[0])


class SeededSampler(DistributedSampler[Draw]):
    """Yields draws, shuffled anew each epoch by seed + epoch, and split between the processes of a distributed run.

    Being a `DistributedSampler`, it is left in place by Lightning, which calls `set_epoch` before each epoch; so epoch
    n has the same order whether or not the epochs before it ran in this process.

    Every process must take equally many steps, else the ones with more wait for ever. Where the size of the set is no
    multiple of the number of processes, training (`drop_last`) leaves the rest out, at most one sample a process;
    evaluation repeats the first samples, and marks the repeats as *filler*. `Seeded` blanks their masks to 255, so that
    no metric counts a sample twice.

    Args:
        dataset: Anything with a length.
        shuffle: Whether the order is random.
        seed: Seed of the order, at least 0.
        drop_last: Leave out the rest, instead of filling up.
        num_replicas: Number of processes; by default those of the process group, 1 without one.
        rank: Which of them this is; by default its rank in the process group, 0 without one.
    """

    def __init__(
        self,
        dataset: Sized,
        *,
        shuffle: bool,
        seed: int = 0,
        drop_last: bool = False,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        own_rank, processes = this_process()
        super().__init__(
            dataset,  # type: ignore[arg-type]  # a length is all it asks for
            num_replicas=processes if num_replicas is None else num_replicas,
            rank=own_rank if rank is None else rank,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
        )
        self.size = len(dataset)
        self.had = (-1, 0)  # an epoch, and how many of its draws were had before

    def leave_out(self, epoch: int, draws: int) -> None:
        """Begin one epoch behind its first draws, which a run that goes on within it has had; the length stays."""
        self.had = (epoch, draws)

    @property
    def first(self) -> int:
        """The turn at which the current epoch begins."""
        epoch, draws = self.had
        return draws if epoch == self.epoch else 0

    def __iter__(self) -> Iterator[Draw]:
        """The draws of this process in the current epoch."""
        order = cast(Iterator[int], super().__iter__())
        # The parent deals the order out in turns: entry i of this process is entry rank + i * processes of all.
        for turn, item in islice(enumerate(order), self.first, None):
            position = self.rank + turn * self.num_replicas
            yield Draw(epoch=self.epoch, item=item, filler=position >= self.size)


class RepeatedSampler(SeededSampler):
    """Repeated augmentation: each image that an epoch draws comes several times in a row, augmented differently.

    The copies are dealt to the processes in turns, so that they are in one step of all processes together (Hoffer et
    al., 2020). An epoch is as long as without, and so draws only a part of the images, others each time. Copy c of item
    i is draw i + c * len(dataset): `SeededImages` takes it for the same image, and augments it by a seed of its own.

    Args:
        dataset: Anything with a length.
        copies: How often an image comes in a row.
        seed: Seed of the order, at least 0.
        num_replicas: See `SeededSampler`, and so the next.
        rank: Which of the processes this is.
    """

    def __init__(
        self, dataset: Sized, *, copies: int, seed: int = 0, num_replicas: int | None = None, rank: int | None = None
    ) -> None:
        if copies < 1:
            raise ValueError(f"copies is {copies}; expected how often an image comes in a row, at least 1")
        super().__init__(dataset, shuffle=True, seed=seed, drop_last=True, num_replicas=num_replicas, rank=rank)
        self.copies = copies

    def __iter__(self) -> Iterator[Draw]:
        """The draws of this process in the current epoch."""
        whole = SeededSampler(range(self.size), shuffle=True, seed=self.seed, num_replicas=1, rank=0)
        whole.set_epoch(self.epoch)
        order = [draw.item for draw in whole]
        for turn in range(self.first, self.num_samples):
            place, copy = divmod(self.rank + turn * self.num_replicas, self.copies)
            yield Draw(epoch=self.epoch, item=order[place] + copy * self.size)
