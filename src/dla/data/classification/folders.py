"""A folder of images per class: ImageNet's layout, and good for your own images."""

from collections.abc import Sequence
from pathlib import Path

from dla.bands import Bands
from dla.data.classification.files import LabelledFiles
from dla.data.places import split_place
from dla.files import read_names
from dla.files.listing import has_images, is_hidden, list_images


class LabelledFolder(LabelledFiles):
    """One split: every image in, or anywhere below, the folder of its class; by class, then by file name.

        folder/CLASS/NAME.jpg

    Args:
        folder: Folder of the split.
        classes: Names of all classes, in the order of their indices. The split may lack some of them.
        bands: Where images have other channels than RGB, the range of values of each.

    Raises:
        FileNotFoundError: there is no such folder, or no image in it.
        ValueError: it holds a folder that is no class; on reading an item, a broken image, which is named.
    """

    def __init__(self, folder: str | Path, classes: Sequence[str], bands: Bands | None = None) -> None:
        present = class_folders(folder)
        unknown = sorted(set(present) - set(classes))
        if unknown:
            raise ValueError(
                f"{folder} has folders that are none of the {len(classes)} classes: {', '.join(unknown[:5])}"
                f"{', ...' if len(unknown) > 5 else ''}; the train split or classes.txt fixes the classes: "
                "add them there, or remove these folders"
            )
        numbers = {name: index for index, name in enumerate(classes)}
        found = [(str(path), numbers[name]) for name in present for path in list_images(Path(folder, name), deep=True)]
        super().__init__(found, bands)
        if not self.files:
            raise FileNotFoundError(f"no images in {folder}: expected {folder}/CLASS/NAME.jpg")


def class_folders(folder: str | Path) -> tuple[str, ...]:
    """The names of the folders in `folder`, in order; those that start with a dot are left out.

    Raises:
        FileNotFoundError: there is no such folder, or none in it.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"no folder {folder}: expected a folder per class in it, as in {folder}/CLASS/NAME.jpg")
    names = sorted(path.name for path in Path(folder).iterdir() if path.is_dir() and not is_hidden(path, folder))
    if not names:
        raise FileNotFoundError(f"no folders in {folder}: expected one per class, as in {folder}/CLASS/NAME.jpg")
    return tuple(names)


def folder_classes(root: str | Path, file: str | Path | None = None) -> tuple[str, ...]:
    """The classes of `root`, which one file or the train split fixes for all splits.

    Args:
        root: Folder that holds train.
        file: File with a class name a line, in the order of their indices; None takes root/classes.txt where there is
            one, else the folders in root/train, each of which must hold an image.

    Raises:
        FileNotFoundError: there is neither.
        ValueError: the file names no class, or one twice; or a folder in root/train is empty, or is the only one.
    """
    listed = Path(file) if file else Path(root) / "classes.txt"
    if file or listed.is_file():
        return tuple(read_names(listed, "class"))
    train = split_place(root, "{split}", "train")
    classes = class_folders(train)
    if len(classes) == 1:
        raise ValueError(f"{train} holds the folder {classes[0]} alone: expected one for each of at least 2 classes")
    for folder in (train / name for name in classes):
        if not has_images(folder):
            raise ValueError(
                f"{folder} holds no image: add some, remove the folder, or name the classes in "
                f"{Path(root) / 'classes.txt'}, one a line"
            )
    return classes
