"""Which files of a folder count: pictures, or what else a reader asks for, by name or by stem, none that are hidden."""

import glob
import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from PIL import Image

# What is taken from a folder; what a pattern finds may end in anything that Pillow knows or in nothing, and a file that
# is named in anything at all.
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def find_images(inputs: Sequence[str]) -> list[Path]:
    """The files that paths, folders and patterns stand for, each once, in the order given and by name in a folder.

    Raises:
        FileNotFoundError: one of them stands for no picture.
    """
    found: dict[Path, Path] = {}
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            files = list_images(path)
        elif path.exists():
            files = [path]
        else:
            names = glob.glob(name, recursive=True)  # noqa: PTH207, Path.glob takes no pattern that starts with a slash
            known = {"", *Image.registered_extensions()}
            files = [file for file in map(Path, sorted(names)) if file.is_file() and file.suffix.lower() in known]
        if not files:
            deeper = f"'{path}/*', for those in the folders in it, or " if path.is_dir() and has_images(path) else ""
            raise FileNotFoundError(
                f"no image at {name}: give {deeper}a picture, a folder of pictures or a pattern such as '*.jpg'"
            )
        for file in files:  # a link counts by its own name, hence its folder alone is resolved
            found.setdefault(file.parent.resolve() / file.name, file)
    return list(found.values())


def list_images(folder: Path, *, deep: bool = False) -> list[Path]:
    """The pictures in a folder by name, where `deep` is set also those in the folders in it, linked or not."""
    return sorted(_files(folder, PICTURES, deep))


def spread(paths: Sequence[Path], most: int) -> Sequence[Path]:
    """At most so many of them, evenly chosen, the first among them."""
    return paths[:: -(-len(paths) // most)]


def has_images(folder: Path) -> bool:
    """Whether there is a picture in a folder, or in the folders in it."""
    return any(True for _ in _files(folder, PICTURES, deep=True))


def list_by_stem(folder: str | Path, suffixes: Collection[str]) -> dict[str, Path]:
    """The files of a folder that end in one of `suffixes`, by stem and in the order of the stems, to pair folders.

    Stems are as `composed` gives them.

    Raises:
        FileNotFoundError: there is no such folder, or no such file in it.
        ValueError: two of them have one stem.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: check the path")
    found: dict[str, Path] = {}
    for path in sorted(_files(folder, suffixes, deep=False)):
        other = found.setdefault(composed(path.stem), path)
        if other != path:
            raise ValueError(f"{other} and {path} have one name: keep one of them, since files are paired by name")
    if not found:
        raise FileNotFoundError(f"no {' or '.join(suffixes)} file in {folder}: name the folder that holds them itself")
    return dict(sorted(found.items()))


def list_folders(folder: str | Path, suffixes: Collection[str]) -> dict[str, Path]:
    """The folders in a folder that hold files which end in one of `suffixes`, by name as `composed` gives it."""
    inside = (path for path in sorted(Path(folder).iterdir()) if path.is_dir() and not is_hidden(path, folder))
    return {composed(path.name): path for path in inside if any(_files(path, suffixes, deep=False))}


def composed(name: str) -> str:
    """A name with its letters composed: in one from macOS an umlaut is often two characters, and looks the same."""
    return unicodedata.normalize("NFC", name)


def is_hidden(path: str | Path, folder: str | Path) -> bool:
    """Whether a name on the way from a folder to a path starts with a dot: ._NAME.jpg, which macOS leaves on disks."""
    return any(part[0] == "." for part in Path(path).parts[len(Path(folder).parts) :])


def _files(folder: Path, suffixes: Collection[str], deep: bool) -> Iterator[Path]:
    seen_folders: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(parent)) in seen_folders:  # links may lead in a circle
            folders.clear()
            continue
        seen_folders.add(real)
        folders.sort()
        paths = (Path(parent, name) for name in names)
        seen = (path for path in paths if path.suffix.lower() in suffixes and not is_hidden(path, folder))
        yield from (path for path in seen if path.is_file())  # a link may lead nowhere
        if not deep:
            return
