"""CamVid in SegNet's layout: road scenes of 480x360, eleven classes and void."""

from pathlib import Path
from typing import ClassVar, Literal

import torch

from dla.data.sample import IGNORE_INDEX, Color, Sample, check_sizes, make_sample, read_image, read_labels

VOID = 11  # what the annotation files hold where no class is given

# SegNet's eleven classes in the order of their indices, in the colours of the data base itself.
PALETTE: dict[str, Color] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (0, 0, 192),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}


class CamVid:
    """One split of CamVid; items are samples with void as 255.

        root/train/*.png    root/trainannot/*.png      the same with val and test

    Args:
        root: Folder that holds the folders of the splits.
        split: Which split to read; the others need not be there.

    Raises:
        FileNotFoundError: A folder of the split, or the annotation of an image, is missing, or there is no image.
        ValueError: On reading an item: a broken file, unequal sizes, or a label that is no class.
    """

    classes: ClassVar[tuple[str, ...]] = tuple(PALETTE)
    colors: ClassVar[tuple[Color, ...]] = tuple(PALETTE.values())

    def __init__(self, root: str | Path, split: Literal["train", "val", "test"] = "train") -> None:
        images, annotations = Path(root) / split, Path(root) / f"{split}annot"
        for folder in (images, annotations):
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"no folder {folder}: CamVid's {split} split is read from {split}/*.png and {split}annot/*.png; "
                    f"give the folder that holds both as root"
                )
        self.files = [(path, annotations / path.name) for path in sorted(images.glob("*.png"))]
        if not self.files:
            raise FileNotFoundError(f"no *.png in {images}: unpack CamVid's {split} images there")
        for image, annotation in self.files:
            if not annotation.is_file():
                raise FileNotFoundError(f"{image} has no annotation: expected {annotation}; add it or remove the image")

    def __len__(self) -> int:
        """The number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """Image and mask number `index`, in the order of the file names."""
        image_path, mask_path = self.files[index]
        image, mask = read_image(image_path), read_labels(mask_path)
        check_sizes(image, mask, image_path, mask_path)
        if int(mask.max()) > VOID:
            raise ValueError(
                f"{mask_path} holds label {int(mask.max())}; expected 0 to {VOID - 1}, and {VOID} for void: "
                "use the annotations of SegNet's eleven classes"
            )
        return make_sample(image, torch.where(mask == VOID, IGNORE_INDEX, mask).to(torch.uint8))
