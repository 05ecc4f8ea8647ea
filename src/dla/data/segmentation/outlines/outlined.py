"""Outlines as a set: images, and masks in which what was drawn around things is filled."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_warn

from dla.bands import Bands
from dla.data.places import expect_own_place, split_places, warn_of_val
from dla.data.sample import IGNORE_INDEX, Sample, Split, check_sizes, make_sample, pixel_reader
from dla.data.segmentation.folders import spread_colors
from dla.data.segmentation.outlines.fill import Picture, Shape, filled
from dla.data.segmentation.pairing import held_out, others
from dla.files.listing import PICTURES, list_by_stem
from dla.images import RGB

IGNORED = "__ignore__"
"""The category whose pixels are void, as LabelMe's own tools have it, unless it is named as a class."""

TRIANGLE = 6  # coordinates


class Drawn(NamedTuple):
    """An image's file, the file of its labels, and what they say was drawn."""

    image: Path
    labels: Path
    picture: Picture


class Labels(NamedTuple):
    """Those of one split.

    Attributes:
        place: their file or folder.
        categories: what they name, in their own order.
        drawn: all images, in the order of their names.
    """

    place: Path
    categories: tuple[str, ...]
    drawn: list[Drawn]


class Outlined:
    """One split of a set whose labels are outlines; a subclass reads them, items are samples in which they are filled.

    Args:
        root: Folder of the set.
        split: Which split to read; the others need not be there.
        classes: Names of the classes, in the order of their indices.
        background: Name of the class of pixels within no outline, with index 0 unless it is among the classes; None
            makes them void.
        images: Folder of the images within root; {split} stands for train, val or test.
        annotations: Where the labels are within root, in the same way.
        leave_out: Categories that are no class count as not drawn; otherwise they are refused.
        hold_out: Every tenth image of train, in the order of names, is val, and train has the others.
        bands: Where images have other channels than RGB, the range of values of each.

    Raises:
        FileNotFoundError: labels or an image are missing.
        ValueError: labels are of another form, two splits would have the same images, a category is no class, train has
            no category of a class, or what has no outline is of one; on reading an item: a broken file, an outline that
            cannot be filled, or unequal sizes.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        *,
        classes: Sequence[str],
        background: str | None = "background",
        images: str,
        annotations: str,
        leave_out: bool = False,
        hold_out: bool = False,
        bands: Bands | None = None,
    ) -> None:
        held = hold_out and split != "test"
        expect_own_place("annotations", annotations, held)
        if held and split == "val":
            warn_of_val(root, annotations)
        source = "train" if held else split
        self.read_image = pixel_reader(bands)
        self.classes = with_background(classes, background)
        self.colors = outline_colors(self.classes, background)
        self.indices = {IGNORED: IGNORE_INDEX} | {name: index for index, name in enumerate(self.classes)}
        self.rest = IGNORE_INDEX if background is None else self.indices[background]
        places = split_places(root, [images, annotations], source)
        labels = self._labels(Path(root), source, *places)
        _expect_outlines(labels.drawn, self.indices)
        drawn = _without_slips(labels.drawn)
        if not leave_out:
            _expect_classes(drawn, self.indices)
        elif source == "train":  # other splits may be without some
            _expect_categories(labels, [name for name in classes if name != background])
        self.drawn = held_out(drawn, split) if held else drawn
        self.files = [(of.image, of.labels) for of in self.drawn]

    def _labels(self, root: Path, split: Split, images: Path, annotations: Path) -> Labels:
        try:
            return self.read(root, images, annotations)
        except FileNotFoundError as error:
            if split != "val" or annotations.exists():
                raise
            hint = "without a val split, --data.hold_out true validates on every tenth image of train"
            raise FileNotFoundError(f"{error}; {hint}") from error

    @staticmethod
    def read(root: Path, images: Path, annotations: Path) -> Labels:
        """The labels of a split, whole, checked, and with the images that are there."""
        raise NotImplementedError

    @staticmethod
    def categories(root: Path, annotations: Path) -> tuple[str, ...]:
        """What the labels of a split name, in their own order."""
        raise NotImplementedError

    def __len__(self) -> int:
        """The number of images."""
        return len(self.drawn)

    def __getitem__(self, index: int) -> Sample:
        """Image and mask number `index`, in the order of the names."""
        path, labels, picture = self.drawn[index]
        image = self.read_image(path)
        height, width = image.shape[-2:]
        mask = filled(picture, (height, width), self.indices, self.rest)
        check_sizes(image, mask, path, labels)
        return make_sample(image, mask)


def files_by_stem(folder: Path, suffixes: Collection[str], option: str) -> dict[str, Path]:
    """As `list_by_stem`, for a folder that an option names: "images" or "annotations"."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: name that of the {option} within root, as --data.{option}")
    return list_by_stem(folder, suffixes)


def labels_and_images(
    images: Path, annotations: Path, suffix: str, besides: Collection[str] = ()
) -> tuple[dict[str, Path], dict[str, Path]]:
    """The files of labels in one folder and the images in another, both by stem; only names `besides` lack an image."""
    files, shown = files_by_stem(annotations, (suffix,), "annotations"), files_by_stem(images, PICTURES, "images")
    if alone := [path for stem, path in files.items() if stem not in shown and path.name not in besides]:
        raise FileNotFoundError(f"{alone[0]} has no image in {images}: add it or remove the labels{others(alone)}")
    return files, shown


def with_background(names: Sequence[str], background: str | None) -> tuple[str, ...]:
    """The background before the other classes, unless it is among them or None.

    Raises:
        ValueError: there are more than a mask of 8 bits holds beside void.
    """
    classes = tuple(names) if background is None or background in names else (background, *names)
    if len(classes) > IGNORE_INDEX:
        raise ValueError(f"{len(classes)} classes; expected at most {IGNORE_INDEX}: name those that count")
    return classes


def outline_colors(classes: Sequence[str], background: str | None) -> tuple[RGB, ...]:
    """Evenly spread hues, and black for the background."""
    colors = spread_colors(len(classes))
    return tuple((0, 0, 0) if name == background else colors[index] for index, name in enumerate(classes))


def _without_slips(drawn: Sequence[Drawn]) -> list[Drawn]:
    """Without polygons of one or two points, which a slip of the hand leaves; pycocotools would fill a box."""
    slips = [(of, shape) for of in drawn for shape in of.picture.shapes if _whole(shape) != shape.outline]
    if slips:
        of, shape = slips[0]
        rank_zero_warn(
            f"polygons of one or two points cover nothing and are passed over: annotation {shape.number} of {of.labels}"
            f", on {of.picture.name}, and {len(slips) - 1} others"
        )
    return [of._replace(picture=of.picture._replace(shapes=_whole_shapes(of.picture.shapes))) for of in drawn]


def _whole_shapes(shapes: Sequence[Shape]) -> list[Shape]:
    whole = [shape._replace(outline=_whole(shape)) for shape in shapes]
    return [shape for shape in whole if shape.outline]


def _whole(shape: Shape) -> Any:
    """Its outline, of polygons those that have an inside."""
    if not isinstance(shape.outline, list):
        return shape.outline
    return [polygon for polygon in shape.outline if len(polygon) >= TRIANGLE]


def _expect_outlines(drawn: Sequence[Drawn], indices: Mapping[str, int]) -> None:
    """Refuse what has no inside and counts, since filled it would be wrong labels."""
    shapes = [(of, shape) for of in drawn for shape in of.picture.shapes if shape.category in indices]
    if bare := [(of, shape) for of, shape in shapes if isinstance(shape.outline, str)]:
        of, shape = bare[0]
        raise ValueError(
            f"annotation {shape.number} of {of.labels}, on {of.picture.name}, is a {shape.outline} of {shape.category}"
            f", no outline{others(bare)}: draw or export outlines, remove what is none, or name the classes that count "
            "without it (--data.classes)"
        )


def _expect_categories(labels: Labels, classes: Sequence[str]) -> None:
    if unknown := [name for name in classes if name not in labels.categories]:
        raise ValueError(
            f"{labels.place} has no category {unknown[0]}, only {', '.join(labels.categories)}: write it as there "
            "(--data.classes), or leave it out"
        )


def _expect_classes(drawn: Sequence[Drawn], indices: Mapping[str, int]) -> None:
    for _, labels, picture in drawn:
        if unknown := [shape.category for shape in picture.shapes if shape.category not in indices]:
            classes = ", ".join(name for name in indices if name != IGNORED)
            raise ValueError(
                f"{labels} has {unknown[0]} on {picture.name}, which is none of the classes {classes}: name the "
                "classes that count (--data.classes); all else then counts as not drawn"
            )
