"""Images of bands: read whatever holds them, and scaled by their ranges."""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from band_files import RANGES, save_bands, save_set
from image_files import random_image, save_image
from PIL import Image

from dla import bands
from dla.bands import as_bands, as_picture, find_bands, read_bands, visible
from dla.images import ImageError, read_image

BYTES = ((0.0, 255.0),)


def values(bands: int, dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(bands).uniform(0, 200 if dtype is np.uint8 else 60000, (bands, 20, 30)).astype(dtype)


def whole(path: Path, bands: int, high: float = 60000) -> np.ndarray:
    """What is in a file, of a range from 0 to `high`."""
    return read_bands(path, ((0.0, high),) * bands).double().numpy() * high / 255


@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
@pytest.mark.parametrize("form", ["contig", "separate", None])  # None is a page for each
@pytest.mark.parametrize("bands", [2, 3, 4, 5, 13])
def test_tiffs_of_any_layout(bands: int, form: str | None, compression: str | None, tmp_path: Path) -> None:
    stored = values(bands)
    shown = stored.transpose(1, 2, 0) if form == "contig" else stored
    options = {"planarconfig": form, "compression": compression, "predictor": compression is not None}
    assert np.allclose(whole(save_bands(tmp_path / "a.tif", shown, **options), bands), stored, atol=0.02)


def test_a_tiff_of_one_band(tmp_path: Path) -> None:
    stored = values(1)
    assert np.allclose(whole(save_bands(tmp_path / "a.tif", stored[0], planarconfig=None), 1), stored, atol=0.02)


def test_channels_of_a_microscope(tmp_path: Path) -> None:
    stored = values(3)
    path = save_bands(tmp_path / "a.tif", stored, planarconfig=None, imagej=True, metadata={"axes": "CYX"})
    assert np.allclose(whole(path, 3), stored, atol=0.02)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float16, np.float32, np.float64, bool])
def test_numbers_of_any_type(dtype: type, tmp_path: Path) -> None:
    stored = values(4, np.uint8).astype(dtype)
    found = whole(save_bands(tmp_path / "a.tif", stored), 4, 200.0)
    assert np.allclose(found, stored.astype(np.float64), atol=1e-3)


def test_large_numbers_keep_their_differences(tmp_path: Path) -> None:
    """In float32, between 16777216 and twice that, odd numbers are lost."""
    stored = np.arange(30000000, 30000000 + 600, dtype=np.uint32).reshape(1, 20, 30)
    found = read_bands(save_bands(tmp_path / "a.tif", stored[0], planarconfig=None), ((3e7, 3e7 + 599),))
    assert torch.allclose(found.flatten(), torch.linspace(0, 255, 600), atol=1e-3)


def test_a_large_image_is_never_there_in_64_bits(tmp_path: Path) -> None:
    path = save_bands(tmp_path / "a.tif", np.zeros((4, 1000, 1000), np.uint16))
    read_bands(path, ((0.0, 1.0),) * 4)  # what is loaded the first time does not count
    tracemalloc.start()
    found = read_bands(path, ((0.0, 1.0),) * 4)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1.5 * found.nbytes + found.numel() * 2  # the image, what is in the file, and a strip


def test_each_band_has_its_range_and_what_lies_beyond_is_cut_off(tmp_path: Path) -> None:
    stored = np.array([[-1, 0, 50, 100, 101], [-1, 0, 50, 100, 101]], np.float32)[:, None]
    found = read_bands(save_bands(tmp_path / "a.tif", stored), ((0.0, 100.0), (50.0, 150.0)))
    assert found[:, 0].tolist() == [[0, 0, 127.5, 255, 255], [0, 0, 0, 127.5, pytest.approx(130.05)]]
    assert found.dtype == torch.float32


def test_what_is_no_number_is_0(tmp_path: Path) -> None:
    stored = np.array([[np.nan, np.inf, -np.inf, 1]], np.float32)[None]
    found = read_bands(save_bands(tmp_path / "a.tif", stored[0], planarconfig=None), ((-1.0, 1.0),))
    assert found.flatten().tolist() == [0, 255, 0, 255]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_channels_of_a_png_are_bands_and_transparency_covers_nothing(mode: str, tmp_path: Path) -> None:
    pixels = np.asarray(Image.fromarray(random_image(0)).convert(mode)).copy()
    if mode in ("LA", "RGBA"):
        pixels[..., -1] = random_image(1)[..., 0]
    save_image(tmp_path / "a.png", pixels)
    bands = len(mode)
    expected = pixels.reshape(*pixels.shape[:2], bands).transpose(2, 0, 1)
    assert np.array_equal(read_bands(tmp_path / "a.png", BYTES * bands).numpy(), expected)


def test_a_png_of_16_bits_keeps_them(tmp_path: Path) -> None:
    stored = values(1)
    save_image(tmp_path / "a.png", stored[0])
    assert np.allclose(whole(tmp_path / "a.png", 1), stored, atol=0.02)


def test_a_turned_jpeg_is_not_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(random_image(0)).save(tmp_path / "a.jpg", exif=exif)
    assert read_bands(tmp_path / "a.jpg", BYTES * 3).shape == (3, 30, 40)


def test_the_name_of_a_tiff_may_end_in_capitals(tmp_path: Path) -> None:
    stored = values(5)
    assert np.allclose(whole(save_bands(tmp_path / "A.TIF", stored, planarconfig=None), 5), stored, atol=0.02)


def test_smaller_copies_in_a_file_are_passed_over(tmp_path: Path) -> None:
    stored = values(5)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        options = {"photometric": "minisblack", "planarconfig": "separate", "tile": (16, 16)}
        file.write(stored, subifds=1, **options)
        file.write(stored[:, ::2, ::2], subfiletype=1, **options)
        file.write(stored[0, ::4, ::4], photometric="minisblack")
    assert np.allclose(whole(tmp_path / "a.tif", 5), stored, atol=0.02)


def test_a_smaller_copy_before_the_image_is_passed_over(tmp_path: Path) -> None:
    stored = values(4)
    options = {"photometric": "minisblack", "planarconfig": "separate", "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(stored[:, ::2, ::2], subfiletype=1, **options)
        file.write(stored, **options)
    assert np.allclose(whole(tmp_path / "a.tif", 4), stored, atol=0.02)


def test_a_mask_of_what_counts_is_passed_over(tmp_path: Path) -> None:
    """As GDAL writes it: a page of the image's size."""
    stored = values(1, np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(stored[0], photometric="minisblack", metadata=None)
        file.write(stored[0] > 100, photometric="mask", subfiletype=4, metadata=None)
    assert np.array_equal(read_bands(tmp_path / "a.tif", BYTES), stored)


@pytest.mark.parametrize("last", [np.uint16, np.float32])
def test_bands_apart_from_each_other_are_not_read_in_part(last: type, tmp_path: Path) -> None:
    """Three bands as an image of colours and a fourth behind it, of their type or of another."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(values(3), photometric="rgb", planarconfig="separate", metadata=None)
        file.write(values(1)[0].astype(last), photometric="minisblack", metadata=None)
    with pytest.raises(ImageError, match=r"a\.tif cannot .* \(it holds 2 images of one size, not one of all bands\)"):
        read_bands(tmp_path / "a.tif", BYTES * 3)


def test_another_number_of_bands_is_named(tmp_path: Path) -> None:
    path = save_bands(tmp_path / "a.tif", values(5))
    with pytest.raises(
        ImageError, match=r"a\.tif has 5 bands, and bands has ranges for 4: give \[low, high\] for each"
    ):
        read_bands(path, BYTES * 4)


@pytest.mark.parametrize("ending", ["tif", "png", "bmp"])
def test_what_cannot_be_read_is_named(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"II*\0nothing more")
    with pytest.raises(ImageError, match=rf"a\.{ending} cannot be read as bands \(.+\): write it again, as a TIFF"):
        read_bands(path, BYTES)
    with pytest.raises(ImageError, match=r"missing\.\w+ cannot be read as bands \(.*No such file"):
        read_bands(tmp_path / f"missing.{ending}", BYTES)


def test_a_cut_off_tiff_is_named(tmp_path: Path) -> None:
    path = save_bands(tmp_path / "a.tif", values(5), compression="deflate")
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(ImageError, match=r"a\.tif cannot be read as bands"):
        read_bands(path, BYTES * 5)


@pytest.mark.parametrize("package", ["tifffile", "imagecodecs"])
@pytest.mark.parametrize("ending", ["tif", "png"])
def test_a_missing_package_is_named_with_its_extra(
    package: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that the file is to be written again: tifffile alone fails at what LZW compresses."""
    path = tmp_path / f"a.{ending}"
    if ending == "tif":
        save_bands(path, values(5), compression="lzw")
    else:
        save_image(path, random_image(0))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'deep-layer-aggregation\[bands\]'$"):
        read_bands(path, BYTES * 5)


def test_images_over_time_and_complex_numbers_are_no_bands(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values(6).reshape(2, 3, 20, 30), imagej=True, metadata={"axes": "TCYX"})
    with pytest.raises(
        ImageError, match=r"its axes TCYX have the sizes \(2, 3, 20, 30\), of which one may count bands"
    ):
        read_bands(path, BYTES * 6)
    tifffile.imwrite(
        path, values(6).reshape(2, 3, 20, 30), photometric="minisblack"
    )  # that do not say what their axes are
    with pytest.raises(
        ImageError, match=r"its axes QQYX have the sizes \(2, 3, 20, 30\), of which one may count bands"
    ):
        read_bands(path, BYTES * 6)
    tifffile.imwrite(path, values(3)[None], imagej=True, metadata={"axes": "TCYX"})
    assert np.allclose(whole(path, 3), values(3), atol=0.02)  # at one time they are
    tifffile.imwrite(path, values(1)[0, 0])
    with pytest.raises(ImageError, match=r"its axes \w+ have the sizes \(30,\), of which one may count bands"):
        read_bands(path, BYTES)
    tifffile.imwrite(path, values(1)[0].astype(np.complex64))
    with pytest.raises(ImageError, match=r"a\.tif holds numbers of type complex64"):
        read_bands(path, BYTES)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ([[0, 1], [2, 2]], r"bands holds \[2, 2\]; expected two numbers for each band, the lower one first"),
        ([[0, 1, 2]], r"bands holds \[0, 1, 2\]"),
        ([[0, float("nan")]], r"bands holds \[0, nan\]"),
        ([[0, float("inf")]], r"bands holds \[0, inf\]"),
        ([], "bands is empty; expected"),
    ],
)
def test_ranges_that_are_none(ranges: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_bands(ranges)


def test_ranges_as_configurations_hold_them() -> None:
    assert as_bands([[0, 1], [2, 3.5]]) == ((0.0, 1.0), (2.0, 3.5))
    assert as_bands(None) is None


def test_ranges_are_found_in_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_set(tmp_path)
    found = find_bands(tmp_path / "train")
    for (low, high), (least, most) in zip(found[:3], RANGES[:3], strict=True):
        width = most - least
        assert low == pytest.approx(least + 0.01 * width, abs=0.004 * width)
        assert high == pytest.approx(most - 0.01 * width, abs=0.004 * width)
    assert -450 < found[3][0] < -330
    assert 330 < found[3][1] < 450
    assert capsys.readouterr().out == ""


def test_ranges_pass_over_what_is_no_number_and_are_never_empty(tmp_path: Path) -> None:
    stored = np.full((2, 40, 40), 7, np.float32)
    stored[1, :20] = np.nan
    save_bands(tmp_path / "a.tif", stored)
    assert find_bands(tmp_path) == [[7.0, 8.0], [7.0, 8.0]]


def test_folders_and_files_may_be_named_in_text(tmp_path: Path) -> None:
    path = save_bands(tmp_path / "a.tif", np.full((2, 40, 40), 7, np.float32))
    assert find_bands(str(tmp_path)) == [[7.0, 8.0], [7.0, 8.0]]
    assert read_bands(str(path), ((7.0, 8.0), (6.0, 7.0))).unique().tolist() == [0, 255]


def test_ranges_of_a_large_image_are_those_of_some_rows_and_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = np.full((1, 40, 30), 50, np.uint8)
    stored[:, 1::2] = stored[..., 1::2] = 90
    stored[:, ::4, ::3] = 7
    save_bands(tmp_path / "a.tif", stored[0], planarconfig=None)
    assert find_bands(tmp_path) == [[7.0, 90.0]]
    monkeypatch.setattr(bands, "SIDE", 10)
    assert find_bands(tmp_path) == [[7.0, 8.0]]


def test_ranges_of_images_that_do_not_agree(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no images in"):
        find_bands(tmp_path)
    save_bands(tmp_path / "a.tif", values(4))
    save_bands(tmp_path / "b.tif", values(5))
    with pytest.raises(ImageError, match=r"b\.tif has 5 bands, and .*a\.tif has 4"):
        find_bands(tmp_path)


def test_what_is_shown_of_an_image() -> None:
    image = torch.rand(5, 4, 6) * 255
    assert torch.equal(visible(image), image[:3])
    assert torch.equal(visible(image[:3]), image[:3])
    assert torch.equal(visible(image[:2]), image[[0, 0, 0]])
    picture = as_picture(image)
    assert picture.size == (6, 4)
    assert np.array_equal(np.asarray(picture), image[:3].round().byte().permute(1, 2, 0))
    assert as_picture(picture) is picture


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("bands", [3, 4, 5])
def test_as_a_picture_in_colour_they_are_refused_and_not_read_in_part(
    bands: int, compression: str | None, tmp_path: Path
) -> None:
    path = save_bands(tmp_path / "a.tif", values(bands), compression=compression)
    with pytest.raises(ImageError, match=r"a\.tif .*by --data\.bands"):
        read_image(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bands", [2, 3])
def test_pages_of_a_microscope_are_no_picture_in_grey(bands: int, dtype: type, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values(bands, dtype), imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(ImageError, match=r"a\.tif has several pages in grey: keep one, or train .*--data\.bands"):
        read_image(path)


def test_a_mask_and_smaller_copies_behind_a_picture_in_grey_are_none(tmp_path: Path) -> None:
    stored = values(1, np.uint8)[0]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(stored, photometric="minisblack", metadata=None)
        file.write(stored > 100, photometric="mask", subfiletype=4, metadata=None)
        file.write(stored[::2, ::2], photometric="minisblack", subfiletype=1, metadata=None)
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.tif"))[..., 0], stored)


def test_a_second_band_beside_grey_is_not_passed_over(tmp_path: Path) -> None:
    shown = values(2, np.uint8).transpose(1, 2, 0)
    path = save_bands(tmp_path / "a.tif", shown, planarconfig="contig")
    with pytest.raises(ImageError, match=r"a\.tif has 2 bands, of which a picture in colour has 3"):
        read_image(path)


def test_a_fifth_band_beside_colours_is_not_passed_over(tmp_path: Path) -> None:
    path = save_bands(
        tmp_path / "a.tif", values(5, np.uint8).transpose(1, 2, 0), photometric="rgb", planarconfig="contig"
    )
    with pytest.raises(ImageError, match=r"a\.tif has 5 bands, of which a picture in colour has 3"):
        read_image(path)
