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
        scaled = next((tile.args for tile in file.tile if tile.args in ("L;2", "L;4")), None)
        labels = np.array(file)
    if scaled:  # which Pillow spreads over 0 to 255
        raise ValueError(f"{path} is grey of {scaled[-1]} bits; save the indices as an 8-bit grey PNG")
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


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    try:
        with Image.open(path) as file:
            yield file
    except (OSError, SyntaxError) as error:  # Pillow reports a broken PNG as a SyntaxError
        raise ValueError(f"{path} cannot be read as an image ({error}); unpack or download it again") from error
