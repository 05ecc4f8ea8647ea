"""Where pictures lie on a map, in the texts that GDAL 3.10 read to the last bit as it did the pictures themselves."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from band_files import geotiff, save_bands
from image_files import random_image, save_image
from PIL import Image

from dla.files.georeference import Place, describe, find_place, sidecar
from dla.images import read_image

SCALE, TIEPOINTS, MATRIX, KEYS = 33550, 33922, 34264, 34735
NORTH = {SCALE: (0.2, 0.2, 0.0), TIEPOINTS: (0.0, 0.0, 0.0, 500000.25, 4649776.5, 0.0)}
TURNED = {MATRIX: (0.4, 0.3, 0.0, 100000.0, 0.25, -0.35, 0.0, 5000000.0, *[0.0] * 7, 1.0)}
SOUTH_UP = {MATRIX: (2.0, 0.0, 0.0, 1000000.0, 0.0, 2.0, 0.0, 6000000.0, *[0.0] * 7, 1.0)}
DEGREES = {SCALE: (1e-05, 7e-06, 0.0), TIEPOINTS: (0.0, 0.0, 0.0, 12.123456789012344, 51.98765432109876, 0.0)}
DEGREES_TEXT = "12.123456789012344, 1e-05, 0.0, 51.98765432109876, 0.0, -7e-06"
NORTH_TEXT = "500000.25, 0.2, 0.0, 4649776.5, 0.0, -0.2"
NORTH_PLACE = Place((500000.25, 0.2, 0.0, 4649776.5, 0.0, -0.2))


def keys(**values: int) -> dict[int, tuple[int, ...]]:
    """The directory of keys, in which model, raster, geodetic and projected have short names."""
    numbers = {"model": 1024, "raster": 1025, "geodetic": 2048, "projected": 3072}
    entries = [number for name, value in values.items() for number in (numbers[name], 0, 1, value)]
    return {KEYS: (1, 1, 0, len(values), *entries)}


UTM = keys(model=1, raster=1, projected=32633)
POINT = keys(model=1, raster=2, projected=32633)


def save(path: Path, tags: dict, bands: bool, **options) -> Path:
    """A file with these tags, of five bands of 16 bits or of colours."""
    if bands:
        return save_bands(path, np.zeros((5, 30, 40), np.uint16), extratags=geotiff(tags), **options)
    colours = {"photometric": "rgb", "planarconfig": "contig"}
    return save_bands(path, random_image(0), extratags=geotiff(tags), **colours, **options)


@pytest.mark.parametrize("bands", [False, True])
@pytest.mark.parametrize(
    ("tags", "code", "transform"),
    [
        (NORTH | UTM, "EPSG:32633", NORTH_TEXT),
        (NORTH, None, NORTH_TEXT),
        (DEGREES | keys(model=2, geodetic=4326), "EPSG:4326", DEGREES_TEXT),
        (TURNED | UTM, "EPSG:32633", "100000.0, 0.4, 0.3, 5000000.0, 0.25, -0.35"),
        (SOUTH_UP | keys(model=1, projected=3857), "EPSG:3857", "1000000.0, 2.0, 0.0, 6000000.0, 0.0, 2.0"),
        (NORTH | POINT, "EPSG:32633", "500000.15, 0.2, 0.0, 4649776.6, 0.0, -0.2"),
        (TURNED | POINT, "EPSG:32633", "99999.65, 0.4, 0.3, 5000000.05, 0.25, -0.35"),
        (NORTH | {TIEPOINTS: (10.0, 20.0, 0.0, 5e5, 5e6, 0.0)}, None, "499998.0, 0.2, 0.0, 5000004.0, 0.0, -0.2"),
        (NORTH | {SCALE: (0.2, -0.2, 0.0)}, None, NORTH_TEXT),
        (NORTH | keys(model=1, geodetic=4326, projected=32767), None, NORTH_TEXT),  # user-defined, based on 4326
        (NORTH | keys(model=1, geodetic=4269), None, NORTH_TEXT),  # projected, in keys of its own
        (NORTH | keys(model=32767, geodetic=4326), None, NORTH_TEXT),  # described in words alone
        (NORTH | keys(model=32767, projected=32633), "EPSG:32633", NORTH_TEXT),  # as ESRI writes them
        (NORTH | keys(model=1, projected=500), None, NORTH_TEXT),
        (NORTH | {KEYS: (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 34735, 1, 2056)}, None, NORTH_TEXT),  # it stands elsewhere
        (NORTH | keys(model=3, geodetic=4978), "EPSG:4978", NORTH_TEXT),  # of the earth's centre
        (NORTH | keys(), None, NORTH_TEXT),
        (NORTH | {KEYS: (1, 1, 0, 1, *UTM[KEYS][4:])}, None, NORTH_TEXT),  # what lies behind the first is no key
    ],
)
def test_tags_are_kept_as_gdal_reads_them(bands, tags, code, transform, tmp_path):
    place = find_place(save(tmp_path / "a.tif", tags, bands), bands=bands)
    system = f"  <SRS>{code}</SRS>\n" if code else ""
    assert describe(place) == f"<PAMDataset>\n{system}  <GeoTransform>{transform}</GeoTransform>\n</PAMDataset>\n"


@pytest.mark.parametrize("bands", [False, True])
@pytest.mark.parametrize("form", [{"bigtiff": True}, {"byteorder": ">"}, {"tile": (16, 16)}])
def test_tags_of_tiffs_of_any_form(bands, form, tmp_path):
    path = save(tmp_path / "a.tif", NORTH | UTM, bands, **form)
    assert find_place(path, bands=bands) == Place(NORTH_PLACE.transform, 32633)


def test_the_name_of_a_tiff_may_end_in_capitals(tmp_path):
    assert find_place(save(tmp_path / "A.TIF", NORTH, True), bands=True) == NORTH_PLACE


def test_the_place_of_a_picture_needs_nothing_of_the_extra_bands(tmp_path, monkeypatch):
    path = save(tmp_path / "a.tif", NORTH, False)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert find_place(path, bands=False) == NORTH_PLACE


@pytest.mark.parametrize("bands", [False, True])
@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({SCALE: (0.2,), TIEPOINTS: NORTH[TIEPOINTS]}, "tag 33550 holds 0.2; expected 2 numbers or more"),
        ({SCALE: NORTH[SCALE], TIEPOINTS: (0.0, 0.0, 0.0)}, "tag 33922 holds .* expected 6 numbers or more"),
        ({MATRIX: TURNED[MATRIX][:12]}, "tag 34264 holds .* expected 16 numbers or more"),
        (NORTH | {SCALE: (float("nan"), 0.2, 0.0)}, "is no transform"),
        (NORTH | {SCALE: (0.0, 0.0, 0.0)}, "is no transform"),
        ({MATRIX: (2.0, 4.0, 0.0, 1e5, 3.0, 6.0, 0.0, 5e6, *[0.0] * 7, 1.0)}, "is no transform"),  # all on a line
        ({SCALE: NORTH[SCALE]}, "a scale or points alone"),
        ({TIEPOINTS: NORTH[TIEPOINTS] * 3} | UTM, "a scale or points alone"),
        (NORTH | {KEYS: UTM[KEYS][:-2]}, "GeoKeyDirectory ends before 3 keys"),
        (NORTH | {KEYS: (1, 1, 0)}, "tag 34735 holds .* expected 4 numbers or more"),
    ],
)
def test_odd_tags_are_named_and_give_no_place(bands, tags, reason, tmp_path):
    path = save(tmp_path / "a.tif", tags, bands)
    with pytest.warns(UserWarning, match=f"{path}: what is predicted gets no place on the map: .*{reason}"):
        assert find_place(path, bands=bands) is None


@pytest.mark.parametrize("bands", [False, True])
def test_a_picture_without_a_place_has_none(bands, tmp_path):
    assert find_place(save(tmp_path / "a.tif", UTM, bands), bands=bands) is None
    assert find_place(save_image(tmp_path / "b.png", random_image(0)), bands=bands) is None
    assert find_place(save_image(tmp_path / "c.png", random_image(0)).rename(tmp_path / "c"), bands=bands) is None


@pytest.mark.parametrize("bands", [False, True])
@pytest.mark.parametrize(
    ("picture", "world"),
    [
        ("a.jpg", "a.jgw"),
        ("a.jpg", "a.jpgw"),
        ("a.png", "a.wld"),
        ("a.JPG", "a.JGW"),
        ("a.JPG", "a.jgw"),
        ("a.tif", "a.tfw"),
    ],
)
def test_world_files_place_the_centre_of_the_first_pixel(bands, picture, world, tmp_path):
    path = save_image(tmp_path / picture, random_image(0))
    (tmp_path / world).write_text("0.5\n0.25\n-0.125\n-1.0\n1000.0\n2000.0\nby hand\n")  # six lines count
    assert find_place(path, bands=bands) == Place((999.8125, 0.5, -0.125, 2000.375, 0.25, -1.0))


def test_tags_count_before_a_world_file_and_its_system_with_one(tmp_path):
    (tmp_path / "a.tfw").write_text("1\n0\n0\n-1\n0.5\n9.5\n")
    assert find_place(save(tmp_path / "a.tif", NORTH, False), bands=False) == NORTH_PLACE
    placed = find_place(save(tmp_path / "a.tif", UTM, False), bands=False)
    assert placed == Place((0.0, 1.0, 0.0, 10.0, 0.0, -1.0), 32633)


@pytest.mark.parametrize("content", [b"0,5\n0\n0\n-0,5\n1\n2\n", b"1\n0\n0\n", b"\xff\xfe1"])
def test_a_file_that_is_no_world_file_is_named(content, tmp_path):
    path = save_image(tmp_path / "a.jpg", random_image(0))
    (tmp_path / "a.jgw").write_bytes(content)
    with pytest.warns(UserWarning, match=r"a\.jpg: .*a\.jgw is no world file: expected six numbers"):
        assert find_place(path, bands=False) is None


def test_what_orientation_turns_has_no_place_and_what_it_leaves_alone_has(tmp_path):
    orientation = (274, "H", 1, 6, True)
    options = {"photometric": "rgb", "planarconfig": "contig"}
    turned = save_bands(tmp_path / "a.tif", random_image(0), extratags=[*geotiff(NORTH), orientation], **options)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(random_image(0)).save(tmp_path / "b.jpg", exif=exif)
    (tmp_path / "b.jgw").write_text("1\n0\n0\n-1\n0.5\n9.5\n")
    for path in (turned, tmp_path / "b.jpg"):
        with pytest.warns(UserWarning, match=f"{path}: .*its orientation tag turns it"):
            assert find_place(path, bands=False) is None
        assert find_place(path, bands=True) is not None


@pytest.mark.parametrize(("orientation", "turned"), [(0, False), (1, False), (2, True), (8, True), (9, False)])
def test_a_place_is_kept_where_a_picture_is_read_as_it_lies(orientation, turned, tmp_path, recwarn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = random_image(0, 30, 30)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    (tmp_path / "a.wld").write_text("1\n0\n0\n-1\n0.5\n9.5\n")
    assert np.array_equal(read_image(tmp_path / "a.png"), pixels) is not turned
    assert (find_place(tmp_path / "a.png", bands=False) is None) is turned
    assert len(recwarn) == turned


def test_of_bands_the_page_that_is_read_counts(tmp_path):
    options = {"photometric": "minisblack", "planarconfig": "separate", "metadata": None}
    stored = np.zeros((5, 30, 40), np.uint16)
    smaller = NORTH | {SCALE: (0.4, 0.4, 0.0)}
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(stored[:, ::2, ::2], subfiletype=1, extratags=geotiff(smaller), **options)
        file.write(stored, extratags=geotiff(NORTH), **options)
    assert find_place(tmp_path / "a.tif", bands=True) == NORTH_PLACE


def test_the_sidecar_lies_beside_its_picture(tmp_path):
    assert sidecar(tmp_path / "a.b.png") == tmp_path / "a.b.png.aux.xml"
