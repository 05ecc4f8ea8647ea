"""Images that a list names, in any folders, and their annotations, which it may name beside them."""

from pathlib import Path, PurePath

from dla.data.segmentation.pairing import Pair, expect_exact, others, pairs, written
from dla.files import read_names
from dla.files.listing import PICTURES, composed
from dla.names import repeated


def listed_pairs(images: Path, annotations: Path, suffix: str, names: Path) -> list[Pair]:
    """The images that a list names, in its order, and their annotations; others do not count.

    Args:
        images: folder of the images.
        annotations: folder of the annotations, which lie in folders within it as their images do.
        suffix: as of `pairs`.
        names: the list, with a path within the folder of the images a line, with slashes of either kind; it may end as
            the image's does.

    Raises:
        FileNotFoundError: the list, an image or an annotation is missing.
        ValueError: as by `pairs`, or the list is empty, or names one twice.
    """
    _expect_list(names)
    stems: dict[PurePath, list[str]] = {}
    order = [_named(line) for line in read_names(names, "image")]
    if twice := repeated(map(str, order)):
        raise ValueError(f"{names} lists {twice[0]} more than once, under one spelling or several: keep one line of it")
    for path in order:
        stems.setdefault(path.parent, []).append(path.name)
    try:
        found = {
            folder / composed(pair[0].stem): pair
            for folder, only in stems.items()
            for pair in pairs(written(images, str(folder)), written(annotations, str(folder)), suffix, only)
        }
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; the list is {names}, of names within {images}") from error
    return [found[path] for path in order]


def listed_files(root: Path, names: Path) -> list[Pair] | None:
    """The images and annotations of a list that names both in each line; None where there is no such list.

        images/0001.jpg labels/0001.png

    So PaddleSeg writes them, parted by a space; a tab or a comma will do as well.

    Args:
        root: folder within which the paths are, with slashes of either kind.
        names: the list.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a line names one file where others name two, an image is named twice, or an annotation is no PNG or
            TIFF.
    """
    lines = read_names(names, "image") if names.is_file() else []
    both = {line: _both(line) for line in lines}
    if not any(both.values()):
        return None
    if alone := [line for line, pair in both.items() if not pair]:
        raise ValueError(
            f'{names} names an image and its annotation in some lines, and not in "{alone[0]}"{others(alone)}: write '
            "both in each"
        )
    found = [(written(root, image), written(root, annotation)) for image, annotation in filter(None, both.values())]
    if missing := [file for pair in found for file in pair if not file.is_file()]:
        raise FileNotFoundError(f"no file {missing[0]}, which {names} lists as a path within {root}{others(missing)}")
    if twice := repeated(str(image) for image, _ in found):
        raise ValueError(f"{names} lists {twice[0]} more than once: keep one line of it")
    for _, annotation in found:
        expect_exact(annotation)
    return found


def _both(line: str) -> tuple[str, str] | None:
    """The paths of an image and its annotation in a line; None where it is something else."""
    for between in ("\t", ",", " "):
        parts = [part.strip().replace("\\", "/") for part in line.split(between) if part.strip()]
        if len(parts) == 2 and all(PurePath(part).suffix.lower() in PICTURES for part in parts):
            return parts[0], parts[1]
    return None


def _expect_list(names: Path) -> None:
    """Refuse a list that is not there by the others in its folder, or where there are none by what does without."""
    if names.exists():
        return
    if there := sorted(path.name for path in names.parent.glob("*.txt")):
        raise FileNotFoundError(
            f"there is no list {names}, only {', '.join(there)} in its folder: name one by --data.names, as a path "
            "within root; where one list is for train and val, with --data.hold_out true"
        )
    raise FileNotFoundError(
        f"there is no list {names}: expected a file with the name of one image a line; without lists --data.names null "
        "takes all images that there are, with --data.hold_out true where they lie in one folder"
    )


def _named(line: str) -> PurePath:
    """The path of a line, which a program on Windows may have written, without the ending of a picture."""
    path = PurePath(composed(line).replace("\\", "/"))
    return path.with_suffix("") if path.suffix.lower() in PICTURES else path
