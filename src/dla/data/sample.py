"""What every segmentation set gives, an image and its mask, and how both are read from files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
from jaxtyping import Num, Shaped, UInt8
from torch import Tensor
from torchvision import tv_tensors

from dla import images
from dla.bands import Bands, read_bands
from dla.images import RGB

Split = Literal["train", "val", "test"]
IGNORE_INDEX = 255  # pixels that count neither in the loss nor in a metric
HELD_OUT = 10  # every tenth image validates, of each class where images have one, where a set has no val split


class Sample(NamedTuple):
    """An image, uint8 (3, H, W) in RGB, and its mask, uint8 (H, W): class indices, 255 where nothing is to be said.

    An image of bands is float32 (C, H, W), from 0 to 255 as well.
    """

    image: tv_tensors.Image
    mask: tv_tensors.Mask


Kind = TypeVar("Kind", covariant=True)  # of what a set holds


class PixelSet(Protocol[Kind]):
    """A map-style set of images with a truth for each pixel; `classes` names its values, `colors` (RGB) draws them."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names, in the order of the indices."""
        ...

    @property
    def colors(self) -> tuple[RGB, ...]:
        """The colours, in the same order."""
        ...

    def __len__(self) -> int:
        """The number of samples."""
        ...

    def __getitem__(self, index: int) -> Kind:
        """Sample number `index`, always the same one."""
        ...


SegmentationSet: TypeAlias = PixelSet[Sample]


def make_sample(image: Num[Tensor, "c h w"], mask: UInt8[Tensor, "h w"]) -> Sample:
    """The pair of tensors, typed so that torchvision's v2 transforms treat each in its own way."""
    return Sample(tv_tensors.Image(image), tv_tensors.Mask(mask))


def read_pixels(path: Path | str, content: bytes | None = None) -> UInt8[Tensor, "3 h w"]:
    """An image file as `dla predict` reads it, upright and RGB; an unreadable one raises a ValueError that names it.

    Args:
        path: Where it is, for errors alone if `content` is given.
        content: What is in the file, where it is part of an archive.
    """
    pixels = np.array(images.read_image(path, content))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def pixel_reader(bands: Bands | None) -> Callable[[Path], Num[Tensor, "c h w"]]:
    """What reads images: `read_pixels`, or where they have bands `dla.bands.read_bands`."""
    return read_pixels if bands is None else partial(read_bands, bands=bands)


def check_sizes(image: Num[Tensor, "c h w"], mask: Shaped[Tensor, "h2 w2"], image_path: Path, mask_path: Path) -> None:
    """Raise a ValueError naming both files unless the image and its mask are of one size."""
    if image.shape[-2:] != mask.shape:
        (height, width), (mask_height, mask_width) = image.shape[-2:], mask.shape
        raise ValueError(
            f"{image_path} is {width}x{height} but its annotation {mask_path} is {mask_width}x{mask_height}; "
            "expected equal sizes, of pictures as viewers show them, turned by what EXIF says: draw the annotation on "
            "that, resize it (nearest) or unpack the set again"
        )
