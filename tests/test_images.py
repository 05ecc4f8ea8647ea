"""Pictures are found, and read as a viewer shows them."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from dla.files.listing import find_images, list_by_stem, list_images
from dla.images import ImageError, draw_legend, draw_overlay, of_any_size, read_image

RED, WHITE, GREY = (255, 0, 0), (255, 255, 255), (128, 128, 128)


def corner(path) -> tuple[int, ...]:
    image = read_image(path)
    assert image.mode == "RGB"
    assert image.size == (7, 5)
    return image.getpixel((0, 0))


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("RGB", RED, RED),
        ("L", 128, GREY),
        ("1", 1, WHITE),
        ("LA", (128, 255), GREY),
        ("LA", (128, 0), WHITE),
        ("RGBA", (*RED, 255), RED),
        ("RGBA", (*RED, 0), WHITE),
        ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
        ("I;16", 128 * 257, GREY),
    ],
)
def test_png_modes_become_what_the_user_sees(tmp_path, mode, color, expected):
    Image.new(mode, (7, 5), color).save(tmp_path / "a.png")
    assert corner(tmp_path / "a.png") == expected


@pytest.mark.parametrize(("transparent", "expected"), [({}, RED), ({"transparency": 0}, WHITE)])
def test_palettes_become_colours(tmp_path, transparent, expected):
    image = Image.new("P", (7, 5), 0)
    image.putpalette(RED + GREY)
    image.save(tmp_path / "a.png", **transparent)
    assert corner(tmp_path / "a.png") == expected


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "I"])
def test_tiff_modes_are_read(tmp_path, mode):
    Image.new(mode, (7, 5)).save(tmp_path / "a.tif")
    corner(tmp_path / "a.tif")


def test_a_picture_larger_than_pillow_takes_is_refused_with_a_remedy(tmp_path, monkeypatch):
    Image.new("RGB", (7, 5), RED).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 17)
    with pytest.raises(ImageError, match=r"a\.png has more pixels than Pillow opens .*MAX_IMAGE_PIXELS to None$"):
        read_image(tmp_path / "a.png")
    with of_any_size():
        assert corner(tmp_path / "a.png") == RED
    assert Image.MAX_IMAGE_PIXELS == 17


def test_floating_point_pixels_are_refused(tmp_path):
    Image.new("F", (7, 5)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"a\.tif holds floating-point numbers .*; convert it to 8 bits"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_in_exif_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.new("RGB", (16, 8))
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").size == ((16, 8) if orientation < 5 else (8, 16))


def test_a_transparent_level_of_16_bits_is_laid_on_white(tmp_path):
    image = Image.fromarray(np.array([[300, 40_000]], np.uint16))
    image.save(tmp_path / "a.png", transparency=300)
    assert np.asarray(read_image(tmp_path / "a.png"))[0, :, 0].tolist() == [255, 40_000 >> 8]


def test_an_image_of_12_bits_in_16_is_told_once_for_a_folder(tmp_path):
    """Of its levels 16 are left, which training would not show."""
    for name, level in (("dark_1.tif", 4095), ("dark_2.tif", 300), ("light.tif", 4096), ("black.png", 0)):
        Image.fromarray(np.array([[0, level]], np.uint16)).save(tmp_path / name)
    with pytest.warns(UserWarning, match=rf"{tmp_path} has no value above 4095.*at most 16 levels"):
        assert read_image(tmp_path / "dark_1.tif").getpixel((1, 0)) == (15, 15, 15)
    for name in ("dark_2.tif", "light.tif", "black.png"):
        read_image(tmp_path / name)


def png_of_16_bits(pixels: np.ndarray, transparent: np.ndarray) -> bytes:
    """A PNG of 16-bit colours (h, w, 3), one of them transparent, which Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = ((b"IHDR", header), (b"tRNS", transparent.astype(">u2").tobytes()), (b"IDAT", zlib.compress(rows)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in (*parts, (b"IEND", b"")))


def test_a_transparent_colour_of_16_bits_is_laid_on_white(tmp_path):
    pixels = np.array([[[7341, 34_083, 57_535], [300, 40_000, 2]]], np.uint16)
    (tmp_path / "a.png").write_bytes(png_of_16_bits(pixels, pixels[0, 0]))
    assert np.asarray(read_image(tmp_path / "a.png"))[0].tolist() == [[255] * 3, [300 >> 8, 40_000 >> 8, 0]]


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "notes.jpg").write_text("hello")
    with pytest.raises(ImageError, match=r"notes\.jpg cannot be read as an image"):
        read_image(tmp_path / "notes.jpg")


def touch(*paths) -> None:
    for path in paths:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()


def test_a_folder_gives_its_own_pictures_by_name(tmp_path):
    touch(tmp_path / "b.PNG", tmp_path / "a.jpg", tmp_path / "notes.txt", tmp_path / "deep" / "c.png")
    assert find_images([str(tmp_path)]) == [tmp_path / "a.jpg", tmp_path / "b.PNG"]


def test_what_is_hidden_is_no_picture_of_a_folder(tmp_path):
    shown = [tmp_path / "a.jpg", tmp_path / "deep" / "b.png"]
    touch(*shown, tmp_path / "._a.jpg", tmp_path / "deep" / ".b.png", tmp_path / ".trash" / "c.png")
    assert find_images([str(tmp_path)]) == list_images(tmp_path) == shown[:1]
    assert list_images(tmp_path, deep=True) == shown
    assert (
        list_images(tmp_path / ".trash") == find_images([str(tmp_path / ".trash")]) == [tmp_path / ".trash" / "c.png"]
    )
    assert find_images([f"{tmp_path}/._a.jpg"]) == [tmp_path / "._a.jpg"]  # named, it is taken


def test_a_folder_of_folders_says_how_to_reach_what_is_in_them(tmp_path):
    touch(tmp_path / "deep" / "c.png")
    with pytest.raises(FileNotFoundError, match=rf"no image at {tmp_path}: give '{tmp_path}/\*', for those in the fol"):
        find_images([str(tmp_path)])


def test_links_in_a_circle_are_followed_once(tmp_path):
    shown = [tmp_path / "a.jpg", tmp_path / "deep" / "b.png"]
    touch(*shown)
    for name in ("one", "two"):
        (tmp_path / "deep" / name).symlink_to(tmp_path)
    assert list_images(tmp_path, deep=True) == shown


def test_patterns_go_into_folders_and_skip_them(tmp_path):
    touch(tmp_path / "a.png", tmp_path / "deep" / "c.png", tmp_path / "folder.png" / "x.txt")
    assert find_images([f"{tmp_path}/*.png"]) == [tmp_path / "a.png"]
    touch(tmp_path / "Thumbs.db", tmp_path / "notes.txt", tmp_path / "scan.JP2", tmp_path / "frame7")
    assert find_images([f"{tmp_path}/*"]) == [tmp_path / name for name in ("a.png", "frame7", "scan.JP2")]
    assert find_images([f"{tmp_path}/notes.txt"]) == [tmp_path / "notes.txt"]  # named, it is taken
    assert find_images([f"{tmp_path}/**/*.png"]) == [tmp_path / "a.png", tmp_path / "deep" / "c.png"]


def test_a_file_with_brackets_in_its_name_is_no_pattern(tmp_path):
    touch(tmp_path / "a[1].png", tmp_path / "a1.png")
    assert find_images([f"{tmp_path}/a[1].png"]) == [tmp_path / "a[1].png"]


def test_each_file_comes_once(tmp_path):
    touch(tmp_path / "a.png", tmp_path / "deep" / "b.png")
    names = [f"{tmp_path}/a.png", str(tmp_path), f"{tmp_path}/deep/../*.png"]
    assert find_images(names) == [tmp_path / "a.png"]


@pytest.mark.parametrize("name", ["", "missing.png", "*.webp", "deep"])
def test_an_input_without_pictures_is_named(tmp_path, name):
    (tmp_path / "deep").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no image at .*give a picture, a folder"):
        find_images([f"{tmp_path}/{name}"])


def test_files_to_be_paired_are_in_the_order_of_their_stems(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*gone: check the path"):
        list_by_stem(tmp_path / "gone", [".png"])
    with pytest.raises(
        FileNotFoundError, match=r"no \.png or \.npy file in .*: name the folder that holds them itself"
    ):
        list_by_stem(tmp_path, [".png", ".npy"])
    touch(tmp_path / "a-1.png", tmp_path / "a.png")  # of which the first comes first by its whole name
    assert list(list_by_stem(tmp_path, [".png"])) == ["a", "a-1"]


def test_the_overlay_blends_and_names_the_classes_present():
    mask = np.zeros((40, 30), np.uint8)
    mask[:, 15:] = 2
    overlay = draw_overlay(
        Image.new("RGB", (30, 40), "white"), mask, ("road", "sky", "tree"), (RED, (0, 0, 255), (0, 0, 0))
    )
    assert overlay.getpixel((0, 0)) == (255, 127, 127)
    assert overlay.getpixel((29, 39)) == (127, 127, 127)
    assert overlay.width > 30
    assert overlay.height == 40
    colors = {color for _, color in overlay.crop((30, 0, overlay.width, 40)).getcolors(10000)}
    assert RED in colors
    assert (0, 0, 255) not in colors  # of "sky", which is absent


def test_the_legend_of_a_tiny_picture_is_whole():
    mask = np.arange(4, dtype=np.uint8).reshape(2, 2)
    overlay = draw_overlay(Image.new("RGB", (2, 2)), mask, ("a", "b", "c", "d"), (RED, (0, 0, 255), WHITE, GREY))
    assert overlay.height == 4 * 16


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "I;16", "P", "RGB", "RGBA", "CMYK"])
def test_a_tiff_is_as_upright_as_it_is_in_memory(tmp_path, mode, orientation):
    grey = np.zeros((40, 60), np.uint8)
    grey[5:15, 5:40] = 200
    levels = grey.astype(np.uint16) * 256 if mode == "I;16" else np.dstack([grey] * 3)
    image = Image.fromarray(levels).convert(mode, palette=Image.Palette.ADAPTIVE)
    image.save(tmp_path / "a.tif", tiffinfo={0x112: orientation})
    turned = {1: grey, 2: grey[:, ::-1], 3: grey[::-1, ::-1], 4: grey[::-1], 5: grey.T}
    turned |= {6: np.rot90(grey, -1), 7: grey[::-1, ::-1].T, 8: np.rot90(grey)}
    found = np.asarray(read_image(tmp_path / "a.tif"))[..., 0].astype(int)
    assert np.abs(found - turned[orientation]).max() <= 1


@pytest.mark.parametrize("tag", [(0x11A, 2, 3, b"72\0\0"), (0x213, 4, 1, (70_000).to_bytes(4, "little"))])
def test_other_tags_of_a_turned_photo_may_be_odd(tmp_path, tag):
    def entry(number, kind, count, value):
        return struct.pack("<HHL", number, kind, count) + value

    tags = sorted([entry(0x112, 3, 1, b"\6\0\0\0"), entry(*tag)])
    exif = b"Exif\0\0II*\0" + struct.pack("<LH", 8, len(tags)) + b"".join(tags) + bytes(68)
    Image.new("RGB", (16, 8)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").size == (8, 16)


def test_the_legend_names_classes_whose_letters_the_font_lacks():
    drawn, plain = (draw_legend(100, [(name, RED)]) for name in ("Fußgänger, Café", "Fussganger, Cafe"))
    assert np.array_equal(np.asarray(drawn), np.asarray(plain))
