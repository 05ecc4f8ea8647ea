"""Fine-grained sets in their publishers' layouts: birds, cars, aircraft, dishes; cars and dishes by torchvision."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from torchvision.datasets import Food101, StanfordCars

from dla.data.classification.base import StoredImagesData
from dla.data.classification.cub import cub_classes, read_cub
from dla.data.classification.files import LabelledFiles, WithoutBanner, checked_files, parted, read_lines
from dla.data.classification.folders import folder_classes
from dla.data.classification.labelled import LabelledSet
from dla.data.sample import Split

Part = Literal["train", "val", "trainval", "test"]  # all publishers have the first and the last
Level = Literal["variant", "family", "manufacturer"]
BANNER = 20  # pixels at the lower edge of each aircraft, in which its publisher names whose the picture is
LEVELS = {"variant": "variants.txt", "family": "families.txt", "manufacturer": "manufacturers.txt"}


class FineGrainedData(StoredImagesData):
    """What these sets share: a train and a test split by the publisher, and a val split that is held out of train.

    Every tenth image of each class of train validates, in the publisher's order, and is not trained on.

    Args:
        root: Folder that holds the unpacked archive.
        hold_out: False to train on all of train, as published results do; val is then the test split, so that the
            checkpoint with the best val accuracy is one that was chosen on test.
        crop: Side of the images that the network sees, in pixels.
        **settings: The others of `StoredImagesData`; `resize` is 512 for a crop of 448.
    """

    def __init__(self, root: str, *, hold_out: bool = True, crop: int = 448, **settings: Any) -> None:
        super().__init__(crop=crop, **settings)
        self.root, self.hold_out = root, hold_out

    def listed(self, part: Part) -> LabelledFiles:
        """The images of a split of the publisher."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to list its {part} split")

    def read(self, split: Split) -> LabelledSet:
        """The images of one split; what is missing or broken is named by an error."""
        if split == "test" or not self.hold_out:
            return self.listed("train" if split == "train" else "test")
        return parted(self.listed("train"), split)


class CUBData(FineGrainedData):
    """CUB-200-2011: 200 species of birds, 5,994 images of train, about a tenth of them held out as val, 5,794 of test.

    Args:
        root: Folder that holds CUB_200_2011.
        boxes: Cut each image to the box of its bird.
        **settings: Those of `FineGrainedData`.
    """

    def __init__(self, root: str, *, boxes: bool = False, **settings: Any) -> None:
        super().__init__(root, **settings)
        self.boxes = boxes
        self.classes = cub_classes(root)

    def listed(self, part: Part) -> LabelledFiles:
        """The images of a split of the publisher, in the order of images.txt."""
        if part not in ("train", "test"):
            raise ValueError(f"CUB-200-2011 has no {part} split; expected train or test")
        return read_cub(self.root, part, boxes=self.boxes)


class StanfordCarsData(FineGrainedData):
    """Stanford Cars: 196 models of cars, 8,144 images of train, about a tenth of them held out as val, 8,041 of test.

    Args:
        root: Folder that holds stanford_cars, and in it cars_train, cars_test, devkit, cars_test_annos_withlabels.mat.
        **settings: Those of `FineGrainedData`.
    """

    def __init__(self, root: str, **settings: Any) -> None:
        super().__init__(root, **settings)
        self.folder = Path(root) / "stanford_cars"
        self.classes = _car_names(self.folder / "devkit" / "cars_meta.mat")

    def listed(self, part: Part) -> LabelledFiles:
        """The images of a split of the publisher, in its order."""
        listing = self.folder / ("devkit/cars_train_annos.mat" if part == "train" else "cars_test_annos_withlabels.mat")
        _require(listing, self.folder / f"cars_{part}")
        reader = _opened(lambda: StanfordCars(self.root, part, loader=str), listing)
        return LabelledFiles(checked_files(_samples(reader), self.classes, listing))


class AircraftData(FineGrainedData):
    """FGVC-Aircraft: 3,334 images of train, 3,333 of val and 3,333 of test, all three by the publisher.

    The banner below each picture is cut off, as the publisher asks for before training and measuring.

    Args:
        root: Folder that holds fgvc-aircraft-2013b.
        level: What the classes are: one of 100 variants (Boeing 737-700), 70 families (Boeing 737) or 30 manufacturers.
        hold_out: False to train on train and val together, as published results do; val is then the test split.
        **settings: The others of `FineGrainedData`.
    """

    def __init__(self, root: str, *, level: Level = "variant", hold_out: bool = True, **settings: Any) -> None:
        super().__init__(root, hold_out=hold_out, **settings)
        if level not in LEVELS:
            raise ValueError(f"level is {level!r}; expected one of {', '.join(LEVELS)}")
        self.folder, self.level = Path(root) / "fgvc-aircraft-2013b" / "data", level
        _require(self.folder / LEVELS[level])
        self.classes = folder_classes(root, self.folder / LEVELS[level])

    def read(self, split: Split) -> LabelledSet:
        """The images of one split, which is the publisher's unless train and val are trained on together."""
        if self.hold_out:
            return self.listed(split)
        return self.listed("trainval" if split == "train" else "test")

    def listed(self, part: Part) -> LabelledFiles:
        """The images of a split of the publisher, in its order."""
        listing = self.folder / f"images_{self.level}_{part}.txt"
        _require(listing, self.folder / "images")
        lines = [(i, line) for i, line in enumerate(read_lines(listing), start=1) if line.strip()]
        files = [self._labelled(line, f"line {i} of {listing}") for i, line in lines]
        return WithoutBanner(checked_files(files, self.classes, listing), BANNER)

    def _labelled(self, line: str, where: str) -> tuple[str, int]:
        """The image and the class that a line names; torchvision's reader does not say which name is in no list."""
        number, _, name = line.strip().partition(" ")
        if not name:
            raise ValueError(f"{where} is malformed: {line!r}; expected NUMBER {self.level.upper()}")
        if name not in self.classes:
            names = self.folder / LEVELS[self.level]
            raise ValueError(f"{where} has the {self.level} {name}, which is missing from {names}: unpack both again")
        return str(self.folder / "images" / f"{number}.jpg"), self.classes.index(name)


class Food101Data(FineGrainedData):
    """Food-101: 101 dishes, 750 images each of train, a tenth of them held out as val, and 250 of test.

    Args:
        root: Folder that holds food-101.
        **settings: Those of `FineGrainedData`.
    """

    def __init__(self, root: str, **settings: Any) -> None:
        super().__init__(root, **settings)
        self.folder = Path(root) / "food-101"
        _require(self.folder / "meta" / "classes.txt")
        self.classes = folder_classes(root, self.folder / "meta" / "classes.txt")

    def listed(self, part: Part) -> LabelledFiles:
        """The images of a split of the publisher, class by class."""
        listing = self.folder / "meta" / f"{part}.json"
        _require(listing, self.folder / "images")
        reader = _opened(lambda: Food101(self.root, part, loader=str), listing)
        unknown = sorted(set(reader.classes) - set(self.classes))
        if unknown:
            names = self.folder / "meta" / "classes.txt"
            raise ValueError(f"{listing} has the dish {unknown[0]}, which is missing from {names}: unpack both again")
        numbers = [self.classes.index(name) for name in reader.classes]  # a list may lack some of the classes
        files = [(path, numbers[label]) for path, label in _samples(reader)]
        return LabelledFiles(checked_files(files, self.classes, listing))


def _require(*paths: Path) -> None:
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"no {path}: unpack the publisher's whole archive, or correct the set's root")


def _opened(reader: Callable[[], Any], listing: Path) -> Any:
    """One of torchvision's readers; it names neither the file at fault nor a remedy, so that is done here."""
    try:
        return reader()
    except Exception as error:  # of a damaged list anything may be raised
        raise ValueError(f"{listing} cannot be read ({error!r}); unpack it again") from None


def _samples(reader: Any) -> list[tuple[str, int]]:
    """The paths, which the reader was told to give in place of images, and the indices among the reader's classes."""
    return [(path, int(label)) for path, label in (reader[index] for index in range(len(reader)))]


def _car_names(path: Path) -> tuple[str, ...]:
    """The names of the cars; torchvision's reader reads them too, but of two files does not say which is damaged."""
    from scipy.io import loadmat

    _require(path)
    try:
        names = loadmat(path, squeeze_me=True)["class_names"].tolist()
    except Exception as error:  # a damaged file can fail in any way
        raise ValueError(f"{path} cannot be read ({error!r}); expected names in class_names: unpack it again") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path} holds {names!r:.40} in class_names; expected the names of the cars: unpack it again")
    return tuple(names)
