"""Reads annotation files: an index in each pixel, or a colour."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int32, UInt8
from PIL import Image, ImageFile
from torch import Tensor


def read_labels(path: Path) -> UInt8[Tensor, "h w"]:
    """A label file as the indices it holds: grey of 8 bits or of 1, or a palette image, whose colours do not matter.

    Raises:
        ValueError: it cannot be read, or holds something else.
    """
    with _opened(path) as file:
        stored = _stored(file)
        labels = np.array(file)
    if stored.startswith(("2", "4")) and file.mode == "L":  # which Pillow spreads over 0 to 255
        raise ValueError(f"{path} is grey of {stored[0]} bits; save the indices as an 8-bit grey PNG")
    if "I" in stored:  # as ImageJ does with inverting lookup tables, and some programs with masks of one bit
        raise ValueError(
            f"{path} is a TIFF in which 0 is white: Pillow turns its numbers round, other programs do not; save the "
            "indices as an 8-bit grey PNG"
        )
    if labels.dtype == bool:
        labels = labels.astype(np.uint8)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        colors = "give the color of each class as values (--data.values), or " if labels.ndim == 3 else ""
        raise ValueError(
            f"{path} holds {labels.dtype} values of shape {labels.shape}; expected one 8-bit class index a pixel: "
            f"{colors}save the indices as an 8-bit grey PNG"
        )
    return torch.from_numpy(labels)


def read_colors(path: Path) -> Int32[Tensor, "h w"]:
    """A painted file as the numbers of its colours, red x 65536 + green x 256 + blue; transparency does not matter.

    Raises:
        ValueError: it cannot be read.
    """
    with _opened(path) as file:
        colors = torch.from_numpy(np.array(file.convert("RGB"))).int()
    return (colors << torch.tensor([16, 8, 0])).sum(2, dtype=torch.int32)


def _stored(file: ImageFile.ImageFile) -> str:
    """What differs in the file from a byte for each value, in Pillow's words, as in "4" bits or "I" for inverted."""
    layout = file.tile[0].args or "" if file.tile else ""
    return (layout if isinstance(layout, str) else str(layout[0])).partition(";")[2]


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    try:
        # Opened here, since Pillow scrambles a turned TIFF that it opens itself.
        with path.open("rb") as content, Image.open(content) as file:
            yield file
    except (OSError, SyntaxError) as error:  # Pillow reports a broken PNG as a SyntaxError
        raise ValueError(f"{path} cannot be read as an image ({error}); unpack or download it again") from error
