"""Images of other channels than colours: bands, as of satellites or microscopes, each with the range that counts."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float32, Num, Shaped
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from dla.files.listing import list_images, spread
from dla.files.tiff import TIFF, whole_series
from dla.images import ImageError

Bands: TypeAlias = tuple[tuple[float, float], ...]
"""Of each band the values that become black and white, 0 and 255; those beyond are cut off."""

Picture: TypeAlias = Image.Image | Tensor
"""A picture in RGB, or an image (c, h, w) of bands from 0 to 255, as by `read_bands`."""

MOST = 100  # images in which ranges are looked for
SIDE = 128  # about so many rows and columns of each
STRIP = 2**17  # values that are scaled together, in 64 bits; of a whole image they would be gigabytes


def as_bands(ranges: Sequence[Sequence[float]] | None) -> Bands | None:
    """Ranges in plain values, as configurations and checkpoints hold them; None stays None, which means RGB.

    Raises:
        ValueError: there is none, or one is not two finite numbers of which the first is less.
    """
    if ranges is None:
        return None
    for pair in ranges:
        if len(pair) != 2 or not np.isfinite(pair).all() or not pair[0] < pair[1]:
            raise ValueError(f"bands holds {list(pair)}; expected two numbers for each band, the lower one first")
    if not ranges:
        raise ValueError("bands is empty; expected [low, high] for each band, or null for pictures in colour")
    return tuple((float(low), float(high)) for low, high in ranges)


def read_bands(path: str | Path, bands: Bands) -> Float32[Tensor, "c h w"]:
    """The bands of an image, as they lie in its file, from 0 at the lower end of their ranges to 255 at the upper.

    What is no number, as NaN where a satellite saw nothing, becomes 0.

    Args:
        path: a TIFF of any number of bands, interleaved, planar or of a page each; or a PNG of 8 or 16 bits, or another
            picture. Its fourth channel is a band, and covers nothing; EXIF turns nothing.
        bands: a range for each.

    Raises:
        ImageError: the file cannot be read, or has more bands or fewer.
        ModuleNotFoundError: without tifffile or imagecodecs, which the extra [bands] installs.
    """
    values = _stored(Path(path))
    if len(values) != len(bands):
        raise ImageError(
            f"{path} has {len(values)} bands, and bands has ranges for {len(bands)}: give [low, high] for each"
        )
    scaled = np.empty(values.shape, np.float32)
    low, high = np.array(bands, np.float64).T[..., None, None]
    rows = max(1, STRIP // values[:, 0].size)
    for strip in (slice(top, top + rows) for top in range(0, values.shape[1], rows)):
        wide = values[:, strip].astype(np.float64)
        scaled[:, strip] = np.nan_to_num((wide - low) * (255 / (high - low))).clip(0, 255)
    return torch.from_numpy(scaled)


def find_bands(folder: str | Path) -> list[list[float]]:
    """Ranges for a set that is yet unknown: between them lie 98 % of each band's values, in up to 100 images.

    Raises:
        FileNotFoundError: there is no image in the folder.
        ImageError: one cannot be read, or has another number of bands than the first.
    """
    paths = list_images(Path(folder))
    if not paths:
        raise FileNotFoundError(f"no images in {folder}: name a folder that holds some itself")
    chosen = spread(paths, MOST)
    seen = [_sampled(path) for path in track(chosen, "looking", console=Console(stderr=True), transient=True)]
    for path, values in zip(chosen, seen, strict=True):
        if len(values) != len(seen[0]):
            raise ImageError(f"{path} has {len(values)} bands, and {chosen[0]} has {len(seen[0])}: expected as many")
    low, high = np.nanpercentile(np.concatenate(seen, 1), (1, 99), axis=1)
    return [[float(f"{a:.6g}"), float(f"{b if b > a else a + 1:.6g}")] for a, b in zip(low, high, strict=True)]


def visible(image: Num[Tensor, "c h w"]) -> Num[Tensor, "3 h w"]:
    """What is shown of an image: its first three bands as red, green and blue, or of fewer the first, in grey."""
    return image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)


def as_picture(image: Picture) -> Image.Image:
    """A picture as it is, or one of an image's bands, to look at."""
    if isinstance(image, Image.Image):
        return image
    return Image.fromarray(visible(image).round().byte().movedim(0, -1).numpy())


def _sampled(path: Path) -> Shaped[np.ndarray, "c n"]:
    """Some values of each band, NaN for those that are no numbers."""
    values = _stored(path)
    down, right = (max(1, length // SIDE) for length in values.shape[1:])
    few = values[:, ::down, ::right].reshape(len(values), -1).astype(np.float64)
    return np.where(np.isfinite(few), few, np.nan)


def _stored(path: Path) -> Shaped[np.ndarray, "c h w"]:
    """The numbers in a file, of any type but complex ones."""
    _require_readers()
    try:
        values = (_of_tiff if path.suffix.lower() in TIFF else _of_picture)(path)
    except Exception as error:  # on damaged data decoders fail in any way
        reason = str(error).partition("\n")[0]
        raise ImageError(f"{path} cannot be read as bands ({reason}): write it again, as a TIFF or a PNG") from error
    if values.dtype.kind not in "buif":
        raise ImageError(f"{path} holds numbers of type {values.dtype}: expected whole or real ones")
    return values


def _require_readers() -> None:
    """Ask for both: tifffile, which scikit-image brings, reads but some compressions without imagecodecs."""
    try:
        for package in ("tifffile", "imagecodecs"):
            import_module(package)
    except ModuleNotFoundError:
        message = "bands are read by tifffile and imagecodecs: pip install 'deep-layer-aggregation[bands]'"
        raise ModuleNotFoundError(message) from None


def _of_tiff(path: Path) -> Shaped[np.ndarray, "c h w"]:
    from tifffile import TiffFile

    with TiffFile(path) as file:
        whole = whole_series(file)  # some of another size, as what a program shows on opening
        sizes = [(one.keyframe.imagelength, one.keyframe.imagewidth) for one in whole]
        if sizes.count(sizes[0]) > 1:
            raise ValueError(f"it holds {sizes.count(sizes[0])} images of one size, not one of all bands")
        values, axes = whole[0].asarray(), whole[0].axes
    if sum(axis not in "YX" for axis in axes) > 1 or not {"Y", "X"} <= set(axes):
        raise ValueError(f"its axes {axes} have the sizes {values.shape}, of which one may count bands")
    values = np.moveaxis(values, (axes.index("Y"), axes.index("X")), (-2, -1))
    return values.reshape(-1, *values.shape[-2:])


def _of_picture(path: Path) -> Shaped[np.ndarray, "c h w"]:
    from imagecodecs import imread

    values = imread(path)  # (h, w) or (h, w, c)
    return np.atleast_3d(values).transpose(2, 0, 1)
