"""Labels as LabelMe keeps them: each kind of shape is filled, and what is wrong with a file is named."""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outline_files import HEIGHT, WIDTH, fit, rectangles
from outline_files import labelme_shape as shape
from outline_files import save_labelme as save
from PIL import Image

from dla.data import LabelMe, LabelMeData


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def first(root: Path, **options: Any) -> np.ndarray:
    """The mask of the first image of train."""
    return np.asarray(LabelMeData(str(root), **options).read("train")[0].mask)


def png(mask: np.ndarray) -> str:
    """As LabelMe writes a mask into JSON."""
    file = BytesIO()
    Image.fromarray(mask).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


def test_polygons_and_rectangles_are_rectangles(tmp_path: Path) -> None:
    bare = {key: value for key, value in shape("crack", box(12, 12, 14, 14)).items() if key != "shape_type"}
    shapes = [
        bare,  # as old versions wrote it
        shape("stain", [[20, 20], [10, 10]], "rectangle"),
        shape("crack", box(2, 2, 30, 30)),
        shape("crack", box(40, 3, 44, 9), "rectangle"),
        shape("stain", box(40, 20, 44, 29), "rotation", direction=0.0),
    ]
    save(tmp_path / "train", shapes)
    expected = [(1, 2, 2, 30, 30), (2, 10, 10, 20, 20), (1, 12, 12, 14, 14), (1, 40, 3, 44, 9), (2, 40, 20, 44, 29)]
    assert np.array_equal(first(tmp_path), rectangles(*expected))


@pytest.mark.parametrize("kind", ["rotation", "oriented_rectangle", "quadrilateral"])
def test_shapes_of_four_corners_are_polygons(tmp_path: Path, kind: str) -> None:
    save(tmp_path / "train", [shape("crack", [[24, 4], [34, 14], [24, 24], [14, 14]], kind)])
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    far = abs(x - 24) + abs(y - 14)
    mask = first(tmp_path)
    assert mask[far < 9].all()
    assert not mask[far > 11].any()


def test_a_circle_has_its_radius(tmp_path: Path) -> None:
    save(tmp_path / "train", [shape("crack", [[20.0, 16.0], [26.0, 24.0]], "circle")])
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    far = np.hypot(x - 20, y - 16)
    mask = first(tmp_path)
    assert mask[far < 9].all()
    assert not mask[far > 11].any()


@pytest.mark.parametrize(("kind", "end"), [(bool, [18.0, 11.0]), (np.uint8, [19.0, 12.0])])
def test_a_mask_lies_between_its_corners(tmp_path: Path, kind: type, end: list[float]) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (9, 14)).astype(kind)
    save(tmp_path / "train", [shape("crack", [[5.0, 3.0], end], "mask", mask=png(mask))])
    expected = rectangles()
    expected[3:12, 5:19] = mask
    assert np.array_equal(first(tmp_path), expected)


def test_classes_are_the_labels_in_the_order_of_the_alphabet_or_those_named(tmp_path: Path) -> None:
    save(tmp_path / "train", [shape("stain", box(2, 2, 9, 9))], [shape("crack", box(20, 2, 29, 9))])
    assert LabelMeData(str(tmp_path)).classes == ("background", "crack", "stain")
    assert np.array_equal(first(tmp_path), rectangles((2, 2, 2, 9, 9)))
    assert np.array_equal(first(tmp_path, classes=["crack"]), rectangles())
    assert np.array_equal(first(tmp_path, classes=["stain"], background=None), rectangles((0, 2, 2, 9, 9), on=255))
    with pytest.raises(ValueError, match=r"\S+train has no category Stain, only crack, stain: write it as there"):
        first(tmp_path, classes=["Stain"])
    save(tmp_path / "val", [shape("dirt", box(2, 2, 9, 9))])
    with pytest.raises(ValueError, match=r"\S+val/00.json has dirt on 00, which is none of the classes background, cr"):
        LabelMeData(str(tmp_path)).read("val")


def test_lines_and_points_of_what_is_no_class_are_passed_over(tmp_path: Path) -> None:
    shapes = [shape("scale", [[1, 1], [5, 5]], "line"), shape("tip", [[9, 9]], "point")]
    save(tmp_path / "train", [*shapes, shape("crack", box(2, 2, 9, 9))])
    assert np.array_equal(first(tmp_path, classes=["crack"]), rectangles((1, 2, 2, 9, 9)))
    with pytest.raises(ValueError, match=r"is a line of scale, no outline, and 1 others: .* \(--data.classes\)"):
        first(tmp_path)


def test_what_labelme_calls_ignored_is_void(tmp_path: Path) -> None:
    save(
        tmp_path / "train",
        [shape("__ignore__", box(10, 10, 20, 20)), shape("crack", box(2, 2, 30, 30))],
    )
    assert LabelMeData(str(tmp_path)).classes == ("background", "crack")
    assert np.array_equal(first(tmp_path), rectangles((1, 2, 2, 30, 30), (255, 10, 10, 20, 20)))


def test_what_labelme_calls_ignored_is_a_class_where_it_is_named_so(tmp_path: Path) -> None:
    save(tmp_path / "train", [shape("__ignore__", box(10, 10, 20, 20)), shape("crack", box(2, 2, 30, 30))])
    classes = ["crack", "__ignore__"]
    assert np.array_equal(first(tmp_path, classes=classes), rectangles((1, 2, 2, 30, 30), (2, 10, 10, 20, 20)))
    assert np.array_equal(first(tmp_path, background="__ignore__"), rectangles((1, 2, 2, 30, 30), (0, 10, 10, 20, 20)))


def test_labels_in_a_folder_of_their_own_and_val_held_out(tmp_path: Path) -> None:
    save(tmp_path / "all", *[[shape("crack", box(2, 2, 9, 9))]] * 10)
    (tmp_path / "labels").mkdir()
    for path in (tmp_path / "all").glob("*.json"):
        path.rename(tmp_path / "labels" / path.name)
    data = LabelMeData(str(tmp_path), images="all", annotations="labels", hold_out=True)
    assert [len(data.read(split)) for split in ("train", "val")] == [9, 1]


def test_images_that_nobody_has_labelled_are_left_out_and_said(tmp_path: Path) -> None:
    save(tmp_path / "train", *[[shape("crack", box(2, 2, 9, 9))]] * 4)
    for number in (1, 3):
        (tmp_path / "train" / f"{number:02}.json").unlink()
    with pytest.warns(match=r"\S+01.png has no labels in \S+train, and is left out, and 1 others"):
        assert len(LabelMe(tmp_path, classes=["crack"])) == 2
    (tmp_path / "train" / "00.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"\S+00.json has no image in \S+train: add it or remove the labels"):
        LabelMe(tmp_path, classes=["crack"])


def test_no_folder_names_what_may_be_given(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder \S+train: .* as --data.annotations; or name the classes, "):
        LabelMeData(str(tmp_path))
    save(tmp_path / "train", [shape("crack", box(2, 2, 9, 9))])
    with pytest.raises(FileNotFoundError, match=r"no folder \S+val: .*; without a val split, --data.hold_out true"):
        LabelMeData(str(tmp_path)).setup("fit")


@pytest.mark.parametrize(
    ("shapes", "more", "message"),
    [
        (
            [shape("crack", [[1, 1], [5, 5]], "line")],
            {},
            r"annotation 1 of \S+00.json, on 00, is a line of crack, no outline: draw or export outlines",
        ),
        (
            [shape("crack", [[1, 1]], "circle")],
            {},
            r"shape 1 of \S+00.json, a circle, cannot be read .*: open and",
        ),
        ([shape("crack", [[1], [2], [3]])], {}, r"shape 1 of \S+00.json, a polygon, cannot be read"),
        ([shape("crack", [], "rectangle")], {}, "a rectangle, cannot be read"),
        ([shape("crack", [[0, 0], [3, 3]], "mask")], {}, r"a mask, cannot be read \(KeyError\('mask'\)\)"),
        ([shape("crack", [[0, 0], [3, 3]], "mask", mask="AAAA")], {}, "a mask, cannot be read"),
        (
            [shape("crack", [[-1, 0], [3, 3]], "mask", mask=png(np.ones((4, 5), bool)))],
            {},
            "it goes beyond the picture",
        ),
        (
            [shape("crack", [[45, 0], [49, 3]], "mask", mask=png(np.ones((4, 5), bool)))],
            {},
            "it goes beyond the pict",
        ),
        ([{"points": box(1, 1, 5, 5)}], {}, r"shape 1 of \S+00.json has no label: give it one"),
        ([shape(None, box(1, 1, 5, 5))], {}, r"shape 1 of \S+00.json has no label: give it one"),
        ([shape("", box(1, 1, 5, 5))], {}, r"shape 1 of \S+00.json has no label: give it one"),
        (["crack"], {}, r"shape 1 of \S+00.json has no label"),
        ([], {"imageHeight": None}, "00.json lacks one of imageHeight, imageWidth, shapes, which LabelMe's files have"),
        ([], {"imageWidth": 0}, "00.json lacks one of"),
        ([], {"shapes": None}, "00.json lacks one of"),
        ([], {"imageHeight": HEIGHT + 1}, r"00.png is 48x36 but its annotation \S+00.json is 48x37"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(
    tmp_path: Path, shapes: list[Any], more: dict[str, Any], message: str
) -> None:
    save(tmp_path / "train", shapes, **more)
    with pytest.raises(ValueError, match=message):
        first(tmp_path, classes=["crack"], background="crack")


@pytest.mark.parametrize("text", ["{", "[]", "3", "\xe4"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    save(tmp_path / "train", [])
    (tmp_path / "train" / "00.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"\S+00.json (cannot be read as JSON|lacks one of)"):
        LabelMeData(str(tmp_path))


def test_dla_fit_trains_on_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "val"):
        save(tmp_path / split, *[[shape("crack", box(2, 2, 30, 30))]] * 2)
    assert fit(tmp_path, "--data=LabelMeData") == 0
    assert "\n2 classes: background, crack\n" in capsys.readouterr().out
