"""Cityscapes in its official layout: street scenes of 2048x1024, label ids mapped to the 19 classes of training."""

from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision import datasets

from dla.data.sample import IGNORE_INDEX, Sample, Split, check_sizes, make_sample, read_pixels
from dla.data.segmentation.labels import read_labels
from dla.files.listing import is_hidden
from dla.images import RGB

IMAGE, LABELS = "_leftImg8bit.png", "_gtFine_labelIds.png"

# torchvision keeps the table of all 35 labels; the evaluated ones have training ids 0 to 18.
TRAINED = sorted(
    (label for label in datasets.Cityscapes.classes if not label.ignore_in_eval), key=lambda label: label.train_id
)


def _training_ids() -> UInt8[Tensor, "256"]:
    table = torch.full((256,), IGNORE_INDEX, dtype=torch.uint8)
    for label in TRAINED:
        table[label.id] = label.train_id
    return table


class Cityscapes:
    """One split of Cityscapes with fine annotations; items are samples of the 19 evaluated classes, others 255.

        root/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
        root/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png

    torchvision's reader lists files in the order of the disk, which differs between machines, and leaves a missing
    annotation to be found in the middle of an epoch; here files are sorted and checked at once.

    Args:
        root: Folder that holds `leftImg8bit` and `gtFine`.
        split: Which split to read; the others need not be there. The official test labels are all void.

    Raises:
        FileNotFoundError: A folder of the split, or the annotation of an image, is missing, or there is no image.
        ValueError: On reading an item: a broken file, or unequal sizes.
    """

    classes: ClassVar[tuple[str, ...]] = tuple(label.name for label in TRAINED)
    colors: ClassVar[tuple[RGB, ...]] = tuple(label.color for label in TRAINED)

    def __init__(self, root: str | Path, split: Split = "train") -> None:
        images, annotations = Path(root) / "leftImg8bit" / split, Path(root) / "gtFine" / split
        for folder in (images, annotations):
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"no folder {folder}: Cityscapes' {split} split is read from leftImg8bit/{split} and "
                    f"gtFine/{split}; give the folder that holds leftImg8bit and gtFine as root"
                )
        found = sorted(path for path in images.glob(f"*/*{IMAGE}") if not is_hidden(path, images))
        self.files = [(p, annotations / p.parent.name / (p.name.removesuffix(IMAGE) + LABELS)) for p in found]
        if not self.files:
            raise FileNotFoundError(f"no <city>/*{IMAGE} in {images}: unpack leftImg8bit_trainvaltest.zip there")
        for image, annotation in self.files:
            if not annotation.is_file():
                raise FileNotFoundError(f"{image} has no annotation: expected {annotation}; unpack gtFine beside it")
        self.training_ids = _training_ids()

    def __len__(self) -> int:
        """The number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """Image and mask number `index`, in the order of the cities and file names."""
        image_path, mask_path = self.files[index]
        image, labels = read_pixels(image_path), read_labels(mask_path)
        check_sizes(image, labels, image_path, mask_path)
        return make_sample(image, self.training_ids[labels.long()])
