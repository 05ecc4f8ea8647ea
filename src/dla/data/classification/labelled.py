"""What every classification set gives, an image and its class, and how a draw of it is loaded."""

from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor
from torchvision import tv_tensors

from dla.data.loading import Seeded
from dla.data.sample import HELD_OUT

NO_CLASS = -1  # label of what only fills up a batch, and must not be counted


class Labelled(NamedTuple):
    """An image, uint8 (3, H, W) in RGB or of bands float32 (C, H, W) up to 255, and its class's index, int64 ()."""

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


class SeededImages(Seeded):
    """As `Seeded`, for labelled images.

    An item holds `image` (C, H, W), `label` int64 (), -1 in a filler, `index` and `epoch` int64 (), and, if it is
    to be shifted in its batch, `parameters` int64 (3,).
    """

    truth = "label"

    def blank(self, truth: Tensor) -> Tensor:
        """No class."""
        return torch.full_like(truth, NO_CLASS)


def held_out(labels: Int64[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Which images validate: of each class, counted in the order given, the 10th, the 20th and so on.

    Raises:
        ValueError: there is none.
    """
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    _, counts = labels.unique(return_counts=True)
    for images in labels.argsort(stable=True).split(counts.tolist()):  # those of one class, in the order given
        chosen[images[HELD_OUT - 1 :: HELD_OUT]] = True
    if not chosen.any():
        raise ValueError(
            f"no class has {HELD_OUT} training images, of which one would be held out to validate; give more, or "
            "--data.hold_out false where the data has that"
        )
    return chosen
