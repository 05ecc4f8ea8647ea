"""What every classification set gives, an image and its class, and how a draw of it is loaded."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from dla.data.loading import Item, transformed
from dla.data.sampling import Draw, as_draw, draw_seed
from dla.data.shift import Shift

NO_CLASS = -1  # label of what only fills up a batch, and must not be counted


class Labelled(NamedTuple):
    """An image, uint8 (3, H, W) in RGB, and the index of its class, int64 ()."""

    image: tv_tensors.Image
    label: Tensor


class LabelledSet(Protocol):
    """A map-style set of labelled images."""

    def __len__(self) -> int:
        """The number of images."""
        ...

    def __getitem__(self, index: int) -> Labelled:
        """Image number `index`, always the same one."""
        ...


class ImageArrays:
    """A set of small images of one size that lies in memory as a whole.

    Args:
        images: All images, RGB.
        labels: Their classes.
    """

    def __init__(self, images: UInt8[Tensor, "n 3 h w"], labels: Int64[Tensor, " n"]) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> Labelled:
        """Image number `index`; not a copy, so it must not be changed."""
        return Labelled(tv_tensors.Image(self.images[index]), self.labels[index])


def read_all(dataset: LabelledSet) -> list[Labelled]:
    """All of a set, read once; as a list it is a set in memory, which the loader's workers share."""
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's lock
        return list(pool.map(dataset.__getitem__, range(len(dataset))))


def labelled_item(draw: Draw, image: Tensor, label: Tensor) -> Item:
    """What a loader gets of an image: the two, and the `index` and `epoch` of its draw, int64 ()."""
    item = {"image": image.as_subclass(Tensor), "label": label}
    return item | {"index": torch.tensor(draw.item), "epoch": torch.tensor(draw.epoch)}


class SeededImages(Dataset[Item]):
    """A labelled set indexed by draws, so that augmentation depends on seed, epoch and index alone; see `Seeded`.

    An item holds `image` uint8 (3, H, W), `label` int64 (), -1 in a filler, `index` and `epoch` int64 (), and, if it is
    to be shifted in its batch, `parameters` int64 (3,).

    Args:
        dataset: The set of images.
        seed: Seed of the augmentation, at least 0.
        transform: Transform of the image, run under the seed of the draw; None for none.
        shift: Augmentation of whole batches, for which the parameters are drawn here; None for none.
        repeat: How often an epoch visits the set. Index i stands for image i % len(dataset), augmented anew.
    """

    def __init__(
        self,
        dataset: LabelledSet,
        *,
        seed: int = 0,
        transform: Callable[..., tuple[Tensor, Tensor]] | None = None,
        shift: Shift | None = None,
        repeat: int = 1,
    ) -> None:
        self.dataset, self.seed, self.repeat = dataset, seed, repeat
        self.transform, self.shift = transform, shift

    def __len__(self) -> int:
        """The number of indices: images times repeats."""
        return len(self.dataset) * self.repeat

    def __getitem__(self, draw: Draw | int) -> Item:
        """The image of a draw, augmented."""
        epoch, index, filler = draw = as_draw(draw)
        image, label = self.dataset[index % len(self.dataset)]
        seed = draw_seed(self.seed, epoch, index)
        if self.transform is not None:
            image, label = transformed(self.transform, image, label, seed)
        item = labelled_item(draw, image, torch.tensor(NO_CLASS) if filler else label)
        if self.shift is not None:
            item["parameters"] = self.shift.draw(seed)
        return item
