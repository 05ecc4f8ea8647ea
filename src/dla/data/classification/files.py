"""Images that a list names, each with its class: what a publisher's layout comes down to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import Subset
from torchvision import tv_tensors

from dla.bands import Bands
from dla.data.classification.labelled import Labelled, LabelledSet, held_out
from dla.data.sample import Split, pixel_reader
from dla.files import read_text


class LabelledFiles:
    """Image files, read when they are asked for.

    Args:
        files: Paths and indices of classes; an image that cannot be read is named by a ValueError once it is asked for.
        bands: Where images have other channels than RGB, the range of values of each.
    """

    def __init__(self, files: Sequence[tuple[str, int]], bands: Bands | None = None) -> None:
        self.files, self.read_image = list(files), pixel_reader(bands)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> Labelled:
        """Image number `index`, in the order of the list."""
        path, label = self.files[index]
        return Labelled(tv_tensors.Image(self.read_image(Path(path))), torch.tensor(label))


class WithoutBanner(LabelledFiles):
    """Image files whose lowest rows say whose they are, and are cut off.

    Args:
        files: Paths and indices of classes.
        height: Of the banner, in pixels.
    """

    def __init__(self, files: Sequence[tuple[str, int]], height: int) -> None:
        super().__init__(files)
        self.height = height

    def __getitem__(self, index: int) -> Labelled:
        """Image number `index` above its banner."""
        image, label = super().__getitem__(index)
        if image.shape[-2] <= self.height:
            raise ValueError(
                f"{self.files[index][0]} is {image.shape[-2]} pixels high; expected more than the {self.height} of the "
                "banner that is cut off: unpack it again"
            )
        return Labelled(tv_tensors.Image(image[:, : -self.height]), label)


def parted(train: LabelledFiles, split: Split) -> LabelledSet:
    """Those of the images of train that are trained on or, of each class every tenth, that validate.

    Raises:
        ValueError: none would validate.
    """
    chosen = held_out(torch.tensor([label for _, label in train.files])) == (split == "val")
    return Subset(cast(Any, train), chosen.nonzero().flatten().tolist())


def checked_files(files: Sequence[tuple[str, int]], classes: Sequence[str], listing: Path) -> list[tuple[str, int]]:
    """The same files, if they are there and each has one of the classes; `listing` names them.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: there is none, or a label is no index of a class.
    """
    if not files:
        raise ValueError(f"{listing} names no image; unpack it again")
    for path, label in files:
        if not 0 <= label < len(classes):
            raise ValueError(
                f"{listing} gives {path} class number {label}, counted from 0; expected 0 to {len(classes) - 1}: "
                "unpack it again"
            )
        if not Path(path).is_file():
            raise FileNotFoundError(f"no image {path}, which {listing} names: unpack the whole archive")
    return list(files)


def read_lines(path: Path) -> list[str]:
    """The lines of a publisher's text file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is empty, or is not UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: unpack the whole archive")
    lines = read_text(path).splitlines()
    if not lines:
        raise ValueError(f"{path} is empty: unpack it again")
    return lines
