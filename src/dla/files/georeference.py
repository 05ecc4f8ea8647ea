"""Where pictures lie on a map: read from a GeoTIFF's tags or a world file, and kept beside what is made of them.

A transform is GDAL's: x, and how much of it a column and a row add, then y, and the same; of the outer corner of the
first pixel.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image
from PIL.ExifTags import Base

from dla.files.reading import read_text
from dla.files.tiff import TIFF, whole_series

Transform: TypeAlias = tuple[float, float, float, float, float, float]

SCALE, TIEPOINTS, MATRIX, KEYS = 33550, 33922, 34264, 34735
"""A GeoTIFF's tags: ModelPixelScale, ModelTiepoint, ModelTransformation and GeoKeyDirectory."""

MODEL, RASTER, GEODETIC, PROJECTED = 1024, 1025, 2048, 3072
"""Keys in its directory: GTModelType, GTRasterType, GeodeticCRS and ProjectedCRS."""

POINT = 2  # of GTRasterType, RasterPixelIsPoint: what is placed is the centre of a pixel
EPSG = range(1024, 32767)  # the codes that are EPSG's; 0 is undefined, 32767 user-defined, those above private
MEND = "give it one by gdal_edit or gdalwarp"


@dataclass(frozen=True)
class Place:
    """A transform to a coordinate system, and which of EPSG's it is, where that is known."""

    transform: Transform
    code: int | None = None


def find_place(path: Path, *, bands: bool) -> Place | None:
    """Where a picture lies; None where nothing says so, and where what says so makes no sense, which a warning tells.

    A GeoTIFF's tags count first, then a world file beside the picture.

    Args:
        path: of a picture that could be read.
        bands: whether `dla.bands.read_bands` read it, which turns nothing; `dla.images.read_image` turns pictures by
            their orientation, away from what their tags say.
    """
    try:
        tags = (_tags_of_bands if bands else _tags_of_picture)(path)
        transform = _transform(tags) or _of_world_file(path)
        if transform is None:
            return None
        if not bands and _is_turned(path):
            raise ValueError("its orientation tag turns it: take that away")
        if not all(map(math.isfinite, transform)) or transform[1] * transform[5] == transform[2] * transform[4]:
            raise ValueError(f"{transform} is no transform to a map: {MEND}")
        return Place(transform, _code(_keys(tags)))
    except Exception as error:  # on damaged tags decoders fail in any way, and the picture itself is sound
        warnings.warn(f"{path}: what is predicted gets no place on the map: {error}", stacklevel=2)
        return None


def sidecar(picture: Path) -> Path:
    """The file beside a picture in which GDAL, and so QGIS, looks for what the picture itself does not say."""
    return picture.with_name(f"{picture.name}.aux.xml")


def describe(place: Place) -> str:
    """A place as a sidecar holds it, in GDAL's Persistent Auxiliary Metadata (its class GDALPamDataset)."""
    system = f"  <SRS>EPSG:{place.code}</SRS>\n" if place.code else ""
    numbers = ", ".join(map(repr, place.transform))
    return f"<PAMDataset>\n{system}  <GeoTransform>{numbers}</GeoTransform>\n</PAMDataset>\n"


def _tags_of_picture(path: Path) -> dict[int, Any]:
    """A GeoTIFF's tags, none of another format."""
    with Image.open(path) as image:
        stored = getattr(image, "tag_v2", {})
        return {tag: stored[tag] for tag in (SCALE, TIEPOINTS, MATRIX, KEYS) if tag in stored}


def _is_turned(path: Path) -> bool:
    """Whether `dla.images.read_image` turns it."""
    with Image.open(path) as image:
        return image.getexif().get(Base.Orientation, 1) in range(2, 9)


def _tags_of_bands(path: Path) -> dict[int, Any]:
    """The same tags of the page that `dla.bands.read_bands` reads."""
    if path.suffix.lower() not in TIFF:
        return {}
    from tifffile import TiffFile

    with TiffFile(path) as file:
        stored = whole_series(file)[0].keyframe.tags
        return {tag: stored[tag].value for tag in (SCALE, TIEPOINTS, MATRIX, KEYS) if tag in stored}


def _transform(tags: Mapping[int, Any]) -> Transform | None:
    """What the tags say, by section 7.3 of the GeoTIFF standard (OGC 19-008r4)."""
    scale, points, matrix = _numbers(tags, SCALE, 2), _numbers(tags, TIEPOINTS, 6), _numbers(tags, MATRIX, 16)
    if scale and points:
        across, down = scale[0], -abs(scale[1])  # rows go south; GDAL, too, passes over a sign
        column, row, _, x, y = points[:5]
        transform = (x - column * across, across, 0.0, y - row * down, 0.0, down)
    elif matrix:
        transform = (matrix[3], matrix[0], matrix[1], matrix[7], matrix[4], matrix[5])
    elif scale or points:
        raise ValueError(f"its tags hold a scale or points alone, which are no transform: {MEND}")
    else:
        return None
    return _from_centre(transform) if _keys(tags).get(RASTER) == POINT else transform


def _of_world_file(path: Path) -> Transform | None:
    """What a world file says, of the names that GDAL looks for: of a.tif a.tfw, a.tifw or a.wld."""
    ending = path.suffix[1:].lower()
    names = [*([f".{ending[0]}{ending[-1]}w", f".{ending}w"] if ending else []), ".wld"]
    for file in (path.with_suffix(case) for name in names for case in (name, name.upper())):
        if file.is_file():
            try:
                across, down_x, across_y, down, x, y = map(float, read_text(file).split()[:6])
            except ValueError as error:
                raise ValueError(f"{file.name} is no world file: expected six numbers, a line each") from error
            return _from_centre((x, across, across_y, y, down_x, down))
    return None


def _from_centre(transform: Transform) -> Transform:
    """A transform that places the centre of the first pixel, moved to its corner."""
    x, x_column, x_row, y, y_column, y_row = transform
    return (x - (0.5 * x_column + 0.5 * x_row), x_column, x_row, y - (0.5 * y_column + 0.5 * y_row), y_column, y_row)


def _keys(tags: Mapping[int, Any]) -> dict[int, int]:
    """The keys whose values stand in the directory itself, by section 7.1.2 of the standard.

    It has four numbers, of which the last counts the keys, and then four for each.
    """
    directory = _numbers(tags, KEYS, 4)
    if directory is None:
        return {}
    entries = [int(number) for number in directory[4 : 4 + 4 * int(directory[3])]]
    if len(entries) < 4 * directory[3]:
        raise ValueError(f"its GeoKeyDirectory ends before {int(directory[3])} keys: {MEND}")
    return {entries[at]: entries[at + 3] for at in range(0, len(entries), 4) if entries[at + 1] == 0}


def _code(keys: Mapping[int, int]) -> int | None:
    """EPSG's code of the system: a projected one names that which it is based on, too, which is not to be taken."""
    code = keys.get(GEODETIC if keys.get(MODEL) in (2, 3) else PROJECTED)
    return code if code in EPSG else None


def _numbers(tags: Mapping[int, Any], tag: int, least: int) -> tuple[float, ...] | None:
    values = tags.get(tag)
    if values is None:
        return None
    if not isinstance(values, tuple) or len(values) < least:
        raise ValueError(f"its tag {tag} holds {values!r:.40}; expected {least} numbers or more: {MEND}")
    return tuple(map(float, values))
