"""Sets whose labels are outlines in files of COCO's form, as programs for labelling export them."""

from collections.abc import Sequence
from pathlib import Path

from dla.bands import Bands
from dla.data.sample import IGNORE_INDEX, Sample, Split, check_sizes, make_sample, pixel_reader
from dla.data.segmentation.coco_file import Picture, read_coco
from dla.data.segmentation.folders import spread_colors
from dla.data.segmentation.outlines import filled
from dla.data.segmentation.pairing import expect_own_place, held_out, named_files
from dla.images import RGB


class Coco:
    """One split of a set with labels in COCO's form; items are samples in which outlines are filled.

    Args:
        root: Folder of the set.
        split: Which split to read; the others need not be there.
        classes: Names of the classes, in the order of their indices.
        background: Name of the class of pixels within no outline, with index 0 unless it is among the classes; None
            makes them void.
        images: Folder of the images within root; {split} stands for train, val or test. Paths that the labels name are
            within it; where such files are not there, those of the last parts of the paths are taken.
        annotations: File of the labels within root, in the same way.
        leave_out: Categories that are no class count as not drawn; otherwise they are refused.
        hold_out: Every tenth image of train, in the order of names, is val, and train has the others.
        bands: Where images have other channels than RGB, the range of values of each.

    Raises:
        FileNotFoundError: the file of the labels or an image is missing.
        ValueError: the file is of another form, two splits would have the same images, a category is no class, or train
            has no category of a class; on reading an item: a broken file, an outline that cannot be filled, or unequal
            sizes.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        *,
        classes: Sequence[str],
        background: str | None = "background",
        images: str = "{split}2017",
        annotations: str = "annotations/instances_{split}2017.json",
        leave_out: bool = False,
        hold_out: bool = False,
        bands: Bands | None = None,
    ) -> None:
        held = hold_out and split != "test"
        expect_own_place("annotations", annotations, held)
        source = "train" if held else split
        folder, labels = (Path(root, place.replace("{split}", source)) for place in (images, annotations))
        self.read_image = pixel_reader(bands)
        self.classes = with_background(classes, background)
        self.colors = outline_colors(self.classes, background)
        self.indices = {name: index for index, name in enumerate(self.classes)}
        self.rest = IGNORE_INDEX if background is None else self.indices[background]
        categories, pictures = read_coco(labels)
        if not leave_out:
            _expect_classes(labels, pictures, self.classes)
        elif source == "train":  # other splits may be without some
            _expect_categories(labels, categories, [name for name in classes if name != background])
        self.pictures = held_out(pictures, split) if held else pictures
        files = named_files(folder, [picture.name for picture in self.pictures], labels)
        self.files = [(file, labels) for file in files]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """Image and mask number `index`, in the order of the names."""
        path, labels = self.files[index]
        image, mask = self.read_image(path), filled(self.pictures[index], self.indices, self.rest)
        check_sizes(image, mask, path, labels)
        return make_sample(image, mask)


def coco_categories(root: str | Path, annotations: str) -> tuple[str, ...]:
    """What the labels of train name, in the order of the numbers.

    Raises:
        FileNotFoundError: they are not there.
        ValueError: they are of another form.
    """
    labels = Path(root, annotations.replace("{split}", "train"))
    if not labels.is_file():
        raise FileNotFoundError(
            f"no file {labels}, whose categories are the classes: name the file of the labels within root, as "
            "--data.annotations, or the classes, as --data.classes"
        )
    return read_coco(labels).categories


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


def _expect_categories(labels: Path, categories: Sequence[str], classes: Sequence[str]) -> None:
    if unknown := [name for name in classes if name not in categories]:
        raise ValueError(
            f"{labels} has no category {unknown[0]}, only {', '.join(categories)}: write it as there "
            "(--data.classes), or leave it out"
        )


def _expect_classes(labels: Path, pictures: Sequence[Picture], classes: Sequence[str]) -> None:
    for picture in pictures:
        if others := [shape.category for shape in picture.shapes if shape.category not in classes]:
            raise ValueError(
                f"{labels} has {others[0]} on {picture.name}, which is none of the classes {', '.join(classes)}: name "
                "the classes that count (--data.classes); all else then counts as not drawn"
            )
