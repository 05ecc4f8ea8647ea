"""A folder of images beside a folder of their label images, for each split: CamVid's layout, and good for your own."""

import colorsys
from collections.abc import Container, Sequence
from pathlib import Path

import torch

from dla.data.sample import IGNORE_INDEX, Sample, Split, check_sizes, make_sample, read_labels, read_pixels
from dla.files.listing import PICTURES, composed, list_by_stem, list_images
from dla.images import RGB


class PairedFolders:
    """One split of a set of images and label images; items are samples with void as 255.

        root/train/NAME.png    root/trainannot/NAME.png      the same with val and test; images may be JPEG or others

    Args:
        root: Folder that holds the folders of the splits.
        split: Which split to read; the others need not be there.
        classes: Names of the classes, in the order of the indices that the label images hold.
        colors: One RGB colour per class, for pictures; evenly spread hues where there are none.
        void: What label images hold where no class is given; it becomes 255.

    Raises:
        FileNotFoundError: A folder of the split, the annotation of an image or the image of one is missing, or there
            is none.
        ValueError: Two images have one stem, an annotation is no PNG, a class has the index `void`, or the colours do
            not fit; on reading an item: a broken file, unequal sizes, or a label that is no class.
    """

    classes: tuple[str, ...]
    colors: tuple[RGB, ...]

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        *,
        classes: Sequence[str],
        colors: Sequence[RGB] | None = None,
        void: int = IGNORE_INDEX,
    ) -> None:
        if 0 <= void < len(classes):
            raise ValueError(
                f"void is {void}, the index of the class {classes[void]}: expected one of no class, or 255"
            )
        self.classes, self.void = tuple(classes), void
        self.colors = class_colors(len(classes), colors)
        self.files = _pairs(Path(root) / split, Path(root) / f"{split}annot")

    def __len__(self) -> int:
        """The number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """Image and mask number `index`, in the order of the stems."""
        image_path, mask_path = self.files[index]
        image, mask = read_pixels(image_path), read_labels(mask_path)
        check_sizes(image, mask, image_path, mask_path)
        known = mask[mask != self.void]
        if known.numel() and int(known.max()) >= len(self.classes):
            raise ValueError(
                f"{mask_path} holds label {int(known.max())}; expected 0 to {len(self.classes) - 1} for the "
                f"{len(self.classes)} classes, and {self.void} for void: correct the annotation or name all classes"
            )
        return make_sample(image, torch.where(mask == self.void, IGNORE_INDEX, mask).to(torch.uint8))


def _pairs(images: Path, annotations: Path) -> list[tuple[Path, Path]]:
    """Image and annotation of each stem, in the stems' order."""
    for folder in (images, annotations):
        if not folder.is_dir():
            raise FileNotFoundError(
                f"no folder {folder}: the {images.name} split is read from {images.name}/ and {annotations.name}/; "
                "give the folder that holds both as root"
            )
    pictures = list_by_stem(images, PICTURES)
    _check_format(pictures, annotations)
    drawn = list_by_stem(annotations, [".png"])
    for stem, path in pictures.items():
        if stem not in drawn:
            raise FileNotFoundError(
                f"{path} has no annotation: expected {annotations / stem}.png; add it or remove the image"
            )
    if alone := [path for stem, path in drawn.items() if stem not in pictures]:
        others = f", and {len(alone) - 1} others" if len(alone) > 1 else ""
        raise FileNotFoundError(
            f"{alone[0]} has no image in {images}, which may end in {', '.join(PICTURES)}: add it or remove the "
            f"annotation{others}"
        )
    return [(path, drawn[stem]) for stem, path in pictures.items()]


def _check_format(stems: Container[str], annotations: Path) -> None:
    """Refuse an image's annotation that is there, but in another format, of which most are not sure to keep indices."""
    files = {path: composed(path.stem) for path in list_images(annotations)}
    read = {stem for path, stem in files.items() if path.suffix.lower() == ".png"}
    for path, stem in files.items():
        if stem in stems and stem not in read:
            raise ValueError(
                f"{path} is no PNG, and annotations are: JPEG, for one, changes class indices; take them from the "
                "program that drew them, as 8-bit grey or palette PNGs"
            )


def class_colors(count: int, colors: Sequence[RGB] | None) -> tuple[RGB, ...]:
    """The colours that are given, one for each class, or else `count` colours of evenly spread hues.

    Raises:
        ValueError: they are not as many as classes, or one is no colour.
    """
    if not colors:
        return spread_colors(count)
    if len(colors) != count:
        raise ValueError(f"{len(colors)} colors for {count} classes: give one for each, or none for evenly spread hues")
    for color in colors:
        if len(color) != 3 or not all(0 <= value <= 255 for value in color):
            raise ValueError(f"colors holds {list(color)}; expected red, green and blue from 0 to 255")
    return tuple((r, g, b) for r, g, b in colors)


def spread_colors(count: int) -> tuple[RGB, ...]:
    """`count` colours of evenly spread hues."""
    hues = [colorsys.hsv_to_rgb(i / count, 0.75, 0.95) for i in range(count)]
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues)
