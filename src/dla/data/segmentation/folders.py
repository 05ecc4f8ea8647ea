"""A folder of images beside a folder of their label images, for each split: CamVid's layout, and good for your own."""

import colorsys
from collections.abc import Sequence
from pathlib import Path

from dla.bands import Bands
from dla.data.places import expect_own_place, split_places, warn_of_val
from dla.data.sample import IGNORE_INDEX, Sample, Split, check_sizes, make_sample, pixel_reader
from dla.data.segmentation.indices import Indices, Value, Void, are_colors
from dla.data.segmentation.listed import listed_files, listed_pairs
from dla.data.segmentation.pairing import held_out, pairs
from dla.images import RGB
from dla.names import repeated


class PairedFolders:
    """One split of a set of images and label images; items are samples with void as 255.

        root/train/NAME.png    root/trainannot/NAME.png      the same with val and test; images may be JPEG or others

    Args:
        root: Folder that holds the folders of the splits.
        split: Which split to read; the others need not be there.
        classes: Names of the classes, in the order of the indices that the label images hold.
        colors: One RGB colour per class, for pictures; None for those that are values, else evenly spread hues.
        void: What label images hold where no class is given, a number, a colour or "other"; it becomes 255.
        values: What they hold for each class, numbers or colours; None for its index.
        images: Folder of the images within root; {split} stands for train, val or test.
        annotations: Folder of the label images within root, in the same way.
        suffix: What label images have in their names behind that of the image, as in NAME_mask.png.
        names: File within root with the images of a split, a path within `images` a line, in the same way, or the paths
            of an image and its label image within root; None for all images that there are.
        hold_out: Every tenth image of train, in the order of names, is val, and train has the others.
        bands: Where images have other channels than RGB, the range of values of each.

    Raises:
        FileNotFoundError: A folder of the split, the annotation of an image or the image of one is missing, or there
            is none.
        ValueError: Two images have one stem, an annotation is no PNG or TIFF, a class has the index `void`, values or
            colours do not fit, or two splits would have the same images; on reading an item: a broken file, unequal
            sizes, or a label that is no class.
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
        void: Void = IGNORE_INDEX,
        values: Sequence[Value] | None = None,
        images: str = "{split}",
        annotations: str = "{split}annot",
        suffix: str = "",
        names: str | None = None,
        hold_out: bool = False,
        bands: Bands | None = None,
    ) -> None:
        held = hold_out and split != "test"
        expect_own_place("names" if names else "images", names or images, held)
        if held and split == "val":
            warn_of_val(root, names or images)
        self.classes, self.indices = tuple(classes), Indices(classes, void, values)
        self.read_image = pixel_reader(bands)
        self.colors = class_colors(len(classes), colors, values)
        source = "train" if held else split
        shown, drawn, *lists = split_places(root, [images, annotations, *([names] if names else [])], source)
        found = listed_files(Path(root), *lists) if lists else None
        if found is None:
            _expect_folders(split, shown, drawn)
            found = listed_pairs(shown, drawn, suffix, *lists) if lists else pairs(shown, drawn, suffix)
        self.files = held_out(found, split) if held else found

    def __len__(self) -> int:
        """The number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """Image and mask number `index`, in the order of the stems."""
        image_path, mask_path = self.files[index]
        image, mask = self.read_image(image_path), self.indices.read(mask_path)
        check_sizes(image, mask, image_path, mask_path)
        return make_sample(image, mask)


def _expect_folders(split: Split, images: Path, annotations: Path) -> None:
    hint = "; without a val split, --data.hold_out true of FolderData validates on every tenth image of train"
    for folder in (images, annotations):
        if not folder.is_dir():
            raise FileNotFoundError(
                f"no folder {folder}: the {split} split is read from {images.name}/ and {annotations.name}/; give the "
                "folder that holds both as root, or tell FolderData other names, as --data.images images "
                f"--data.annotations masks{hint if split == 'val' else ''}"
            )


def distinct(classes: Sequence[str]) -> tuple[str, ...]:
    """The classes, none of which may stand twice.

    Raises:
        ValueError: one does.
    """
    if twice := repeated(classes):
        raise ValueError(f"classes names {twice[0]} more than once; expected a name of its own for each index")
    return tuple(classes)


def class_colors(count: int, colors: Sequence[RGB] | None, values: Sequence[Value] | None = None) -> tuple[RGB, ...]:
    """The colours that are given, one for each class, or that annotations hold, or else of evenly spread hues.

    Raises:
        ValueError: they are not as many as classes, or one is no colour.
    """
    if not colors and values and are_colors(values):
        colors = values
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
