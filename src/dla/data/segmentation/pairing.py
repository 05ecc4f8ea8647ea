"""Images and their annotations, found by their names, and those of them that validate."""

import unicodedata
from collections.abc import Collection, Mapping, Sequence, Sized
from pathlib import Path
from typing import TypeVar

from dla.data.sample import HELD_OUT, Split
from dla.files.listing import PICTURES, composed, list_by_stem, list_images

Pair = tuple[Path, Path]
"""An image and its annotation."""

Shown = TypeVar("Shown")  # an image, and what is known of it

ANNOTATIONS = (".png", ".tif", ".tiff")
"""What annotations end in: formats that keep every number."""


def pairs(images: Path, annotations: Path, suffix: str = "", only: Collection[str] | None = None) -> list[Pair]:
    """Each image of a folder and its annotation, in the order of the images' stems.

    Args:
        images: folder of the images.
        annotations: folder of the annotations; it may be the same where there is a suffix.
        suffix: what stands in an annotation's name behind that of its image.
        only: stems of the images that count, in their order; None for all, each annotation of which has an image.

    Raises:
        FileNotFoundError: the annotation of an image or the image of one is missing, or there is none.
        ValueError: two images have one stem, or an annotation is no PNG or TIFF.
    """
    pictures = _images(images, suffix if images == annotations else "")
    if only is not None:
        if missing := [stem for stem in only if stem not in pictures]:
            raise FileNotFoundError(f"{images} has no image {missing[0]}, which is listed{others(missing)}")
        pictures = {stem: pictures[stem] for stem in only}
    _check_format(pictures, annotations, suffix)
    drawn = {stem: path for stem, path in list_by_stem(annotations, ANNOTATIONS).items() if stem.endswith(suffix)}
    if bare := [stem for stem in pictures if stem + suffix not in drawn]:
        raise FileNotFoundError(
            f"{pictures[bare[0]]} has no annotation: expected {annotations / bare[0]}{suffix}.png; add it or remove "
            f"the image{others(bare)}"
        )
    alone = [path for stem, path in drawn.items() if stem.removesuffix(suffix) not in pictures]
    if alone and only is None:
        raise FileNotFoundError(
            f"{alone[0]} has no image in {images}, which may end in {', '.join(PICTURES)}: add it or remove the "
            f"annotation{others(alone)}"
        )
    return [(path, drawn[stem + suffix]) for stem, path in pictures.items()]


def others(faulty: Sized) -> str:
    """How many more there are, so that nobody removes hundreds one by one."""
    return f", and {len(faulty) - 1} others" if len(faulty) > 1 else ""


def _images(folder: Path, suffix: str) -> dict[str, Path]:
    """The images of a folder by their stems, but for the annotations between them."""
    found = list_by_stem(folder, PICTURES)
    return {stem: path for stem, path in found.items() if not (suffix and stem.endswith(suffix))}


def _check_format(pictures: Mapping[str, Path], annotations: Path, suffix: str) -> None:
    """Refuse an image's annotation that is there, but in another format, of which most are not sure to keep indices."""
    shown = set(pictures.values())  # which may lie in the same folder
    files = {path: composed(path.stem) for path in list_images(annotations) if path not in shown}
    read = {stem for path, stem in files.items() if path.suffix.lower() in ANNOTATIONS}
    for path, stem in files.items():
        if stem.endswith(suffix) and stem.removesuffix(suffix) in pictures and stem not in read:
            expect_exact(path)


def expect_exact(annotation: Path) -> None:
    """Refuse an annotation by its name where its format is not sure to keep every number.

    Raises:
        ValueError: it is no PNG or TIFF.
    """
    if annotation.suffix.lower() not in ANNOTATIONS:
        raise ValueError(
            f"{annotation} is no PNG or TIFF, as annotations are: JPEG, for one, changes class indices; take them from "
            "the program that drew them, as 8-bit grey or palette PNGs"
        )


def held_out(train: list[Shown], split: Split) -> list[Shown]:
    """Those of the images of train that are in one of the two splits: the 10th, the 20th and so on validate.

    Raises:
        ValueError: there are too few.
    """
    if len(train) < HELD_OUT:
        raise ValueError(
            f"{len(train)} images, of which every {HELD_OUT}th would be held out to validate: give more, or a val split"
        )
    return [image for number, image in enumerate(train, 1) if (number % HELD_OUT == 0) == (split == "val")]


def named_files(folder: Path, names: Sequence[str], labels: Path) -> list[Path]:
    """The files that labels name; where these are paths of another machine, those of their last parts.

    Raises:
        FileNotFoundError: one is missing.
    """
    files = [written(folder, name) for name in names]
    missing = [file for file in files if not file.is_file()]
    if not missing:
        return files
    bare = {written(folder, file.name): None for file in files}
    if len(bare) == len(files) and all(file.is_file() for file in bare):
        return list(bare)
    raise FileNotFoundError(
        f"no file {missing[0]}, which {labels} names; {len(missing)} of {len(files)} are missing: add them, or name "
        "their folder within root, as --data.images"
    )


def written(folder: Path, name: str) -> Path:
    """The file or folder of a name, in which an umlaut may be one character here and two there, as macOS writes it."""
    forms = name, composed(name), unicodedata.normalize("NFD", name)
    return next((folder / form for form in forms if (folder / form).exists()), folder / name)
