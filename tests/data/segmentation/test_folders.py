"""Images and labels of one's own: any image format, any classes, any void, and errors that name the file."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_files import random_image, save_image
from PIL import Image
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION

from dla.data import FolderData, PairedFolders
from dla.data.segmentation.indices import Value, Void


@pytest.fixture
def own_root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for i, suffix in enumerate(("jpg", "png", "JPG", "webp")):
            save_image(tmp_path / split / f"{i}.{suffix}", random_image(i))
            save_image(tmp_path / f"{split}annot" / f"{i}.png", rng.choice(np.array([0, 1, 255], np.uint8), (30, 40)))
    (tmp_path / "train" / "notes.txt").write_text("not an image")
    return tmp_path


def test_every_image_format_and_nothing_else(own_root: Path) -> None:
    dataset = PairedFolders(own_root, classes=("wall", "crack"))
    assert len(dataset) == 4
    assert set(np.unique(dataset[0].mask)) == {0, 1, 255}
    assert len(set(dataset.colors)) == 2


def test_void_may_be_any_index(own_root: Path) -> None:
    dataset = PairedFolders(own_root, classes=("wall",), void=1)
    with pytest.raises(ValueError, match=r"trainannot/0.png holds label 255; expected 0 to 0 for the 1 classes, and 1"):
        dataset[0]


def test_the_data_module_takes_classes_and_the_settings_of_all(own_root: Path) -> None:
    data = FolderData(str(own_root), classes=["wall", "crack"], crop=16, batch_size=2, workers=0, augment="batch")
    data.setup("fit")
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert batch["image"].shape == (2, 3, 16, 16)
    assert data.num_classes == len(data.colors) == 2


def test_a_class_is_named_once(own_root: Path) -> None:
    with pytest.raises(ValueError, match="classes names crack more than once; expected a name of its own for each"):
        FolderData(str(own_root), classes=["crack", "wall", "crack"])


def test_masks_of_black_and_white(one_folder: Path) -> None:
    for path in (one_folder / "all").glob("*.png"):
        with Image.open(path) as image:
            image.point([0, 255] * 128).save(path)
    values = PairedFolders(one_folder, **ONE, values=[0, 255])
    assert [int(values[i].mask.unique()) for i in range(4)] == [0, 1, 0, 1]
    with pytest.raises(
        ValueError, match=r"01_mask.png holds label 255; expected 0, 7 for the 2 classes, and 9 for void"
    ):
        PairedFolders(one_folder, **ONE, values=[0, 7], void=9)[1]
    Image.new("L", (4, 4), 7).save(one_folder / "all" / "01_mask.png")
    with pytest.raises(ValueError, match="holds label 7; expected 0, 255 for the 2 classes: correct the annotation"):
        PairedFolders(one_folder, **ONE, values=[0, 255])[1]
    zero, void = (PairedFolders(one_folder, **ONE, values=[4, 0])[i] for i in (0, 3))
    assert (int(zero.mask.unique()), int(void.mask.unique())) == (1, 255)


COLORS = ((0, 0, 0), (200, 30, 30), (0, 255, 1), (1, 0, 255))


@pytest.fixture
def painted(one_folder: Path) -> dict[str, np.ndarray]:
    """The annotations of `one_folder` painted in four colours, as RGB, with a palette or transparent; their indices."""
    rng, indices = np.random.default_rng(0), {}
    for i, path in enumerate(sorted((one_folder / "all").glob("*.png"))):
        indices[path.name] = rng.integers(0, 4, (8, 16))
        image = Image.fromarray(np.array(COLORS, np.uint8)[indices[path.name]])
        if i % 3 == 1:
            image = image.convert("P", palette=Image.Palette.ADAPTIVE)
        if i % 3 == 2:
            image.putalpha(Image.fromarray(rng.integers(0, 256, (8, 16), dtype=np.uint8)))
        image.save(path)
    return indices


def test_annotations_painted_in_colors(one_folder: Path, painted: dict[str, np.ndarray]) -> None:
    dataset = PairedFolders(one_folder, **ONE | {"classes": "abcd"}, values=COLORS)
    assert dataset.colors == COLORS
    assert all(np.array_equal(dataset[i].mask, painted[path.name]) for i, (_, path) in enumerate(dataset.files))


@pytest.mark.parametrize(("void", "left"), [(COLORS[3], "(0, 255, 1)"), ("other", "")])
def test_a_color_that_is_no_class(one_folder: Path, painted: dict[str, np.ndarray], void: Void, left: str) -> None:
    dataset = PairedFolders(one_folder, **ONE, values=COLORS[:2], void=void)
    if left:
        expected = (
            r"the color \(0, 255, 1\); expected \(0, 0, 0\), \(200, 30, 30\) for the 2 classes, and \(1, 0, 255\)"
        )
        with pytest.raises(ValueError, match=expected):
            dataset[0]
    else:
        indices = painted[dataset.files[0][1].name]
        assert np.array_equal(dataset[0].mask, np.where(indices < 2, indices, 255))


def test_colors_have_no_void_of_themselves(one_folder: Path, painted: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"for the 2 classes: correct the annotation, name all classes, or make"):
        PairedFolders(one_folder, **ONE, values=COLORS[:2])[0]


def test_what_is_no_class_may_be_void_among_numbers_too(own_root: Path) -> None:
    mask = PairedFolders(own_root, classes=("crack",), values=[1], void="other")[0].mask
    assert mask.unique().tolist() == [0, 255]


@pytest.mark.parametrize(
    ("values", "void", "message"),
    [
        ([0], 255, r"values is \[0\]; expected another for each of the 2 classes"),
        ([3, 3], 255, r"values is \[3, 3\]; expected another for each of the 2 classes"),
        ([0, 256], 255, "values holds 256; expected what 8 bits hold, 0 to 255"),
        ([0, 1], 256, "void holds 256; expected what 8 bits hold, 0 to 255"),
        ([0, (1, 2, 3)], 255, r"values holds \(1, 2, 3\); expected what 8 bits hold"),
        ([(0, 0, 0), 1], 255, "values holds 1; expected red, green and blue, each 0 to 255"),
        ([(0, 0, 0), (0, 0, 256)], 255, r"values holds \(0, 0, 256\); expected red, green and blue"),
        ([(0, 0, 0), (0, 0, 1)], 7, "void holds 7; expected red, green and blue, each 0 to 255"),
        ([(0, 0, 0), (0, 0, 1)], (0, 0, 1), r"void is \(0, 0, 1\), that of the class crack"),
        ([0, 1], (0, 0, 0), r"void holds \(0, 0, 0\); expected what 8 bits hold"),
        ([0, 9], 9, "void is 9, that of the class crack: expected one of no class, 255 or other"),
    ],
)
def test_values_are_one_for_each_class(own_root: Path, values: list[Value], void: Void, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairedFolders(own_root, classes=("wall", "crack"), values=values, void=void)


def test_no_class_is_void(own_root: Path) -> None:
    with pytest.raises(ValueError, match="void is 1, that of the class crack: expected one of no class, 255 or other"):
        PairedFolders(own_root, classes=("wall", "crack"), void=1)


def test_its_help_teaches_all_settings(capsys: pytest.CaptureFixture[str]) -> None:
    from dla.cli import main

    with pytest.raises(SystemExit):
        main(["fit", "--data.help=FolderData"])  # as `dla fit --data.help FolderData`
    text = capsys.readouterr().out
    assert all(f"--data.{name}" in text for name in ("classes", "void", "crop", "rotate", "seed"))


def test_training_sees_an_image_as_predict_does(own_root: Path) -> None:
    """A photograph on its side is turned upright, and 16-bit grey is not clipped."""
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    upright = Image.fromarray(np.zeros((40, 30, 3), np.uint8))
    upright.transpose(Image.Transpose.ROTATE_90).save(own_root / "train" / "0.jpg", exif=exif)
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(own_root / "trainannot" / "0.png")
    Image.fromarray(np.full((30, 40), 40_000, np.uint16)).save(own_root / "train" / "1.png")
    dataset = PairedFolders(own_root, classes=("wall", "crack"))
    assert dataset[0].image.shape == (3, 40, 30)
    assert dataset[1].image.unique().tolist() == [40_000 >> 8]


def test_two_images_cannot_share_a_mask(own_root: Path) -> None:
    Image.new("RGB", (40, 30)).save(own_root / "train" / "0.png")
    with pytest.raises(ValueError, match=r"0\.jpg and .*0\.png have one name: keep one of them"):
        PairedFolders(own_root, classes=("wall", "crack"))


def test_masks_of_one_bit_are_indices(own_root: Path) -> None:
    drawn = np.random.default_rng(0).random((30, 40)) < 0.5
    Image.fromarray(drawn).save(own_root / "trainannot" / "0.png")
    mask = PairedFolders(own_root, classes=("wall", "crack"))[0].mask
    assert np.array_equal(mask, drawn)


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_sizes_that_cannot_be_stacked_are_named_at_the_start(own_root: Path, stage: str) -> None:
    for folder in ("val", "valannot"):
        path = own_root / folder / ("3.webp" if folder == "val" else "3.png")
        with Image.open(path) as image:
            image.resize((20, 10), Image.Resampling.NEAREST).save(path)
    options = {"classes": ["wall", "crack"], "crop": 16, "workers": 0, "cache": True}
    FolderData(str(own_root), val_batch_size=1, **options).setup(stage)
    with pytest.raises(
        ValueError, match=r"images of val .* sizes, 40x30 and 20x10 \(.*3\.webp\).*--data.val_batch_size 1 for"
    ):
        FolderData(str(own_root), val_batch_size=2, **options).setup(stage)


def test_sizes_that_cannot_be_augmented_together_are_named_at_the_start(own_root: Path) -> None:
    for folder, name in (("train", "0.jpg"), ("trainannot", "0.png")):
        Image.new("L", (30, 40)).save(own_root / folder / name)
    options = {"classes": ["wall", "crack"], "crop": 16, "workers": 0, "cache": True}
    FolderData(str(own_root), augment="sample", **options).setup("fit")
    with pytest.raises(
        ValueError, match=r"images of train .* sizes, 30x40 and 40x30 \(.*set --data.augment sample for"
    ):
        FolderData(str(own_root), augment="batch", **options).setup("fit")


def test_an_annotation_without_an_image_is_refused(own_root: Path) -> None:
    for name in ("7", "8"):
        Image.new("L", (40, 30)).save(own_root / "trainannot" / f"{name}.png")
    with pytest.raises(
        FileNotFoundError, match=r"trainannot/7\.png has no image in .*/train.* annotation, and 1 others"
    ):
        PairedFolders(own_root, classes=("wall", "crack"))


@pytest.mark.parametrize("all_of_them", [False, True])
def test_an_annotation_that_is_no_png_is_named(own_root: Path, all_of_them: bool) -> None:
    for path in sorted((own_root / "trainannot").iterdir())[: None if all_of_them else 1]:
        with Image.open(path) as image:
            image.save(path.with_suffix(".jpg"))
        path.unlink()
    with pytest.raises(
        ValueError, match=r"trainannot/0\.jpg is no PNG or TIFF, as annotations are: JPEG, for one, changes"
    ):
        PairedFolders(own_root, classes=("wall", "crack"))


def test_annotations_may_be_tiffs(own_root: Path) -> None:
    before = PairedFolders(own_root, classes=("wall", "crack"))
    masks = [before[i].mask for i in range(len(before))]
    for path in (own_root / "trainannot").iterdir():
        with Image.open(path) as image:
            image.save(path.with_suffix(".tif" if path.stem == "0" else ".TIFF"), compression="tiff_lzw")
        path.unlink()
    after = PairedFolders(own_root, classes=("wall", "crack"))
    assert all(np.array_equal(after[i].mask, mask) for i, mask in enumerate(masks))


@pytest.mark.parametrize("drawn", [np.zeros((30, 40), np.uint8), np.zeros((30, 40), bool)], ids=["8 bits", "1 bit"])
def test_a_tiff_of_white_zeros_is_refused_since_readers_differ(own_root: Path, drawn: np.ndarray) -> None:
    (own_root / "trainannot" / "0.png").unlink()
    Image.fromarray(drawn).save(own_root / "trainannot" / "0.tif", tiffinfo={PHOTOMETRIC_INTERPRETATION: 0})
    with pytest.raises(ValueError, match=r"0\.tif is a TIFF in which 0 is white: .*; save the indices as an 8-bit"):
        PairedFolders(own_root, classes=("wall", "crack"))[0]


def test_an_annotation_that_was_removed_meanwhile_is_named(own_root: Path) -> None:
    dataset = PairedFolders(own_root, classes=("wall", "crack"))
    (own_root / "trainannot" / "0.png").unlink()
    with pytest.raises(ValueError, match=r"trainannot/0\.png cannot be read as an image \(.*No such file.*\); unpack"):
        dataset[0]


def test_a_preview_beside_an_annotation_does_not_count(own_root: Path) -> None:
    Image.new("RGB", (40, 30)).save(own_root / "trainannot" / "0.jpg")
    assert len(PairedFolders(own_root, classes=("wall", "crack"))) == 4


def test_an_umlaut_of_one_character_and_one_of_two_are_one_name(own_root: Path) -> None:
    (own_root / "train" / "0.jpg").rename(own_root / "train" / "Ha\N{COMBINING DIAERESIS}user.jpg")
    (own_root / "trainannot" / "0.png").rename(
        own_root / "trainannot" / "H\N{LATIN SMALL LETTER A WITH DIAERESIS}user.png"
    )
    assert len(PairedFolders(own_root, classes=("wall", "crack"))) == 4


@pytest.fixture
def one_folder(tmp_path: Path) -> Path:
    """Twenty-three images, 00.jpg to 22.jpg, and their annotations beside them, 00_mask.png to 22_mask.png."""
    (tmp_path / "all").mkdir()
    for i in range(23):
        Image.new("RGB", (16, 8), (i, 0, 0)).save(tmp_path / "all" / f"{i:02}.jpg", quality=100, subsampling=0)
        Image.new("L", (16, 8), i % 2).save(tmp_path / "all" / f"{i:02}_mask.png")
    return tmp_path


ONE = {"classes": ["wall", "crack"], "images": "all", "annotations": "all", "suffix": "_mask", "hold_out": True}


def test_annotations_beside_their_images_and_some_held_out(one_folder: Path) -> None:
    data = FolderData(str(one_folder), **ONE, crop=8, workers=0)
    data.setup("fit")
    shown = {split: [path.name for path, _ in data.read(split).files] for split in ("train", "val")}
    assert shown["val"] == ["09.jpg", "19.jpg"]
    assert shown["train"] == [f"{i:02}.jpg" for i in range(23) if i not in (9, 19)]
    for image, mask in (data.read("val")[i] for i in range(2)):
        assert (mask == image[0, 0, 0] % 2).all()


def test_other_pictures_beside_the_annotations_are_passed_over(one_folder: Path) -> None:
    """Such as those that show an annotation over its image."""
    for path in (one_folder / "all").glob("*_mask.png"):
        save_image(one_folder / "drawn" / path.name.replace("_mask", "_shown"), random_image(0))
        path.rename(one_folder / "drawn" / path.name)
    files = PairedFolders(one_folder, **ONE | {"annotations": "drawn"}).files
    assert [mask.name for _, mask in files] == [f"{image.stem}_mask.png" for image, _ in files]


def test_a_set_of_one_folder_has_no_test_split(one_folder: Path) -> None:
    for split, options in (("test", {}), ("val", {"hold_out": False}), ("train", {"hold_out": False})):
        with pytest.raises(ValueError, match=r"images is all, the same .* \{split\} .* --data.hold_out true to"):
            PairedFolders(one_folder, split, **ONE | options)


def test_test_is_not_held_out(own_root: Path) -> None:
    for folder in ("val", "valannot"):
        (own_root / folder).rename(own_root / folder.replace("val", "test"))
    assert len(PairedFolders(own_root, "test", classes=("wall", "crack"), hold_out=True)) == 4
    asked = r"no folder \S+/val: .*, as --data.images images --data.annotations masks; .*, --data.hold_out true of"
    with pytest.raises(FileNotFoundError, match=asked):
        PairedFolders(own_root, "val", classes=("wall", "crack"))
    with pytest.raises(
        ValueError, match="4 images, of which every 10th would be held out to validate: give more, or a val split"
    ):
        PairedFolders(own_root, "val", classes=("wall", "crack"), hold_out=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("05_mask.png", r"all/05\.jpg has no annotation: expected \S+all/05_mask\.png"),
        ("05.jpg", r"all/05_mask\.png has no image in \S+all, which may end in"),
    ],
)
def test_what_is_missing_beside_the_others_is_named(one_folder: Path, name: str, message: str) -> None:
    (one_folder / "all" / name).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        PairedFolders(one_folder, **ONE)


def test_an_annotation_beside_its_image_that_is_no_png_is_named(one_folder: Path) -> None:
    with Image.open(one_folder / "all" / "05_mask.png") as image:
        image.save(one_folder / "all" / "05_mask.jpg")
    (one_folder / "all" / "05_mask.png").unlink()
    with pytest.raises(ValueError, match=r"all/05_mask\.jpg is no PNG or TIFF"):
        PairedFolders(one_folder, **ONE)


def test_colours_in_the_place_of_indices_are_refused(own_root: Path) -> None:
    Image.new("RGB", (40, 30)).save(own_root / "trainannot" / "0.png")
    with pytest.raises(
        ValueError,
        match=r"0.png holds uint8 values of .*: give the color of each class as values .--data.values., or save",
    ):
        PairedFolders(own_root, classes=("wall", "crack"))[0]


def test_indices_of_16_bits_are_refused(own_root: Path) -> None:
    Image.fromarray(np.zeros((30, 40), np.uint16)).save(own_root / "trainannot" / "0.png")
    with pytest.raises(ValueError, match=r"0.png holds uint16 values of .*: save the indices as an 8-bit grey PNG"):
        PairedFolders(own_root, classes=("wall", "crack"))[0]


@pytest.mark.parametrize(
    ("colors", "said"),
    [
        ([(1, 2, 3)], "1 colors for 2 classes: give one for each"),
        ([(1, 2, 3), (4, 5, 300)], r"colors holds \[4, 5, 300\]; expected red, green and blue from 0 to 255"),
    ],
)
def test_colors_that_do_not_fit_are_told_at_once(own_root: Path, colors, said) -> None:
    with pytest.raises(ValueError, match=said):
        FolderData(str(own_root), classes=["wall", "crack"], colors=colors)
    with pytest.raises(ValueError, match=said):
        PairedFolders(own_root, classes=["wall", "crack"], colors=colors)


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_is_refused_since_it_would_be_spread(own_root: Path, bits: int) -> None:
    path = own_root / "trainannot" / "0.png"
    line = bytes([0]) + bytes(40 * bits // 8)
    chunks = {
        b"IHDR": struct.pack(">LLBBBBB", 40, 30, bits, 0, 0, 0, 0),
        b"IDAT": zlib.compress(30 * line),
        b"IEND": b"",
    }
    parts = (struct.pack(">L", len(c)) + k + c + struct.pack(">L", zlib.crc32(k + c)) for k, c in chunks.items())
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(ValueError, match=rf"0.png is grey of {bits} bits; save the indices as an 8-bit grey PNG"):
        PairedFolders(own_root, classes=("wall", "crack"))[0]
