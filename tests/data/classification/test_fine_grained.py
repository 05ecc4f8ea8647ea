"""Fine-grained sets, each on a small tree in exactly its publisher's layout, and on that tree broken in each way."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fine_grained_sets import annotations, make_aircraft, make_cars, make_cub, make_food, picture
from PIL import Image
from scipy.io import savemat

from dla.data import AircraftData, CUBData, Food101Data, StanfordCarsData
from dla.data.classification.cub import read_cub

SMALL = {"crop": 24, "batch_size": 4, "val_batch_size": 3, "workers": 0}
KINDS = ("cub", "cars", "aircraft", "food")
MAKERS = {
    "cub": (make_cub, CUBData),
    "cars": (make_cars, StanfordCarsData),
    "aircraft": (make_aircraft, AircraftData),
    "food": (make_food, Food101Data),
}


@pytest.fixture
def make(tmp_path):
    """Makes the tree of a set, and then its data module."""

    def module(kind: str, **changes):
        maker, data = MAKERS[kind]
        if not any(tmp_path.iterdir()):
            maker(tmp_path)
        return data(str(tmp_path), **{**SMALL, **changes})

    return module


def count(module, split: str) -> list[int]:
    """Images of each class in a split."""
    labels = torch.tensor([int(module.sets[split][i].label) for i in range(len(module.sets[split]))])
    return labels.bincount(minlength=module.num_classes).tolist()


def read(module) -> dict[str, list[int]]:
    for stage in ("fit", "test"):
        module.setup(stage)
    return {split: count(module, split) for split in ("train", "val", "test")}


@pytest.mark.parametrize("kind", KINDS)
def test_splits(make, kind):
    expected = {"train": [19, 19], "val": [2, 2], "test": [2, 2]}
    if kind == "aircraft":
        expected = {"train": [4, 4, 4], "val": [2, 2, 2], "test": [2, 2, 2]}
    assert read(make(kind)) == expected


def test_the_banner_below_an_aircraft_is_neither_trained_on_nor_measured(make, tmp_path):
    module = make("aircraft")
    for path in tmp_path.rglob("*.jpg"):
        pixels = np.zeros((60, 50, 3), dtype=np.uint8)
        pixels[-20:] = 255
        Image.fromarray(pixels).save(path, quality=100)
    for split in ("train", "val", "test"):
        image = module.read(split)[0].image
        assert image.shape == (3, 40, 50)
        assert image.max() < 10


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_train_is_trained_on_where_nothing_is_held_out(make, kind):
    expected = {"train": [21, 21], "val": [2, 2], "test": [2, 2]}
    if kind == "aircraft":
        expected = {"train": [6, 6, 6], "val": [2, 2, 2], "test": [2, 2, 2]}
    module = make(kind, hold_out=False)
    assert read(module) == expected
    assert module.sets["val"].files == module.sets["test"].files


@pytest.mark.parametrize("kind", ["cub", "cars", "food"])
def test_every_tenth_of_a_class_validates_and_is_not_trained_on(make, kind):
    module = make(kind)
    module.setup("fit")
    train, val = (module.sets[split] for split in ("train", "val"))
    assert train.dataset.files == val.dataset.files
    assert sorted([*train.indices, *val.indices]) == list(range(42))
    by_class = {k: [i for i, (_, label) in enumerate(val.dataset.files) if label == k] for k in (0, 1)}
    assert sorted(val.indices) == sorted(by_class[0][9::10] + by_class[1][9::10])


@pytest.mark.parametrize("kind", KINDS)
def test_images_have_the_class_that_is_listed(make, kind):
    classes = {
        "cub": ("001.Auk", "002.Bunting"),
        "cars": ("AM General Hummer SUV 2000", "Acura RL Sedan 2012"),
        "aircraft": ("707-320", "Boeing 717", "A300B4"),
        "food": ("apple_pie", "baklava"),
    }[kind]
    module = make(kind, hold_out=False)
    module.setup("test")
    assert module.classes == classes
    path, label = module.sets["test"].files[1]
    expected = {
        "cub": ("Auk_0022.jpg", 0),
        "cars": ("00002.jpg", 0),
        "aircraft": ("1000019.jpg", 1),
        "food": ("22.jpg", 0),
    }
    assert (Path(path).name, label) == expected[kind]
    image, _ = module.sets["test"][1]
    assert tuple(image.shape) == (3, 9 if kind == "aircraft" else 29, 37)  # the banner is cut off


@pytest.mark.parametrize("kind", KINDS)
def test_batches(make, kind):
    module = make(kind)
    module.setup("fit")
    for loader, size in ((module.train_dataloader(), 4), (module.val_dataloader(), 3)):
        batch = module.on_after_batch_transfer(next(iter(loader)), 0)
        assert set(batch) == {"image", "label", "index", "epoch"}
        assert batch["image"].shape == (size, 3, 24, 24)
    assert {int(k) for batch in module.val_dataloader() for k in batch["label"]} == set(range(module.num_classes))


@pytest.mark.parametrize("kind", KINDS)
def test_sides_of_the_usual_protocol(make, kind):
    make(kind)  # the tree
    module = MAKERS[kind][1](make(kind).root)
    assert (module.crop, module.resize) == (448, 512)


def test_aircraft_of_families_and_manufacturers(make):
    families, makers = make("aircraft", level="family"), make("aircraft", level="manufacturer")
    assert (families.classes, makers.classes) == (("Boeing 707", "Boeing 717", "A300"), ("Boeing", "Airbus"))
    assert read(makers) == {"train": [8, 4], "val": [4, 2], "test": [4, 2]}


def test_boxes_cut_the_bird_out(make):
    module = make("cub", boxes=True)
    module.setup("fit")
    assert tuple(module.sets["train"][0].image.shape) == (3, 9, 11)
    path = Path(module.root) / "CUB_200_2011" / "images" / "001.Auk" / "Auk_0000.png"
    picture(path, 1)
    pixels = np.arange(29 * 37 * 3, dtype=np.uint32).reshape(29, 37, 3).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    change(Path(module.root) / "CUB_200_2011" / "images.txt", "1 001.Auk/Auk_0000.jpg", "1 001.Auk/Auk_0000.png")
    change(Path(module.root) / "CUB_200_2011" / "bounding_boxes.txt", "1 4.0 6.0 11.0 9.0", "1 -1.0 20.5 12.2 90.0")
    image, label = read_cub(module.root, "train", boxes=True)[0]
    assert label == 0
    assert torch.equal(image.data, torch.from_numpy(pixels[20:, :12]).permute(2, 0, 1))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        (
            "images.txt",
            "5 001.Auk/Auk_0004.jpg",
            "five",
            r"line 5 of .*images.txt is malformed: 'five'; expected NUMBER",
        ),
        ("images.txt", "5 001.Auk", "4 001.Auk", r"line 5 of .*images.txt has a number again"),
        ("images.txt", "Auk_0004", "Auk_4444", r"no image .*Auk_4444.jpg, which .*/images.txt names"),
        ("image_class_labels.txt", "46 2", "46 x", r"line 46 of .*image_class_labels.txt is malformed"),
        ("image_class_labels.txt", "7 1", "7 3", r"image_class_labels.txt gives image 7 class 3; expected 1 to 2"),
        ("image_class_labels.txt", "7 1", "7 0", r"image_class_labels.txt gives image 7 class 0; expected 1 to 2"),
        ("image_class_labels.txt", "7 1\n", "", r"image_class_labels.txt has no line for image 7"),
        ("train_test_split.txt", "7 1\n", "", r"train_test_split.txt has no line for image 7"),
        ("train_test_split.txt", "7 1", "7 2", r"line 7 of .*train_test_split.txt is malformed"),
        ("bounding_boxes.txt", "7 4.0 6.0", "7 4.0", r"line 7 of .*bounding_boxes.txt is malformed"),
        ("bounding_boxes.txt", "7 4.0 6.0", "7 4.0 1..2", r"line 7 of .*bounding_boxes.txt is malformed: '7 4.0 1..2"),
        ("classes.txt", "2 002", "3 002", r"classes.txt does not number the classes 1, 2, 3"),
        ("classes.txt", "2 002.Bunting", "2", r"line 2 of .*classes.txt is malformed"),
        ("classes.txt", "2 002.Bunting", "", r"image_class_labels.txt gives image 24 class 2; expected 1 to 1"),
    ],
)
def test_cub_names_the_line_at_fault(make, tmp_path, file, old, new, fault):
    make("cub")
    change(tmp_path / "CUB_200_2011" / file, old, new)
    with pytest.raises((ValueError, FileNotFoundError), match=fault):
        make("cub", boxes=True).setup("fit")


def test_cub_names_may_have_spaces_and_files_blank_lines(make, tmp_path):
    make("cub")
    change(tmp_path / "CUB_200_2011" / "classes.txt", "2 002.Bunting", "2 002.Indigo Bunting\r\n\r\n")
    data = make("cub", boxes=True)
    data.setup("fit")
    assert data.classes[1].endswith("Indigo Bunting")


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        pytest.param(
            "train_test_split.txt",
            b"".join(b"%d 0\n" % number for number in range(1, 47)),
            "has no image of train; expected lines NUMBER 1",
            id="nobody in train",
        ),
        ("images.txt", b"", "is empty"),
        *((f"{name}.txt", b"", "is empty") for name in ("classes", "image_class_labels", "train_test_split")),
        ("images.txt", b"1 001.Auk/Auk_0000\xe9.jpg\n", r"cannot be read as text \(.*expected UTF-8"),
        ("classes.txt", b"1 001.Auk\n2 002.B\xfcnting\n", r"cannot be read as text \(.*expected UTF-8"),
    ],
)
def test_cub_names_the_file_at_fault(make, tmp_path, file, content, fault):
    make("cub")
    (tmp_path / "CUB_200_2011" / file).write_bytes(content)
    with pytest.raises(ValueError, match=rf"/{file} {fault}"):
        make("cub").setup("fit")


def test_a_box_beside_its_image_is_named(make, tmp_path):
    make("cub")
    change(tmp_path / "CUB_200_2011" / "bounding_boxes.txt", "1 4.0 6.0", "1 40.0 6.0")
    module = make("cub", boxes=True)
    module.setup("fit")
    with pytest.raises(ValueError, match=r"Auk_0000.jpg is 37x29, but its box lies at 40.0, 6.0 and is 11.0x9.0"):
        module.sets["train"][0]


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        *(("cub", name) for name in ("images", "image_class_labels", "train_test_split", "classes")),
        *(("cars", name) for name in ("cars_train_annos", "cars_meta", "cars_test_annos_withlabels")),
        *(("aircraft", name) for name in ("variants", "images_variant_val", "images_variant_test")),
        *(("food", name) for name in ("train", "test", "classes")),
    ],
)
def test_a_missing_file_is_named(make, tmp_path, kind, file):
    make(kind)
    (path,) = tmp_path.rglob(f"{file}.*")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"no .*{path.name}"):
        read(make(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_image_is_named(make, tmp_path, kind):
    make(kind)
    path = sorted(tmp_path.rglob("*.jpg"))[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"no image .*{path.name}, which .* names"):
        read(make(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_another_folder_is_refused(kind, tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path.name}/"):
        MAKERS[kind][1](str(tmp_path))


def test_cars_with_a_class_that_there_is_not(make, tmp_path):
    make("cars")
    for label, said in ((3, 2), (0, -1)):
        annotations(tmp_path / "stanford_cars" / "devkit" / "cars_train_annos.mat", "train", [1, label, 2])
        with pytest.raises(
            ValueError, match=rf"cars_train_annos.mat gives .*00002.jpg class number ({said}|255), count"
        ):
            make("cars").setup("fit")


@pytest.mark.parametrize("table", [{"names": [1]}, {"class_names": 7}, {"class_names": [1, 2]}])
def test_cars_without_names_name_their_file(make, tmp_path, table):
    make("cars")
    savemat(tmp_path / "stanford_cars" / "devkit" / "cars_meta.mat", table)
    with pytest.raises(ValueError, match=r"^\S+/cars_meta.mat .*class_names"):
        make("cars").setup("fit")


@pytest.mark.parametrize(
    ("level", "file", "name"),
    [
        ("variant", "variants.txt", "Boeing 717"),
        ("family", "families.txt", "A300"),
        ("manufacturer", "manufacturers.txt", "Airbus"),
    ],
)
def test_aircraft_in_no_list_of_classes_are_named_with_both_files(make, tmp_path, level, file, name):
    make("aircraft")
    change(tmp_path / "fgvc-aircraft-2013b" / "data" / file, f"{name}\n", "")
    fault = rf"line \d of \S+/images_{level}_train.txt has the {level} {name}, which is missing from \S+/{file}"
    with pytest.raises(ValueError, match=fault):
        make("aircraft", level=level).setup("fit")


def test_an_unknown_level_is_named(make):
    with pytest.raises(ValueError, match="level is 'maker'; expected one of variant, family, manufacturer"):
        make("aircraft", level="maker")


def test_an_empty_line_in_a_list_of_classes_does_not_count(make, tmp_path):
    make("aircraft")
    change(tmp_path / "fgvc-aircraft-2013b" / "data" / "variants.txt", "707-320\n", "707-320\n\n")
    assert read(make("aircraft"))["test"] == [2, 2, 2]


def test_a_dish_in_no_list_of_classes_is_named_with_both_files(make, tmp_path):
    make("food")
    change(tmp_path / "food-101" / "meta" / "classes.txt", "baklava\n", "")
    with pytest.raises(ValueError, match=r"train.json has the dish baklava, which is missing from \S+/classes.txt"):
        make("food").setup("fit")


@pytest.mark.parametrize(
    ("kind", "file", "content"),
    [
        ("cars", "cars_meta.mat", "no matrix"),
        ("cars", "cars_train_annos.mat", "no matrix"),
        ("aircraft", "images_variant_train.txt", "1000000\n"),
        ("aircraft", "images_variant_train.txt", "1000000 Concorde\n"),
        ("aircraft", "images_variant_train.txt", ""),
        ("food", "train.json", "{"),
        ("food", "train.json", '{"apple_pie": ["apple_pie/1"], "baklava": 7}'),
        ("food", "train.json", '{"apple_pie": ["apple_pie/1"], "cake": ["cake/1"]}'),
    ],
)
def test_a_malformed_list_is_named(make, tmp_path, kind, file, content):
    make(kind)
    (path,) = tmp_path.rglob(file)
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"^(line 1 of )?\S+/{file} "):
        make(kind).setup("fit")


def test_a_broken_image_is_named(make, tmp_path):
    module = make("food")
    (tmp_path / "food-101" / "images" / "apple_pie" / "0.jpg").write_bytes(b"nothing")
    module.setup("fit")
    with pytest.raises(ValueError, match=r"apple_pie/0.jpg cannot be read as an image"):
        module.sets["train"][0]


def test_a_class_that_a_split_lacks_keeps_the_others_numbers(make, tmp_path):
    make("food")
    (tmp_path / "food-101" / "meta" / "test.json").write_text('{"baklava": ["baklava/21"]}')
    module = make("food")
    module.setup("test")
    assert [label for _, label in module.sets["test"].files] == [1]


def test_an_aircraft_that_is_all_banner_is_named(make, tmp_path):
    module = make("aircraft")
    for path in tmp_path.rglob("*.jpg"):
        Image.new("RGB", (50, 20)).save(path)
    with pytest.raises(ValueError, match=r".jpg is 20 pixels high; expected more than the 20 of the banner"):
        module.read("val")[0]


def test_an_empty_line_in_a_list_of_aircraft_does_not_count(make, tmp_path):
    make("aircraft")
    path = tmp_path / "fgvc-aircraft-2013b" / "data" / "images_variant_test.txt"
    path.write_text(path.read_text() + "\n")
    assert read(make("aircraft"))["test"] == [2, 2, 2]


def test_the_folder_of_the_birds_itself_is_one_too_deep(make, tmp_path):
    make("cub")
    with pytest.raises(FileNotFoundError, match=r"no folder .*; give the folder above"):
        CUBData(str(tmp_path / "CUB_200_2011"))
