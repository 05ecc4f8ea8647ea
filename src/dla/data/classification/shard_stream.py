"""Training images from shards: shards in random order, dealt out to processes and workers, and a buffer to mix them."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count
from random import Random

import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from dla.data.classification.shard_files import Stored, streamed_shard
from dla.data.loading import Item, transformed
from dla.data.sampling import Draw, as_draw, draw_seed


class ShardStream(Dataset[Item]):
    """The images of shards, in the guise of a map-style set: a draw gives the next image of the draw's epoch.

    So the loader, its sampler and the trainer treat it as any other set: every process takes equally many steps, and a
    resumed run starts its epoch as the run that was not stopped. Draws must come in ascending order; one of another
    epoch, or one that is not larger than the last, starts an epoch anew. Each worker of each process has shards of its
    own. Where an epoch has more draws than they have images, the shards are dealt out anew once all were drawn.

    The order depends on seed, epoch, and how many processes and workers there are; the augmentation of an image on
    seed, epoch and the image's key alone. An item is that of `SeededImages`.

    Args:
        shards: Names of the shards.
        classes: Names of all classes, in the order of their indices.
        images: Draws an epoch, of all processes together.
        transform: Transform of (image, label), run under the seed of the draw.
        buffer: Images, not decoded, of which each worker picks the next one.
        seed: Seed of order and augmentation, at least 0.
        rank: Which process this is, of `processes`.
        processes: Number of processes.
    """

    def __init__(
        self,
        shards: Sequence[str],
        classes: Sequence[str],
        *,
        images: int,
        transform: Callable[..., tuple[Tensor, Tensor]],
        buffer: int,
        seed: int = 0,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.shards, self.classes, self.images, self.transform = shards, classes, images, transform
        self.buffer, self.seed, self.rank, self.processes = buffer, seed, rank, processes
        self.last = Draw(epoch=-1, item=-1)
        self.source: Iterator[Stored] = iter(())

    def __len__(self) -> int:
        """The number of draws an epoch."""
        return self.images

    def __getitem__(self, draw: Draw | int) -> Item:
        """The next image, augmented; a damaged shard, image or label is named by a ValueError."""
        draw = as_draw(draw)
        if draw.epoch != self.last.epoch or draw.item <= self.last.item:
            self.source = self.epoch(draw.epoch)
        self.last = draw
        stored = next(self.source)
        image, label = stored.decode(stored.image.content)
        seed = draw_seed(self.seed, draw.epoch, key_number(stored.image.key))
        image, label = transformed(self.transform, image, label, seed)
        item = {"image": image.as_subclass(Tensor), "label": label}
        return item | {"index": torch.tensor(draw.item), "epoch": torch.tensor(draw.epoch)}

    def epoch(self, epoch: int) -> Iterator[Stored]:
        """The images of an epoch for this process and worker, without end."""
        from webdataset.filters import shuffle

        worker = get_worker_info()
        workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        part, parts = self.rank * workers + number, self.processes * workers
        mixed = shuffle(self.buffer, rng=Random(draw_seed(self.seed, epoch, part)))
        for turn in count():
            order = list(self.shards)  # shuffled alike in all parts, so that no two have a shard in common
            Random(draw_seed(self.seed, epoch, turn)).shuffle(order)
            yield from mixed(chain.from_iterable(streamed_shard(shard, self.classes) for shard in order[part::parts]))


def key_number(key: str) -> int:
    """A number of 64 bits for a key; the same in every process, unlike `hash`."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
