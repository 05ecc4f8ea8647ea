"""Images of several bands as files, and sets of them in which one band alone tells the classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from image_files import save_annotators, save_image

RANGES = [[0, 4000], [0, 4000], [0, 2], [-500, 500]]  # of the bands of `save_set`; the last one tells the classes


def save_bands(path: Path, values: np.ndarray, **options: Any) -> Path:
    """Bands (c, h, w) as a TIFF, planar unless `options` of tifffile say otherwise; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, **({"photometric": "minisblack", "planarconfig": "separate"} | options))
    return path


def geotiff(tags: Mapping[int, Sequence[float]]) -> list[tuple[int, str, int, Sequence[float], bool]]:
    """The option `extratags` for a file with a place on the map; the directory of keys holds small whole numbers."""
    return [(tag, "H" if tag == 34735 else "d", len(values), values, True) for tag, values in tags.items()]


def noisy_bands(mask: np.ndarray, seed: int) -> np.ndarray:
    """Noise, but in the last of four bands, which is higher where the mask is."""
    rng = np.random.default_rng(seed)
    bands = np.stack([rng.uniform(low, high, mask.shape) for low, high in RANGES])
    bands[-1] = np.where(mask, 250, -250) + rng.normal(0, 60, mask.shape)
    return bands.astype(np.float32)


def save_set(root: Path, *, train: int = 16, val: int = 4, images: str = "{}", truths: str = "{}annot") -> Path:
    """Images of four bands and the discs in them, as masks; of BSDS500's layout where `truths` has it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:56, :64]
    for split, count in (("train", train), ("val", val)):
        for i in range(count):
            cy, cx, radius = rng.uniform(0, 56), rng.uniform(0, 64), rng.uniform(10, 25)
            mask = np.hypot(y - cy, x - cx) < radius
            save_bands(root / images.format(split) / f"{i:02}.tif", noisy_bands(mask, rng.integers(9999)))
            if "groundTruth" in truths:
                edge = np.abs(np.hypot(y - cy, x - cx) - radius) < 0.7
                save_annotators(root / truths.format(split) / f"{i:02}", [edge])
            else:
                save_image(root / truths.format(split) / f"{i:02}.png", mask.astype(np.uint8))
    return root
