"""Handwritten digits that scikit-learn brings along (UCI optdigits, its test part): 1,797 real images of 8x8 pixels."""

import torch
import torch.nn.functional as F

from dla.data.classification.labelled import ImageArrays
from dla.data.sample import Split

CLASSES = tuple(str(digit) for digit in range(10))
FIFTH = 5  # every fifth image validates


def read_digits(split: Split, *, size: int = 16) -> ImageArrays:
    """One split of the digits: of every five images, in the order of the file, the last is of val (359), else of train.

    Args:
        split: train or val; all writers are in both.
        size: Side to which the images are enlarged (bilinear), in pixels.

    Raises:
        ValueError: there is no such split.
        ModuleNotFoundError: scikit-learn, of the extra `train`, is not installed.
    """
    if split not in ("train", "val"):
        raise ValueError(f"the digits have no {split} split; measure on val, by `dla validate`")
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = (torch.arange(len(digits.target)) % FIFTH == FIFTH - 1) == (split == "val")
    ink = torch.from_numpy(digits.images)[chosen, None].float() / 16  # (N, 1, 8, 8), from 0 to 1
    gray = F.interpolate(ink, size=(size, size), mode="bilinear", align_corners=False)
    images = (255 * gray).round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    return ImageArrays(images, torch.from_numpy(digits.target)[chosen].long())
