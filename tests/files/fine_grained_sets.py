"""Fine-grained sets of a few images, each in exactly its publisher's layout."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat


def picture(path: Path, number: int, size: tuple[int, int] = (37, 29)) -> None:
    """An image of one colour, which tells its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (number % 256, 20, 90)).save(path)


def lines(path: Path, rows: list[str]) -> None:
    """A file of text with these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def make_cub(root: Path) -> None:
    """Two classes of 21 images of train and 2 of test; image i has its box at (4.0, 6.0), 11.0 wide, 9.0 high."""
    folder = root / "CUB_200_2011"
    lines(folder / "classes.txt", ["1 001.Auk", "2 002.Bunting"])
    names = [f"{kind}/{kind[4:]}_{n:04}.jpg" for kind in ("001.Auk", "002.Bunting") for n in range(23)]
    for number, name in enumerate(names, start=1):
        picture(folder / "images" / name, number)
    lines(folder / "images.txt", [f"{i} {name}" for i, name in enumerate(names, start=1)])
    lines(folder / "image_class_labels.txt", [f"{i} {1 + (i > 23)}" for i in range(1, 47)])
    lines(folder / "train_test_split.txt", [f"{i} {int((i - 1) % 23 < 21)}" for i in range(1, 47)])
    lines(folder / "bounding_boxes.txt", [f"{i} 4.0 6.0 11.0 9.0" for i in range(1, 47)])


def annotations(path: Path, split: str, labels: list[int]) -> None:
    """The publisher's structure: the box, the class from 1, the name of the file."""
    kinds = [(name, object) for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
    table = np.zeros((1, len(labels)), kinds)
    for i, label in enumerate(labels):
        table[0, i] = (1, 2, 30, 20, np.uint8(label), f"{i + 1:05}.jpg")
        picture(path.parents[path.parent.name == "devkit"] / f"cars_{split}" / f"{i + 1:05}.jpg", i)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"annotations": table})


def make_cars(root: Path) -> None:
    """Two classes of 21 images of train and 2 of test."""
    folder = root / "stanford_cars"
    annotations(folder / "devkit" / "cars_train_annos.mat", "train", [1, 2] * 21)
    annotations(folder / "cars_test_annos_withlabels.mat", "test", [2, 1, 1, 2])
    names = np.array(["AM General Hummer SUV 2000", "Acura RL Sedan 2012"], object)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names[None]})


def make_aircraft(root: Path) -> None:
    """Three variants of two families and two manufacturers; 12 images of train, 6 of val and 6 of test."""
    data = root / "fgvc-aircraft-2013b" / "data"
    levels = {
        "variant": ("variants.txt", ["707-320", "Boeing 717", "A300B4"]),
        "family": ("families.txt", ["Boeing 707", "Boeing 717", "A300"]),
        "manufacturer": ("manufacturers.txt", ["Boeing", "Boeing", "Airbus"]),
    }
    numbers = {"train": range(12), "val": range(12, 18), "test": range(18, 24)}
    numbers["trainval"] = range(18)
    for level, (file, names) in levels.items():
        lines(data / file, list(dict.fromkeys(names)))
        for split, images in numbers.items():
            lines(data / f"images_{level}_{split}.txt", [f"{1000000 + i} {names[i % 3]}" for i in images])
    for i in range(24):
        picture(data / "images" / f"{1000000 + i}.jpg", i)


def make_food(root: Path) -> None:
    """Two classes of 21 images of train and 2 of test."""
    folder = root / "food-101"
    lines(folder / "meta" / "classes.txt", ["apple_pie", "baklava"])
    for split, numbers in (("train", range(21)), ("test", range(21, 23))):
        listed = {kind: [f"{kind}/{i}" for i in numbers] for kind in ("apple_pie", "baklava")}
        (folder / "meta" / f"{split}.json").write_text(json.dumps(listed))
        for name in listed["apple_pie"] + listed["baklava"]:
            picture(folder / "images" / f"{name}.jpg", int(name.split("/")[1]))
