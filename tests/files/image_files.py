"""Images, and what annotators drew of them, as files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat


def random_image(seed: int, height: int = 30, width: int = 40) -> np.ndarray:
    """Pixels of any colours, (h, w, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save_image(path: Path, pixels: np.ndarray) -> Path:
    """Pixels in the format of the path's suffix; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def save_truths(path: Path, truths: Sequence[np.ndarray]) -> Path:
    """Boundary maps (h, w) as BSDS500 keeps them, a cell with one structure per annotator; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cell = np.empty((1, len(truths)), object)
    for number, drawn in enumerate(truths):
        cell[0, number] = {"Segmentation": np.ones(drawn.shape, np.uint16), "Boundaries": drawn.astype(np.uint8)}
    savemat(path, {"groundTruth": cell})
    return path


def save_annotators(folder: Path, truths: Sequence[np.ndarray]) -> Path:
    """Boundary maps (h, w) as PNGs in a folder of their own, which is made."""
    for number, drawn in enumerate(truths):
        save_image(folder / f"{number}.png", drawn.astype(np.uint8) * 255)
    return folder
