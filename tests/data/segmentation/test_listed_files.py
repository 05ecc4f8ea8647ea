"""Lists that name an image and its annotation in each line, as PaddleSeg writes them."""

from pathlib import Path

import pytest
from PIL import Image

from dla.data import FolderData, PairedFolders

CLASSES = ("wall", "crack")


@pytest.fixture
def paddle(tmp_path: Path) -> Path:
    """Twelve images in photos/, their annotations under other names in labels/, and lists beside them."""
    for folder in ("photos", "labels"):
        (tmp_path / folder).mkdir()
    for i in range(12):
        Image.new("RGB", (16, 8), (i, 0, 0)).save(tmp_path / "photos" / f"photo {i}.png")
        Image.new("L", (16, 8), i % 2).save(tmp_path / "labels" / f"label_{i}.png")
    write(tmp_path, "train", [line(i) for i in (5, 3, 4)])
    write(tmp_path, "val", [line(i) for i in (0, 11)])
    return tmp_path


def line(i: int, between: str = "\t") -> str:
    return f"photos/photo {i}.png{between}labels/label_{i}.png"


def write(root: Path, split: str, lines: list[str]) -> None:
    (root / f"{split}.txt").write_text("\n".join(lines) + "\n")


def contents(data: PairedFolders) -> list[tuple[int, int]]:
    """Of each image its red, and of its annotation the class."""
    return [(int(sample.image[0, 0, 0]), int(sample.mask[0, 0])) for sample in data]


def test_both_are_read_in_the_order_of_the_list(paddle: Path) -> None:
    data = FolderData(str(paddle), classes=list(CLASSES), names="{split}.txt", crop=8, workers=0)
    data.setup("fit")
    assert contents(data.sets["train"]) == [(5, 1), (3, 1), (4, 0)]
    assert contents(data.sets["val"]) == [(0, 0), (11, 1)]


@pytest.mark.parametrize("between", [",", ", ", "\t", " \t"])
def test_what_parts_them(paddle: Path, between: str) -> None:
    write(paddle, "train", [line(7, between), line(2, between).replace("/", "\\")])
    assert contents(PairedFolders(paddle, classes=CLASSES, names="{split}.txt")) == [(7, 1), (2, 0)]


def test_a_space_parts_names_without_one(paddle: Path) -> None:
    (paddle / "photos" / "photo 1.png").rename(paddle / "photos" / "1.PNG")
    write(paddle, "train", ["photos/1.PNG  labels/label_1.png"])
    assert contents(PairedFolders(paddle, classes=CLASSES, names="{split}.txt")) == [(1, 1)]


def test_every_tenth_of_one_list_is_held_out(paddle: Path) -> None:
    write(paddle, "all", [line(i) for i in range(12)])
    options = {"classes": CLASSES, "names": "all.txt", "hold_out": True}
    assert contents(PairedFolders(paddle, "val", **options)) == [(9, 1)]
    assert len(PairedFolders(paddle, "train", **options)) == 11


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["a.png\tb.png", line(1), "c.png\td.png"],
            r"no file \S+a.png, which \S+train.txt lists as a path within .*, and",
        ),
        ([",", line(1)], r'some lines, and not in ",": write both in each'),
        ([line(1), "photos/photo 2.png"], r'some lines, and not in "photos/photo 2.png": write both in each'),
        (
            [line(1), "photos/photo 1.png,labels/label_2.png"],
            r"train.txt lists \S+photo 1.png more than once: keep one",
        ),
        (["photos/photo 1.png,photos/label.jpg"], r"label.jpg is no PNG or TIFF, as annotations are"),
    ],
)
def test_errors_name_the_file_or_the_line(paddle: Path, lines: list[str], message: str) -> None:
    Image.new("L", (16, 8)).save(paddle / "photos" / "label.jpg")
    write(paddle, "train", lines)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        PairedFolders(paddle, classes=CLASSES, names="{split}.txt")


def test_lists_of_images_alone_are_as_before(paddle: Path) -> None:
    write(paddle, "train", ["photo 3", "photo 5.png"])
    for i in (3, 5):
        (paddle / "labels" / f"label_{i}.png").rename(paddle / "labels" / f"photo {i}.png")
    folders = {"images": "photos", "annotations": "labels", "names": "{split}.txt"}
    assert contents(PairedFolders(paddle, classes=CLASSES, **folders)) == [(3, 1), (5, 1)]
