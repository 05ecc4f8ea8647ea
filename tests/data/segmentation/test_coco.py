"""Labels in COCO's form: outlines are filled as they were drawn, and what is wrong with a file is named."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import random_image, save_image
from outline_files import HEIGHT, WIDTH, box, fit, save_outlines
from PIL import Image
from pycocotools.mask import encode

from dla.cli import main
from dla.data import CamVid, Coco, CocoData

ONE = {"images": "images", "annotations": "labels.json", "hold_out": True}
SPLITS = {"images": "images", "annotations": "{split}.json"}


def drawn(category: int, *outline: Any, **more: Any) -> dict[str, Any]:
    return {"category_id": category, "segmentation": list(outline), **more}


def save(root: Path, *images: list[dict[str, Any]], split: str = "train", **options: Any) -> dict[str, Any]:
    """A split of such images."""
    named = [(f"{number:02}.png", annotations) for number, annotations in enumerate(images)]
    return save_outlines(root / f"{split}.json", named, folder=root / "images", **options)


def first(root: Path, **options: Any) -> np.ndarray:
    """The mask of the first image of train."""
    return np.asarray(CocoData(str(root), **(SPLITS | options)).read("train")[0].mask)


def filled(index: int, left: int, top: int, right: int, bottom: int, on: np.ndarray | int = 0) -> np.ndarray:
    """A rectangle of a class on what is there."""
    mask = np.full((HEIGHT, WIDTH), on) if isinstance(on, int) else on.copy()
    mask[top:bottom, left:right] = index
    return mask


def depth(corners: np.ndarray) -> np.ndarray:
    """How far the centre of each pixel lies within a triangle, in pixels; below 0 outside."""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    far = []
    for (ax, ay), (bx, by), (cx, cy) in zip(corners, np.roll(corners, 1, 0), np.roll(corners, 2, 0), strict=True):
        normal = np.array([by - ay, ax - bx]) / np.hypot(by - ay, ax - bx)
        inside = np.sign(normal @ [cx - ax, cy - ay])
        far.append(inside * (normal[0] * (x - ax) + normal[1] * (y - ay)))
    return np.min(far, 0)


def test_an_outline_is_filled_with_its_class(tmp_path: Path) -> None:
    save(tmp_path, [drawn(2, box(3, 4, 20, 9))])
    assert np.array_equal(first(tmp_path), filled(2, 3, 4, 20, 9))


def test_triangles_of_any_form_are_filled_to_their_sides(tmp_path: Path) -> None:
    triangles = np.random.default_rng(0).uniform(0, [WIDTH, HEIGHT], (12, 3, 2))
    alone, both = ([drawn(1, *(t.ravel().tolist() for t in of))] for of in (triangles[:1], triangles[1:3]))
    save(tmp_path, alone, both, *([drawn(1, t.ravel().tolist())] for t in triangles[3:]))
    expected = [depth(triangles[0]), np.maximum(*map(depth, triangles[1:3])), *map(depth, triangles[3:])]
    dataset = Coco(tmp_path, "train", **SPLITS, classes=["crack"], leave_out=True)
    for number, deep in enumerate(expected):
        mask = np.asarray(dataset[number].mask)
        assert (deep > 1).any()
        assert mask[deep > 1].all()
        assert not mask[deep < -1].any()


def column_runs(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of zeros and ones by turns, column after column, zeros first."""
    flat = np.concatenate([[0], mask.T.ravel()])
    ends = [*np.flatnonzero(np.diff(flat)), mask.size]
    return np.diff([0, *ends]).tolist()


@pytest.mark.parametrize("compressed", [False, True])
def test_run_length_codes_of_any_mask(tmp_path: Path, compressed: bool) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH), dtype=np.uint8)
    counts = encode(np.asfortranarray(mask))["counts"].decode() if compressed else column_runs(mask)
    save(tmp_path, [{"category_id": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": counts}}])
    assert np.array_equal(first(tmp_path), mask)


@pytest.mark.parametrize("turned", [False, True])
def test_small_things_lie_on_large_ones(tmp_path: Path, turned: bool) -> None:
    shapes = [drawn(1, box(2, 2, 30, 30)), drawn(2, box(10, 10, 20, 20)), drawn(1, box(12, 12, 14, 14))]
    save(tmp_path, shapes[::-1] if turned else shapes)
    expected = filled(1, 12, 12, 14, 14, on=filled(2, 10, 10, 20, 20, on=filled(1, 2, 2, 30, 30)))
    assert np.array_equal(first(tmp_path), expected)


def test_what_cvat_painted_with_its_brush_is_marked_as_a_crowd_and_counts(tmp_path: Path) -> None:
    painted = filled(1, 10, 10, 20, 20)
    code = {"size": [HEIGHT, WIDTH], "counts": column_runs(painted)}
    stain = {"category_id": 2, "segmentation": code, "iscrowd": 1}
    save(tmp_path, [drawn(1, box(2, 2, 30, 30)), stain, drawn(1, box(12, 12, 14, 14))])
    assert np.array_equal(
        first(tmp_path), filled(1, 12, 12, 14, 14, on=filled(2, 10, 10, 20, 20, on=filled(1, 2, 2, 30, 30)))
    )


def test_the_background_has_the_first_index_or_that_of_its_category_or_is_void(tmp_path: Path) -> None:
    shapes = [drawn(2, box(2, 2, 30, 30))]
    save(tmp_path, shapes)
    data = CocoData(str(tmp_path), **SPLITS)
    assert (data.classes, data.colors[0]) == (("background", "crack", "stain"), (0, 0, 0))
    assert len(set(data.colors)) == 3
    data = CocoData(str(tmp_path), **SPLITS, background=None)
    assert (data.classes, (0, 0, 0) in data.colors) == (("crack", "stain"), False)
    assert np.array_equal(first(tmp_path, background=None), filled(1, 2, 2, 30, 30, on=255))
    assert np.array_equal(first(tmp_path, background="stain"), np.full((HEIGHT, WIDTH), 1))
    assert np.array_equal(first(tmp_path, background="crack"), filled(1, 2, 2, 30, 30))


def test_classes_that_are_named_count_alone(tmp_path: Path) -> None:
    save(tmp_path, [drawn(1, box(12, 12, 14, 14)), drawn(2, box(10, 10, 20, 20)), drawn(1, box(0, 0, 9, 9), iscrowd=1)])
    assert CocoData(str(tmp_path), **SPLITS, classes=["stain"]).classes == ("background", "stain")
    assert np.array_equal(first(tmp_path, classes=["stain"]), filled(1, 10, 10, 20, 20))  # uncut by the crack
    assert first(tmp_path, classes=["stain", "background"]).max() == 1
    with pytest.raises(ValueError, match=r"train.json has no category Stain, only crack, stain: write it as there"):
        first(tmp_path, classes=["Stain"])
    save(tmp_path, [drawn(1, box(2, 2, 30, 30))], split="val", categories=["crack"])
    assert len(CocoData(str(tmp_path), **SPLITS, classes=["crack", "stain"]).read("val")) == 1
    with pytest.raises(ValueError, match="classes names stain more than once"):
        CocoData(str(tmp_path), **SPLITS, classes=["stain", "stain"])


def test_categories_stand_in_the_order_of_their_numbers_without_those_that_group_others(tmp_path: Path) -> None:
    content = save(tmp_path, [drawn(7, box(2, 2, 30, 30))])
    content["categories"] = [
        {"id": 9, "name": "stain", "supercategory": "damage"},
        {"id": 0, "name": "damage", "supercategory": "none"},
        {"id": 7, "name": "crack", "supercategory": "crack"},
    ]
    (tmp_path / "train.json").write_text(json.dumps(content))
    assert CocoData(str(tmp_path), **SPLITS).classes == ("background", "crack", "stain")
    content["annotations"].append(content["annotations"][0] | {"category_id": 0})
    (tmp_path / "train.json").write_text(json.dumps(content))
    assert CocoData(str(tmp_path), **SPLITS).classes == ("background", "damage", "crack", "stain")


def test_two_categories_of_one_name_are_one_class(tmp_path: Path) -> None:
    save(tmp_path, [drawn(1, box(2, 2, 9, 9)), drawn(3, box(12, 12, 30, 30))], categories=["crack", "stain", "crack"])
    assert CocoData(str(tmp_path), **SPLITS).classes == ("background", "crack", "stain")
    assert np.array_equal(first(tmp_path), filled(1, 12, 12, 30, 30, on=filled(1, 2, 2, 9, 9)))


def test_a_category_whose_name_is_a_number(tmp_path: Path) -> None:
    content = save(tmp_path, [drawn(2, box(2, 2, 30, 30))])
    content["categories"][1]["name"] = 7
    (tmp_path / "train.json").write_text(json.dumps(content))
    assert CocoData(str(tmp_path), **SPLITS).classes == ("background", "crack", "7")
    assert np.array_equal(first(tmp_path), filled(2, 2, 2, 30, 30))


def test_a_category_that_groups_itself_alone_is_a_class_where_train_has_none_of_it(tmp_path: Path) -> None:
    content = save(tmp_path, [drawn(2, box(2, 2, 30, 30))])
    content["categories"] = [category | {"supercategory": category["name"]} for category in content["categories"]]
    (tmp_path / "train.json").write_text(json.dumps(content))
    assert CocoData(str(tmp_path), **SPLITS).classes == ("background", "crack", "stain")


def test_another_split_has_no_category_that_train_does_not_name(tmp_path: Path) -> None:
    save(tmp_path, [drawn(1, box(2, 2, 30, 30))])
    save(
        tmp_path,
        [drawn(1, box(2, 2, 30, 30))],
        [drawn(3, box(2, 2, 9, 9))],
        split="val",
        categories=["crack", "", "rust"],
    )
    with pytest.raises(
        ValueError, match=r"val.json has rust on 01.png, which is none of the classes background, crack, "
    ):
        CocoData(str(tmp_path), **SPLITS).setup("fit")
    named = CocoData(str(tmp_path), **SPLITS, classes=["crack"])
    named.setup("fit")
    assert not np.asarray(named.sets["val"][1].mask).any()


def test_every_tenth_of_one_file_validates(tmp_path: Path) -> None:
    images = [[drawn(1, box(0, 0, number + 1, 1))] for number in range(23)]
    content = save(tmp_path, *images)
    content["images"].reverse()  # the order is that of the names
    (tmp_path / "labels.json").write_text(json.dumps(content))
    data = CocoData(str(tmp_path), **ONE)
    data.setup("fit")
    widths = {
        split: [int(sample.mask.sum()) for sample in map(held.__getitem__, range(len(held)))]
        for split, held in data.sets.items()
    }
    assert widths == {"train": [n for n in range(1, 24) if n % 10], "val": [10, 20]}
    with pytest.raises(ValueError, match=r"annotations is labels.json, the same for all splits: put \{split\} into it"):
        data.setup("test")


def test_val_is_held_out_of_train_where_each_split_has_a_place(tmp_path: Path) -> None:
    save(tmp_path, *[[drawn(1, box(0, 0, number + 1, 1))] for number in range(10)])
    held = CocoData(str(tmp_path), **SPLITS, hold_out=True).read("val")
    assert [int(sample.mask.sum()) for sample in map(held.__getitem__, range(len(held)))] == [10]


def test_an_image_on_which_nothing_is_drawn_is_background(tmp_path: Path) -> None:
    save(tmp_path, [], [drawn(1, box(2, 2, 30, 30))])
    assert not first(tmp_path).any()


def test_paths_of_windows_and_a_byte_order_mark(tmp_path: Path) -> None:
    content = save(tmp_path, [drawn(1, box(2, 2, 30, 30))])
    save_image(tmp_path / "images" / "wet" / "ä.png", random_image(0, HEIGHT, WIDTH))
    content["images"][0]["file_name"] = "wet\\ä.png"
    (tmp_path / "train.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8-sig")
    assert np.array_equal(first(tmp_path), filled(1, 2, 2, 30, 30))


@pytest.mark.parametrize(("written", "named"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_from_macos_whose_umlauts_are_two_characters(tmp_path: Path, written: str, named: str) -> None:
    content = save(tmp_path, [drawn(1, box(2, 2, 30, 30))])
    save_image(tmp_path / "images" / unicodedata.normalize(written, "ä.png"), random_image(0, HEIGHT, WIDTH))
    content["images"][0]["file_name"] = unicodedata.normalize(named, "ä.png")
    (tmp_path / "train.json").write_text(json.dumps(content))
    assert np.array_equal(first(tmp_path), filled(1, 2, 2, 30, 30))


def test_paths_of_another_machine_where_names_differ(tmp_path: Path) -> None:
    content = save(tmp_path, [drawn(1, box(2, 2, 30, 30))], [drawn(2, box(2, 2, 30, 30))])
    for image in content["images"]:
        image["file_name"] = "..\\media\\" + image["file_name"]
    (tmp_path / "train.json").write_text(json.dumps(content))
    shown = Coco(tmp_path, **SPLITS, classes=["crack", "stain"]).drawn
    assert [of.image.name for of in shown] == ["00.png", "01.png"]
    assert first(tmp_path).max() == 1
    content["images"][1]["file_name"] = "00.png"
    (tmp_path / "train.json").write_text(json.dumps(content))
    with pytest.raises(
        FileNotFoundError, match=r"no file \S+media/00.png, which \S+train.json names; 1 of 2 are missing"
    ):
        first(tmp_path)


@pytest.mark.data
def test_camvid_as_run_length_codes_is_camvid(real_camvid: Path, tmp_path: Path) -> None:
    plain = CamVid(real_camvid, "val")
    content: dict[str, list[Any]] = {"images": [], "annotations": []}
    content["categories"] = [{"id": index, "name": name} for index, name in enumerate(plain.classes)]
    for number in range(0, len(plain), 20):
        mask = plain[number].mask.numpy()
        size = dict(zip(("height", "width"), mask.shape, strict=True))
        content["images"].append({"id": number, "file_name": plain.files[number][0].name, **size})
        for index in set(np.unique(mask)) - {255}:
            code = encode(np.asfortranarray(mask == index))
            own = {"id": len(content["annotations"]), "image_id": number, "category_id": int(index)}
            outline = {"size": code["size"], "counts": code["counts"].decode()}
            content["annotations"].append(own | {"segmentation": outline})
    (tmp_path / "val.json").write_text(json.dumps(content))
    place = {"images": str(real_camvid / "val"), "annotations": "{split}.json"}
    dataset = Coco(tmp_path, "val", classes=plain.classes, background=None, **place)
    assert len(dataset) == 6
    for index, number in enumerate(range(0, len(plain), 20)):
        assert all(map(torch.equal, dataset[index], plain[number]))


AGAIN = ": export the labels again"
Change = Callable[[dict[str, Any]], Any]
WRONG: list[tuple[Change, str]] = [
    (lambda c: c.pop("annotations"), "train.json has no list of annotations, as files in COCO's form have" + AGAIN),
    (lambda c: c.update(images={}), r"train.json has no list of images"),
    (lambda c: c["images"][1].update(height=None), "train.json: 1 of its images has no height" + AGAIN),
    (lambda c: c["images"][1].pop("id"), r"train.json: number 1 of its images has no id"),
    (lambda c: c["categories"].append("crack"), r"train.json: number 2 of its categories has no id"),
    (lambda c: c["images"].clear(), "train.json has no images" + AGAIN),
    (
        lambda c: c["images"][1].update(height=36.0),
        "has 01.png with the width 48 and the height 36.0: expected numbers",
    ),
    (lambda c: c["images"][1].update(width="48"), "has 01.png with the width '48' and the height 36: expected numbers"),
    (lambda c: c["images"][1].update(width=0), "has 01.png with the width 0 and the height 36: expected numbers"),
    (lambda c: c["images"][1].update(id=0), r"train.json has two images of id 0: expected each picture once"),
    (lambda c: c["images"][1].update(file_name="00.png"), r"has two images of file_name 00.png"),
    (
        lambda c: c["categories"].append({"id": 1, "name": "rust"}),
        "has two categories of id 1: expected an id of its own",
    ),
    (
        lambda c: c["annotations"][0].update(image_id="1"),
        r"annotation 0 of \S+train.json is of image_id '1', which the file",
    ),
    (lambda c: c["annotations"][0].update(category_id=8), r"annotation 0 of \S+train.json is of category_id 8, which"),
    (
        lambda c: shape(c, []),
        r"annotation 1 of \S+train.json, on 01.png, is a box of stain, no outline: draw or export outlines",
    ),
    (lambda c: c["annotations"][1].pop("segmentation"), "1 of its annotations has no segmentation" + AGAIN),
    (
        lambda c: shape(c, [[1, 1, 5, 5, 4]]),
        r"annotation 1 of \S+train.json, on 01.png, has a polygon that is not x, y, x, y",
    ),
    (lambda c: shape(c, [[1, 1, 5, 5, 4, 3], []]), "has a polygon that is not x, y, x, y, ...: draw it anew or remove"),
    (lambda c: shape(c, [1, 1, 5, 5, 4, 3]), "has a polygon that is not x, y"),
    (lambda c: c["images"][1].update(file_name="no.png"), r"no file \S+no.png, which \S+train.json names; 1 of 2 are"),
]


def shape(content: dict[str, Any], outline: Any) -> None:
    content["annotations"][1]["segmentation"] = outline


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, change: Change, message: str) -> None:
    content = save(tmp_path, [drawn(1, box(2, 2, 30, 30))], [drawn(2, box(2, 2, 30, 30))])
    change(content)
    (tmp_path / "train.json").write_text(json.dumps(content))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        CocoData(str(tmp_path), **SPLITS).read("train")


def test_polygons_of_one_or_two_points_are_passed_over_and_said(tmp_path: Path) -> None:
    slips = [drawn(2, [5, 5, 30, 30]), drawn(2, [5, 5], box(3, 4, 20, 9)), drawn(1, [5, 5])]
    save(tmp_path, [*slips, drawn(1, box(40, 2, 44, 8))])
    with pytest.warns(match=r"passed over: annotation 0 of \S+train.json, on 00.png, and 2 others"):
        mask = first(tmp_path)
    assert np.array_equal(mask, filled(1, 40, 2, 44, 8, on=filled(2, 3, 4, 20, 9)))


def test_boxes_of_what_is_no_class_are_passed_over_and_others_counted(tmp_path: Path) -> None:
    boxes = [{"category_id": 2, "segmentation": []}] * 3
    save(tmp_path, [drawn(1, box(2, 2, 9, 9)), *boxes])
    assert np.array_equal(first(tmp_path, classes=["crack"]), filled(1, 2, 2, 9, 9))
    with pytest.raises(ValueError, match=r"is a box of stain, no outline, and 2 others: draw or export outlines"):
        first(tmp_path)


CODE = {"size": [HEIGHT, WIDTH], "counts": [3, HEIGHT * WIDTH]}


@pytest.mark.parametrize(
    ("outline", "message"),
    [
        ([[1, 1, "x", 5, 4, 3]], "could not convert string to float"),
        ([[1, 1, None, 5, 4, 3]], "a coordinate is no number"),
        ([[1, 1, float("nan"), 5, 4, 3]], "a coordinate is no number"),
        ([[1, 1, 1e12, 5, 4, 3]], "a coordinate is no number"),
        (CODE, f"its runs have {HEIGHT * WIDTH + 3} pixels, the picture {HEIGHT * WIDTH}"),
        (CODE | {"counts": []}, "its runs have 0 pixels"),
        (CODE | {"counts": [3, 4]}, "its runs have 7 pixels"),
        (CODE | {"counts": 99 * "z"}, "Invalid RLE"),
        (CODE | {"size": [WIDTH, HEIGHT]}, r"it is for a picture of \[48, 36\], height and width, not of \[36, 48\]"),
        ({"counts": [1]}, "'size'"),
    ],
)
def test_an_outline_that_cannot_be_filled_is_named(tmp_path: Path, outline: Any, message: str) -> None:
    save(tmp_path, [drawn(1, box(2, 2, 30, 30)), {"category_id": 1, "segmentation": outline}])
    with pytest.raises(
        ValueError, match=rf"annotation 1, on 00.png, cannot be filled \({message}.*export the labels again"
    ):
        first(tmp_path)


def test_no_file_no_json_and_another_size(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file \S+train.json: name the file of the labels within root"):
        first(tmp_path, classes=["crack"])
    with pytest.raises(
        FileNotFoundError,
        match=r"no file \S+train.json: .* as --data.annotations; or name the classes, as --data.classes",
    ):
        CocoData(str(tmp_path), **SPLITS)
    (tmp_path / "train.json").write_text("{")
    with pytest.raises(ValueError, match=r"train.json cannot be read as JSON \(.*\): export the labels again, as COCO"):
        CocoData(str(tmp_path), **SPLITS)
    save(tmp_path, [drawn(1, box(2, 2, 30, 30))])
    Image.new("RGB", (WIDTH, HEIGHT + 1)).save(tmp_path / "images" / "00.png")
    with pytest.raises(FileNotFoundError, match=r"no file \S+val.json: .*; without a val split, --data.hold_out true"):
        CocoData(str(tmp_path), **SPLITS).setup("fit")
    with pytest.raises(ValueError, match=r"00.png is 48x37 but its annotation \S+train.json is 48x36"):
        first(tmp_path)


def test_more_classes_than_8_bits_hold(tmp_path: Path) -> None:
    save(tmp_path, [drawn(1, box(2, 2, 30, 30))], categories=[str(number) for number in range(255)])
    with pytest.raises(ValueError, match="256 classes; expected at most 255: name those that count"):
        CocoData(str(tmp_path), **SPLITS)
    assert first(tmp_path, background=None).min() == 0


def test_dla_fit_trains_on_outlines_and_dla_predict_finds_the_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, *[[drawn(number % 2 + 1, box(2, 2, 30, 30))] for number in range(10)])
    (tmp_path / "train.json").rename(tmp_path / "labels.json")
    assert fit(tmp_path, "--data=CocoData", *(f"--data.{key}={value}" for key, value in ONE.items())) == 0
    assert "\n3 classes: background, crack, stain\n" in capsys.readouterr().out
    best = str(tmp_path / "run" / "checkpoints" / "best.ckpt")
    assert (
        main(["predict", str(tmp_path / "images" / "00.png"), "--model", best, "--output", str(tmp_path / "out")]) == 0
    )
    with Image.open(tmp_path / "out" / "00.png") as mask:
        assert set(np.unique(mask)) <= {0, 1, 2}
