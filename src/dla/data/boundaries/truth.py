"""What people drew: boundary maps of several annotators, from BSDS `.mat` files or PNG images."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from dla.files.listing import list_by_stem

SUFFIXES = (".mat", ".png")
MOST = 0.5  # lines never cover more of an image
BSDS = "expected groundTruth{k}.Boundaries, one map per annotator, as in BSDS500"


def read_truth(path: str | Path) -> Bool[np.ndarray, "annotators h w"]:
    """The boundary pixels that each annotator marked, True on the boundary.

    A `.mat` file is read in the layout of BSDS500: a cell `groundTruth` with one structure per annotator, whose field
    `Boundaries` is the map. A PNG is one annotator; what is not zero, in a palette not black, is boundary, whatever a
    transparency layer says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is neither, or damaged, or its annotators' maps differ in size, or a PNG is mostly boundary or
            black on transparent; the message names the file.
        ModuleNotFoundError: a `.mat` file without scipy, which the extra [train] installs.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no ground truth {path}: check the path")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} is no ground truth: expected a BSDS .mat file or a PNG")
    maps = _read_mat(path) if suffix == ".mat" else [_read_png(path)]
    shapes = sorted({drawn.shape for drawn in maps})
    if len(shapes) != 1 or len(shapes[0]) != 2 or 0 in shapes[0]:
        raise ValueError(f"{path} holds maps of the shapes {shapes}; expected one size (height, width): {BSDS}")
    return np.stack(maps)


def list_truths(folder: str | Path) -> dict[str, Path]:
    """The ground truth files of a folder, not of the folders in it, by stem and in the order of the stems.

    Raises:
        FileNotFoundError: there is no such folder, or none of its files ends in `.mat` or `.png`.
        ValueError: two of them have one stem.
    """
    return list_by_stem(folder, SUFFIXES)


def _read_mat(path: Path) -> list[Bool[np.ndarray, "..."]]:
    from scipy.io import loadmat

    try:
        cells = loadmat(path)["groundTruth"].ravel()
        return [_unwrap(cell["Boundaries"]) != 0 for cell in cells]
    except NotImplementedError as error:  # HDF5, which scipy does not read
        raise ValueError(f"{path} is a MATLAB 7.3 file: save it again with the option -v7") from error
    except Exception as error:  # a damaged file can fail in any way
        raise ValueError(f"{path} cannot be read as ground truth ({error!r}): {BSDS}") from error


def _unwrap(value: np.ndarray) -> np.ndarray:
    """The map itself: MATLAB's structures arrive as arrays of one object."""
    while value.dtype == object:
        value = value.item()
    return value.toarray() if hasattr(value, "toarray") else value  # sparse, as SBD keeps them


def _read_png(path: Path) -> Bool[np.ndarray, "..."]:
    try:
        with Image.open(path) as file:
            image = file.convert("RGB") if "P" in file.getbands() else file  # of a palette, 0 may well be white
            pixels = np.array(image)
            layered = "A" in image.getbands()
    except Exception as error:  # on damaged data Pillow's decoders fail in any way
        raise ValueError(f"{path} cannot be read as an image ({error}); unpack or download it again") from error
    opaque = pixels[..., :-1] if layered else pixels
    drawn = (opaque != 0).any(axis=2) if opaque.ndim == 3 else opaque != 0
    if layered and not drawn.any() and np.ptp(pixels[..., -1]):
        raise ValueError(f"{path} draws by its transparency, in black: save it as white lines on black")
    if drawn.mean() > MOST:
        raise ValueError(
            f"{path} marks {drawn.mean():.0%} of its pixels, all that are not black, as boundary: expected white lines "
            "on black; invert black lines on white, and of a map of labels draw the borders"
        )
    return drawn
