"""The order of samples, and the seed of each: a function of seed, epoch and index, and of nothing else."""

from collections.abc import Iterator, Sized
from typing import NamedTuple, cast

import numpy as np
from torch import distributed
from torch.utils.data import DistributedSampler


class Draw(NamedTuple):
    """One sample to load: in which epoch, which item, and whether it only fills up an uneven last round."""

    epoch: int
    item: int
    filler: bool = False


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
        grouped = distributed.is_available() and distributed.is_initialized()
        if num_replicas is None:
            num_replicas = distributed.get_world_size() if grouped else 1
        if rank is None:
            rank = distributed.get_rank() if grouped else 0
        super().__init__(
            dataset,  # type: ignore[arg-type]  # a length is all it asks for
            num_replicas=num_replicas,
            rank=rank,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
        )
        self.size = len(dataset)

    def __iter__(self) -> Iterator[Draw]:
        """The draws of this process in the current epoch."""
        order = cast(Iterator[int], super().__iter__())
        # The parent deals the order out in turns: entry i of this process is entry rank + i * processes of all.
        for turn, item in enumerate(order):
            position = self.rank + turn * self.num_replicas
            yield Draw(epoch=self.epoch, item=item, filler=position >= self.size)
