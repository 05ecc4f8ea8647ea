"""Reads any picture as the user sees it in a viewer, and draws a segmentation over it."""

import math
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.Image import Transpose

from dla.files.tiff import TIFF, beyond_colours

RGB = tuple[int, int, int]


TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""What makes a picture upright, by its EXIF orientation; 1 is upright."""

DARK = 1 << 12
"""A 16-bit image all below this was not made to fill 16 bits."""


class ImageError(ValueError):
    """A file that cannot be read as a picture; the message names it and says why."""


def read_image(path: str | Path, content: bytes | None = None) -> Image.Image:
    """Read the picture as 8-bit RGB, turned upright by its EXIF orientation, at the size a viewer shows.

    Transparent parts are laid on white; 16-bit grey becomes the upper 8 bits, and a warning says once for a folder
    where that leaves 16 levels or fewer; of an animation the first frame is taken.

    Args:
        path: Of the file.
        content: What is in it, where it is part of an archive; `path` then says where, for errors alone.

    Raises:
        ImageError: the file is missing, damaged or no picture, holds floating-point values or more bands, in pages or
            not, or is so large that Pillow takes it for an attack (about 180 million pixels; see `of_any_size`).
    """
    try:
        # Opened here: of a file that it opens itself Pillow maps the pixels into memory, which scrambles turned TIFFs.
        with BytesIO(content) if content is not None else Path(path).open("rb") as file, Image.open(file) as image:
            if more := beyond_colours(image):
                raise ImageError(f"{path} {more}")
            upright = _upright(image)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path} has more pixels than Pillow opens unless it is told to: cut it into tiles or, where you trust it, "
            "set PIL.Image.MAX_IMAGE_PIXELS to None"
        ) from error
    except UnidentifiedImageError as error:  # whose text names an object in memory where there is no file
        tiff = ", or train on its bands by --data.bands" if Path(path).suffix.lower() in TIFF else ""
        raise ImageError(
            f"{path} cannot be read as an image (it is none that Pillow knows); unpack or download it again{tiff}"
        ) from error
    except Exception as error:  # on damaged data Pillow's decoders fail in any way, not with OSError alone
        raise ImageError(f"{path} cannot be read as an image ({error}); unpack or download it again") from error
    if upright.mode == "F":
        raise ImageError(
            f"{path} holds floating-point numbers of unknown range; convert it to 8 bits, or say it by --data.bands"
        )
    return _as_rgb(upright, Path(path).parent)


@contextmanager
def of_any_size() -> Iterator[None]:
    """Within it Pillow opens pictures however large; its limit is for servers, to which strangers send some."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@cache  # once for a folder, which may hold thousands
def _warn_dark(folder: Path) -> None:
    warnings.warn(
        f"a 16-bit image in {folder} has no value above {DARK - 1}, as those of 12-bit cameras: the upper 8 bits are "
        f"taken, so that at most {DARK >> 8} levels of grey are left; multiply such images until they reach 65535, or "
        "train with --data.bands",
        stacklevel=4,
    )


def _upright(image: Image.Image) -> Image.Image:
    """Turned by the orientation alone; `ImageOps.exif_transpose` writes all other tags anew, and fails at odd ones."""
    image.load()  # which turns a TIFF, and takes its orientation away
    turn = TURNS.get(image.getexif().get(Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _as_rgb(image: Image.Image, folder: Path) -> Image.Image:
    if image.mode.startswith("I"):  # `convert` would clip 16 bits at 255
        levels = np.asarray(image).clip(0, 65535)
        if 0 < int(levels.max()) < DARK:
            _warn_dark(folder)
        levels = np.where(levels == image.info.get("transparency"), 65535, levels)
        return Image.fromarray((levels >> 8).astype(np.uint8)).convert("RGB")
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:  # of 16 bits, of which Pillow gives the pixels the upper half alone
        image.info["transparency"] = tuple(level >> 8 for level in key)
    if image.mode.endswith(("A", "a")) or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def draw_overlay(
    image: Image.Image, mask: UInt8[np.ndarray, "h w"], classes: Sequence[str], colors: Sequence[RGB]
) -> Image.Image:
    """Blend the picture half and half with the colours of its classes; at its right, name the classes that are present.

    The picture stays in the upper left corner at its own size.
    """
    painted = Image.fromarray(np.asarray(colors, dtype=np.uint8)[mask])
    present = np.unique(mask).tolist()
    legend = draw_legend(image.height, [(classes[index], colors[index]) for index in present])
    canvas = Image.new("RGB", (image.width + legend.width, max(image.height, legend.height)), "white")
    canvas.paste(Image.blend(image, painted, 0.5), (0, 0))
    canvas.paste(legend, (image.width, 0))
    return canvas


def draw_legend(height: int, entries: Sequence[tuple[str, RGB]]) -> Image.Image:
    """One row per class, a square of its colour and its name; about a fortieth of the picture's height each.

    Names are written as `without_accents` gives them.
    """
    entries = [(without_accents(name), color) for name, color in entries]
    row = max(16, height // 40)
    font = ImageFont.load_default(size=row * 0.7)
    text_width = math.ceil(max(font.getlength(name) for name, _ in entries))
    legend = Image.new("RGB", (2 * row + text_width, row * len(entries)), "white")
    draw = ImageDraw.Draw(legend)
    for index, (name, color) in enumerate(entries):
        top = index * row
        draw.rectangle((row // 4, top + row // 8, row, top + row - row // 8), fill=color, outline="black")
        draw.text((row * 1.4, top + row / 2), name, fill="black", font=font, anchor="lm")
    return legend


def without_accents(name: str) -> str:
    """The name with a for ä and ss for ß: the font that comes with Pillow draws boxes for letters beyond ASCII.

    Letters of other scripts stay.
    """
    letters = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
