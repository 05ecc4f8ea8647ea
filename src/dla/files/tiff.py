"""TIFFs that hold more than a picture does, over which Pillow passes: bands beside grey or colours, and pages."""

from typing import Any

from PIL import Image

TIFF = (".tif", ".tiff")
SAMPLES = 277  # the tag in which a TIFF says how many bands it has
KIND = 254  # and of a page, whether it is a smaller copy, a mask, or one in its own right (0 or 2)


def beyond_colours(image: Image.Image) -> str:
    """What a TIFF that is open has more, and what to do, as it follows the file's name; nothing of a picture."""
    bands: int = getattr(image, "tag_v2", {}).get(SAMPLES, 1)
    if bands > 4 or (bands > 1 and len(image.getbands()) == 1):
        return f"has {bands} bands, of which a picture in colour has 3: train on them by --data.bands"
    if image.format == "TIFF" and len(image.getbands()) == 1 and image.mode not in ("1", "P") and _goes_on(image):
        return "has several pages in grey: keep one, or train on them all by --data.bands"
    return ""


def whole_series(file: Any) -> list[Any]:
    """Of a file that is open in tifffile the images that are no smaller copies and no masks, or all."""
    return [one for one in file.series if not (one.keyframe.is_reduced or one.keyframe.is_mask)] or file.series


def _goes_on(image: Any) -> bool:
    """Whether there is a second page like the first, and no smaller copy or mask."""
    size = image.size
    try:
        image.seek(1)
        return bool(image.size == size and image.tag_v2.get(KIND, 0) in (0, 2))
    except (EOFError, OSError, SyntaxError):  # there is none, or one that Pillow does not know, as some masks
        return False
    finally:
        image.seek(0)
