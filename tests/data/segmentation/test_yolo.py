"""Labels in the form of YOLO's segmentation: polygons in parts of a picture are filled, and wrong lines are named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import random_image, save_image
from outline_files import fit, rectangles
from outline_files import save_yolo as save
from outline_files import yolo_line as line

from dla.data import Yolo, YoloData


def first(root: Path, **options: Any) -> np.ndarray:
    """The mask of the first image of train."""
    return np.asarray(YoloData(str(root), **options).read("train")[0].mask)


def test_polygons_are_filled_small_on_large(tmp_path: Path) -> None:
    save(
        tmp_path,
        "\n".join([line(1, 10, 12, 20, 24), line("0.0", 3, 3, 30, 33), "", line(0, 12, 14, 16, 18)]),
    )
    assert np.array_equal(first(tmp_path), rectangles((1, 3, 3, 30, 33), (2, 10, 12, 20, 24), (1, 12, 14, 16, 18)))
    assert np.array_equal(first(tmp_path, classes=["stain"]), rectangles((1, 10, 12, 20, 24)))
    assert np.array_equal(first(tmp_path, classes=["stain"], background=None), rectangles((0, 10, 12, 20, 24), on=255))


def test_images_of_any_size_and_what_lies_beyond_their_edges(tmp_path: Path) -> None:
    save(tmp_path, "0 -0.5 0 0.5 0 0.5 0.5 -0.5 0.5")
    save_image(tmp_path / "images" / "train" / "00.png", random_image(0, 20, 80))
    mask = first(tmp_path)
    assert mask.shape == (20, 80)
    assert mask[:10, :40].all()
    assert mask.sum() == 400


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data.yaml", "names:\n  7: stain\n  2: crack\n"),
        ("data.yaml", "train: ../train\nnc: 8\nnames: [a, b, crack, d, e, f, g, stain]\n"),
        ("classes.txt", "a\nb\ncrack\nd\ne\nf\ng\nstain\n"),
    ],
)
def test_names_of_classes_in_each_form(tmp_path: Path, file: str, text: str) -> None:
    save(tmp_path, f"{line(7, 2, 2, 9, 9)}\n{line(2, 20, 2, 29, 9)}")
    (tmp_path / "data.yaml").unlink()
    (tmp_path / file).write_text(text)
    classes = YoloData(str(tmp_path)).classes
    mask = first(tmp_path)
    assert classes[mask[5, 5]] == "stain"
    assert classes[mask[5, 25]] == "crack"


@pytest.mark.parametrize("names", ["names: [crack, stain, crack]\n", "names: {0: crack, 1: stain, 2: crack}\n"])
def test_two_numbers_of_one_name_are_one_class(tmp_path: Path, names: str) -> None:
    save(tmp_path, f"{line(0, 2, 2, 9, 9)}\n{line(2, 20, 2, 29, 9)}\n{line(1, 2, 20, 9, 29)}", names=names)
    assert YoloData(str(tmp_path)).classes == ("background", "crack", "stain")
    assert np.array_equal(first(tmp_path), rectangles((1, 2, 2, 9, 9), (1, 20, 2, 29, 9), (2, 2, 20, 9, 29)))


def test_a_list_of_names_with_an_empty_line_between_them_is_refused(tmp_path: Path) -> None:
    """Whether it counts as a number is not to be known."""
    save(tmp_path, line(1, 2, 2, 9, 9))
    (tmp_path / "data.yaml").unlink()
    for text in ("crack\n\nstain\n", "\ncrack\nstain"):
        (tmp_path / "classes.txt").write_text(text)
        with pytest.raises(ValueError, match=r"line \d of \S+classes.txt is empty, so that the numbers of the names"):
            YoloData(str(tmp_path))
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfcrack\r\nstain \r\n\r\n")
    assert YoloData(str(tmp_path)).classes == ("background", "crack", "stain")


def test_keypoints_are_refused(tmp_path: Path) -> None:
    """Their lines have a box and points, which would fill as an outline."""
    save(tmp_path, "0 0.5 0.5 0.2 0.2 0.4 0.3 0.6 0.4", names="kpt_shape: [2, 2]\nnames: [crack]\n")
    with pytest.raises(ValueError, match=r"\S+data.yaml is of keypoints \(kpt_shape\): export the labels as YOLO"):
        YoloData(str(tmp_path))


def test_an_image_without_labels_is_all_background_and_said(tmp_path: Path) -> None:
    save(tmp_path, "", line(0, 2, 2, 9, 9))
    assert np.array_equal(first(tmp_path), rectangles())
    (tmp_path / "labels" / "train" / "00.txt").unlink()
    with pytest.warns(match=r"\S+00.png has no labels in \S+train, so nothing is drawn on it"):
        assert np.array_equal(first(tmp_path), rectangles())
    (tmp_path / "images" / "train" / "01.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"\S+01.txt has no image in \S+train: add it or remove the labels"):
        first(tmp_path)


def test_one_folder_for_all_with_the_classes_between_the_labels(tmp_path: Path) -> None:
    """As labelImg leaves them."""
    save(tmp_path, *[line(0, 2, 2, 9, 9)] * 10)
    (tmp_path / "data.yaml").rename(tmp_path / "labels" / "train" / "classes.txt")
    (tmp_path / "classes.txt").write_text("crack\n")
    data = YoloData(str(tmp_path), images="images/train", annotations="labels/train", hold_out=True)
    assert [len(data.read(split)) for split in ("train", "val")] == [9, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.5 0.5 0.2 0.2", r"annotation 1 of \S+00.txt, on 00.png, is a box of crack, no outline: draw or export"),
        ("\n0 0.1 0.1 0.2 0.2 0.3 0.1 0.4", r"line 2 of \S+00.txt has 7 numbers behind its class; expected x, y, x, y"),
        ("crack 0.1 0.1 0.2 0.2 0.3 0.1", r"line 1 of \S+00.txt is no number of a class and x, y, x, y, ... \(could"),
        ("2 0.1 0.1 0.2 0.2 0.3 0.1", r"line 1 of \S+00.txt is of class 2; there are 0 to 1"),
        ("0.5 0.1 0.1 0.2 0.2 0.3 0.1", r"line 1 of \S+00.txt is of class 0.5; there are 0 to 1"),
        ("nan 0.1 0.1 0.2 0.2 0.3 0.1", r"line 1 of \S+00.txt is of class nan"),
        ("0 10 10 20 20 30 10", r"line 1 of \S+00.txt has other numbers than parts of the picture, from 0 to 1"),
        ("0 0.1 nan 0.2 0.2 0.3 0.1", r"line 1 of \S+00.txt has other numbers than parts"),
    ],
)
def test_what_is_wrong_with_a_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    save(tmp_path, text)
    with pytest.raises(ValueError, match=message):
        Yolo(tmp_path, classes=["crack", "stain"])


def test_a_box_of_what_is_no_class_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path, f"0 0.5 0.5 0.2 0.2\n{line(1, 2, 2, 9, 9)}")
    assert np.array_equal(first(tmp_path, classes=["stain"]), rectangles((1, 2, 2, 9, 9)))


def test_a_line_of_one_point_is_passed_over_and_said(tmp_path: Path) -> None:
    save(tmp_path, f"0 0.5 0.5\n{line(1, 2, 2, 9, 9)}")
    with pytest.warns(match=r"passed over: annotation 1 of \S+00.txt, on 00.png, and 0 others"):
        assert np.array_equal(first(tmp_path), rectangles((2, 2, 2, 9, 9)))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("names: [crack", r"\S+data.yaml cannot be read as YAML"),
        ("train: images", r"\S+data.yaml has the names None; expected a list of the names of the classes"),
        ("names: {a: crack}", r"\S+data.yaml has the names {'a': 'crack'}; expected"),
        ("names: []", r"\S+data.yaml has the names \[\]; expected"),
        ("- crack", r"\S+data.yaml has the names None"),
    ],
)
def test_names_that_are_none(tmp_path: Path, names: str, message: str) -> None:
    save(tmp_path, "", names=names)
    with pytest.raises(ValueError, match=message):
        YoloData(str(tmp_path))


def test_no_names_and_no_folder(tmp_path: Path) -> None:
    save(tmp_path, "")
    with pytest.raises(FileNotFoundError, match=r"no folder \S+labels/val: .* as --data.annotations; without a val"):
        YoloData(str(tmp_path)).read("val")
    with pytest.raises(FileNotFoundError, match=r"no folder \S+photos: name that of the images within root, as --dat"):
        YoloData(str(tmp_path), images="photos", hold_out=True).read("train")
    (tmp_path / "data.yaml").unlink()
    for classes in (None, ["crack"]):  # which does without them no more
        with pytest.raises(FileNotFoundError, match=r"no data.yaml or classes.txt in \S+, which .*, a name a line$"):
            YoloData(str(tmp_path), classes=classes).read("train")


def test_dla_fit_trains_on_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "val"):
        save(tmp_path, *[line(1, 2, 2, 30, 30)] * 2, split=split)
    assert fit(tmp_path, "--data=YoloData") == 0
    assert "\n3 classes: background, crack, stain\n" in capsys.readouterr().out
