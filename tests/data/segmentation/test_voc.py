"""Pascal VOC's layout, as it is published and as CVAT exports it: lists of images, and a file of the classes."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from image_files import random_image, save_image
from PIL import Image
from voc_files import LABELMAP, PAINT, drawn, list_voc, save_voc

from dla.data import FolderData, VocData
from dla.data.segmentation.class_file import pascal_color, read_class_file
from dla.data.segmentation.voc import BORDER


@pytest.fixture
def cvat(tmp_path: Path) -> Path:
    """Four images that are labelled, in folders as CVAT keeps them where they were uploaded so, and one that is not."""
    for seed, name in enumerate(("a", "day one/b", "day one/c", "d.0001")):
        save_voc(tmp_path, name, seed, PAINT[drawn(seed)])
    save_voc(tmp_path, "new", 9)
    list_voc(tmp_path, "train", "d.0001", "day one/c", "a")
    list_voc(tmp_path, "val", "day one/b")
    (tmp_path / "labelmap.txt").write_text(LABELMAP)
    return tmp_path


def test_what_cvat_exports_is_read_by_its_lists_and_its_map(cvat: Path) -> None:
    data = VocData(str(cvat))
    assert data.classes == ("background", "crack", "old rust")
    assert data.colors == ((0, 0, 0), (250, 50, 83), (36, 179, 83))
    data.setup("fit")
    train, val = data.sets["train"], data.sets["val"]
    assert [path.name for path, _ in train.files] == ["d.0001.jpg", "c.jpg", "a.jpg"]
    assert [path.name for path, _ in val.files] == ["b.jpg"]
    for dataset, seeds in ((train, (3, 2, 0)), (val, (1,))):
        for sample, seed in zip(dataset, seeds, strict=True):
            assert np.array_equal(sample.mask, np.where(drawn(seed) == 3, 255, drawn(seed)))


def test_pascals_own_masks_hold_indices(tmp_path: Path) -> None:
    for seed, name in enumerate(("2007_000032", "2007_000039")):
        save_voc(tmp_path, name, seed)
        mask = Image.fromarray(np.where(drawn(seed) == 3, 255, drawn(seed)).astype(np.uint8)).convert("P")
        mask.putpalette(PAINT.tobytes() + bytes(3 * 252))
        (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
        mask.save(tmp_path / "SegmentationClass" / f"{name}.png")
    list_voc(tmp_path, "train", "2007_000039")
    list_voc(tmp_path, "val", "2007_000032")
    data = VocData(str(tmp_path))
    data.setup("fit")
    assert (len(data.classes), data.classes[1], data.classes[-1]) == (21, "aeroplane", "tvmonitor")
    assert np.array_equal(data.sets["train"][0].mask, np.where(drawn(1) == 3, 255, drawn(1)))


def test_without_lists_all_images_are_parted(cvat: Path) -> None:
    for seed in range(10, 20):
        save_voc(cvat, f"x{seed}", seed, PAINT[drawn(seed)])
    for name in ("new", "a", "d.0001"):
        (cvat / "JPEGImages" / f"{name}.jpg").unlink()
        (cvat / "SegmentationClass" / f"{name}.png").unlink(missing_ok=True)
    data = VocData(str(cvat), names=None, hold_out=True)
    data.setup("fit")
    assert [path.stem for path, _ in data.sets["val"].files] == ["x19"]


def test_one_list_for_all_is_parted(cvat: Path) -> None:
    for seed in range(10, 20):
        save_voc(cvat, f"x{seed}", seed, PAINT[drawn(seed)])
    list_voc(cvat, "default", *(f"x{seed}.jpg" for seed in range(10, 20)))
    data = VocData(str(cvat), names="ImageSets/Segmentation/default.txt", hold_out=True)
    data.setup("fit")
    assert [path.stem for path, _ in data.sets["val"].files] == ["x19"]
    assert [path.stem for path, _ in data.sets["train"].files] == [f"x{seed}" for seed in range(10, 19)]


def test_a_list_that_is_not_there_is_refused_by_those_that_are(cvat: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no list .*test.txt, only train.txt, val.txt in its folder: name one by"
    ):
        VocData(str(cvat)).setup("test")
    with pytest.raises(
        FileNotFoundError, match=r"no list .*other.txt: expected .* without lists --data.names null takes all"
    ):
        VocData(str(cvat), names="lists/other.txt", hold_out=True).setup("fit")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("day one/e", r"JPEGImages/day one has no image e, which is listed; the list is .*train.txt, of names within"),
        ("day two/e", r"there is no folder .*JPEGImages/day two: check the path; the list is"),
        (
            "new",
            r"new.jpg has no annotation: expected .*SegmentationClass/new.png; add it or remove the image; the",
        ),
    ],
)
def test_what_is_listed_and_missing_is_named(cvat: Path, line: str, message: str) -> None:
    list_voc(cvat, "train", "a", line)
    with pytest.raises(FileNotFoundError, match=message):
        VocData(str(cvat)).setup("fit")


@pytest.mark.parametrize("again", ["a.jpg", "./a", "a.PNG"])
def test_an_image_that_is_listed_in_two_spellings_is_refused(cvat: Path, again: str) -> None:
    list_voc(cvat, "train", "a", "day one/c", again)
    with pytest.raises(ValueError, match=r"train.txt lists a more than once, under one spelling or several"):
        VocData(str(cvat)).setup("fit")


def test_a_list_that_was_written_on_windows(cvat: Path) -> None:
    list_voc(cvat, "train", "day one\\c.jpg\r", "a\r")
    data = VocData(str(cvat))
    data.setup("fit")
    assert [path.name for path, _ in data.sets["train"].files] == ["c.jpg", "a.jpg"]


@pytest.mark.parametrize("settings", [{}, {"cache": True, "max_size": 20}])
def test_an_image_of_train_and_val_is_named(cvat: Path, settings: dict) -> None:
    list_voc(cvat, "val", "day one/b", "a", "d.0001")
    with pytest.warns(UserWarning, match=r"JPEGImages/a.jpg is in train and in val, and 1 others: what is measured"):
        VocData(str(cvat), **settings).setup("fit")


@pytest.mark.parametrize("listed", ["NFC", "NFD"])
def test_folders_whose_umlauts_are_two_characters(cvat: Path, listed: str) -> None:
    """As in an archive that was packed on macOS."""
    save_voc(cvat, unicodedata.normalize("NFD", "Brücke/e"), 0, PAINT[drawn(0)])
    list_voc(cvat, "train", unicodedata.normalize(listed, "Brücke/e"))
    data = VocData(str(cvat))
    data.setup("fit")
    assert [path.name for path, _ in data.sets["train"].files] == ["e.jpg"]


def test_one_list_for_two_splits_is_refused(cvat: Path) -> None:
    data = VocData(str(cvat), names="ImageSets/Segmentation/train.txt")
    with pytest.raises(ValueError, match=r"names is ImageSets/Segmentation/train.txt, the same for all splits"):
        data.setup("fit")


def test_lists_serve_other_folders(cvat: Path) -> None:
    options = {"images": "JPEGImages", "annotations": "SegmentationClass", "class_file": "labelmap.txt"}
    data = FolderData(str(cvat), names="ImageSets/Segmentation/{split}.txt", void=(224, 224, 192), **options)
    data.setup("fit")
    assert len(data.sets["train"]) == 3
    assert np.array_equal(data.sets["val"][0].mask, np.where(drawn(1) == 3, 255, drawn(1)))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (LABELMAP, [(0, 0, 0), (250, 50, 83), (36, 179, 83)]),
        ("background:::\ncrack:::\nold rust:::", [(0, 0, 0), (128, 0, 0), (0, 128, 0)]),
        ("0 0 0 background\r\n250\t50\t83\tcrack\n\n36 179 83   old rust\n", [(0, 0, 0), (250, 50, 83), (36, 179, 83)]),
        (
            "name,r,g,b\nbackground,0,0,0\ncrack, 250, 50, 83\nold rust,36,179,83",
            [(0, 0, 0), (250, 50, 83), (36, 179, 83)],
        ),
        ("Pixel Value, Class\n0, background\n1, crack\n7, old rust", [0, 1, 7]),
    ],
    ids=["labelmap.txt", "without colors", "label_colors.txt", "class_dict.csv", "_classes.csv"],
)
def test_files_of_classes(tmp_path: Path, text: str, values: list) -> None:
    path = tmp_path / "classes"
    path.write_text(text)
    assert [*read_class_file(path).items()] == [*zip(("background", "crack", "old rust"), values, strict=True)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wall\ncrack\n", "holds the line 'wall'; expected a class in each as NAME:RED,GREEN,BLUE, RED"),
        ("wall:0,0,0::\ncrack:0,0::\n", "holds the line 'crack:0,0::'"),
        ("wall:0,0,0::\n1, crack\n", "holds the line '1, crack'"),
        ("wall:0,0,300::", "holds the line 'wall:0,0,300::'"),
        ("wall:0,0,0::\nwall:1,0,0::", "has wall more than once; expected a name and a value of its own"),
        ("wall:0,0,0::\ncrack:0, 0,0::", r"has \(0, 0, 0\) more than once"),
        ("# nothing\n", "names no class; expected one a line"),
    ],
)
def test_a_file_that_is_no_list_of_classes_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labelmap.txt").write_text(text)
    with pytest.raises(ValueError, match=f"labelmap.txt {message}"):
        VocData(str(tmp_path))


def test_classes_are_named_once_and_somewhere(cvat: Path) -> None:
    with pytest.raises(ValueError, match="the classes have no names: give them in the order of their indices"):
        FolderData(str(cvat))
    with pytest.raises(ValueError, match=r"class_file labelmap.txt names the classes and their values: give no other"):
        FolderData(str(cvat), class_file="labelmap.txt", classes=["a"])
    with pytest.raises(ValueError, match=r"class_file labelmap.txt names the classes and their values: give no other"):
        FolderData(str(cvat), class_file="labelmap.txt", values=[0, 1])
    with pytest.raises(FileNotFoundError, match=r"there is no file .*map.txt of the classes: name it within root"):
        FolderData(str(cvat), class_file="map.txt")


def test_pascals_colors() -> None:
    """Some of those which its readme's picture and its development kit give."""
    known = {1: (128, 0, 0), 7: (128, 128, 128), 8: (64, 0, 0), 11: (192, 128, 0), 20: (0, 64, 128), 255: BORDER}
    assert {index: pascal_color(index) for index in known} == known


def test_void_is_no_class_of_a_file_and_255_of_itself_may_be(tmp_path: Path) -> None:
    (tmp_path / "_classes.csv").write_text("Pixel Value, Class\n0, wall\n1, unsure\n255, crack\n")
    assert FolderData(str(tmp_path), class_file="_classes.csv").classes == ("wall", "unsure", "crack")
    assert FolderData(str(tmp_path), class_file="_classes.csv", void=1).classes == ("wall", "crack")


def test_roboflows_masks_beside_their_images(tmp_path: Path) -> None:
    """With a folder `valid`, and a file of the classes in that of train."""
    for folder, count in (("train", 3), ("valid", 2)):
        for seed in range(count):
            save_image(tmp_path / folder / f"{seed}_jpg.rf.0a1b.jpg", random_image(seed))
            save_image(tmp_path / folder / f"{seed}_jpg.rf.0a1b_mask.png", drawn(seed) % 2)
        (tmp_path / folder / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, crack\n")
    options = {"images": "{split}", "annotations": "{split}", "suffix": "_mask", "class_file": "train/_classes.csv"}
    data = FolderData(str(tmp_path), **options)
    data.setup("fit")
    assert data.classes == ("background", "crack")
    assert [len(data.sets[split]) for split in ("train", "val")] == [3, 2]
    assert np.array_equal(data.sets["val"][1].mask, drawn(1) % 2)
