"""Sets in the layout of Pascal VOC, painted as CVAT paints them."""

from pathlib import Path

import numpy as np
from image_files import random_image, save_image

LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncrack:250,50,83::\nold rust:36,179,83:head,body:\n"
PAINT = np.array([[0, 0, 0], [250, 50, 83], [36, 179, 83], [224, 224, 192]], np.uint8)


def drawn(seed: int) -> np.ndarray:
    """Indices from 0 to 3, of which the last is void."""
    return np.random.default_rng(seed).integers(0, 4, (30, 40)).astype(np.uint8)


def save_voc(root: Path, name: str, seed: int, mask: np.ndarray | None = None) -> None:
    """A random image, and its mask where there is one."""
    save_image(root / "JPEGImages" / f"{name}.jpg", random_image(seed))
    if mask is not None:
        save_image(root / "SegmentationClass" / f"{name}.png", mask)


def list_voc(root: Path, split: str, *lines: str) -> None:
    """The list of a split."""
    path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
