"""What people drew: boundary maps of several annotators, from BSDS `.mat` files, PNG images or folders of these."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from dla.files.listing import list_by_stem, list_folders

PNG = (".png",)
SUFFIXES = (".mat", *PNG)
MOST = 0.5  # lines never cover more of an image
BSDS = "groundTruth{k}.Boundaries, one map per annotator, as in BSDS500"


def read_truth(path: str | Path) -> Bool[np.ndarray, "annotators h w"]:
    """The boundary pixels that each annotator marked, True on the boundary.

    A `.mat` file is read in the layout of BSDS500: a cell `groundTruth` with one structure per annotator, whose field
    `Boundaries` is the map. A PNG is one annotator; what is not zero, in a palette not black, is boundary, whatever a
    transparency layer says. A folder has a PNG of each annotator.

    Raises:
        FileNotFoundError: there is no such file, or no PNG in the folder.
        ValueError: it is neither, or damaged, or its annotators' maps differ in size, or a PNG is mostly boundary or
            black on transparent; the message names the file.
        ModuleNotFoundError: a `.mat` file without scipy, which the extra [train] installs.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no ground truth {path}: check the path")
    maps = [drawn for file in files_of(path) for drawn in _read(file)]
    shapes = sorted({drawn.shape for drawn in maps})
    if len(shapes) != 1 or len(shapes[0]) != 2 or 0 in shapes[0]:
        layout = "PNGs of one image, one for each annotator" if path.is_dir() else BSDS
        raise ValueError(f"{path} holds maps of the shapes {shapes}; expected one size (height, width): {layout}")
    return np.stack(maps)


def files_of(truth: Path) -> list[Path]:
    """The file itself, or the PNGs of a folder, in the order of their names."""
    return [*list_by_stem(truth, PNG).values()] if truth.is_dir() else [truth]


def list_truths(folder: str | Path) -> dict[str, Path]:
    """The ground truth of a folder by stem and in the order of the stems: its files, or if there are none its folders.

    A folder in it is the truth of the image of its name where it has a PNG of each annotator.

    Raises:
        FileNotFoundError: there is no such folder, or nothing of it is a truth.
        ValueError: two files have one stem.
    """
    try:
        return list_by_stem(folder, SUFFIXES)
    except FileNotFoundError:
        if Path(folder).is_dir() and (of_several := list_folders(folder, PNG)):
            return of_several
        raise


def _read(file: Path) -> list[Bool[np.ndarray, "..."]]:
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{file} is no ground truth: expected a BSDS .mat file or a PNG")
    return [_read_png(file)] if suffix in PNG else _read_mat(file)


def _read_mat(path: Path) -> list[Bool[np.ndarray, "..."]]:
    from scipy.io import loadmat

    try:
        cells = loadmat(path)["groundTruth"].ravel()
        return [_unwrap(cell["Boundaries"]) != 0 for cell in cells]
    except NotImplementedError as error:  # HDF5, which scipy does not read
        raise ValueError(f"{path} is a MATLAB 7.3 file: save it again with the option -v7") from error
    except Exception as error:  # a damaged file can fail in any way
        raise ValueError(f"{path} cannot be read as ground truth ({error!r}): expected {BSDS}") from error


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
