"""Reads predicted boundary maps: 8-bit PNG, `.npy`, or `.mat` with one array in it."""

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from dla.metrics.boundary.suppression import ROUNDING

SUFFIXES = (".png", ".npy", ".mat")


def read_prediction(path: str | Path) -> Float[np.ndarray, "h w"]:
    """A boundary map with values in [0, 1]: of a PNG, its grey levels / 255.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such map, or damaged, or holds NaN or values outside [0, 1]; the message names the file.
        ModuleNotFoundError: a `.mat` file without scipy, which the extra [train] installs.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no prediction {path}: check the path")
    readers = {".png": _read_png, ".npy": _read_npy, ".mat": _read_mat}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} is no boundary map: expected an 8-bit PNG, a .npy or a .mat file")
    try:
        edges = readers[path.suffix.lower()](path)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # on damaged data readers fail in any way
        raise ValueError(f"{path} cannot be read as a boundary map: {error}") from error
    if edges.ndim != 2 or edges.dtype.kind not in "fuib" or 0 in edges.shape:
        raise ValueError(f"{path} holds {edges.dtype} of shape {edges.shape}; expected one number a pixel (h, w)")
    if not (edges.min() >= -ROUNDING and edges.max() <= 1 + ROUNDING):  # so that NaN fails, too
        if np.isnan(edges).any():
            raise ValueError(f"{path} holds NaN; expected boundary strengths in [0, 1]: predict it again")
        found = f"{edges.min():g} to {edges.max():g}"
        raise ValueError(f"{path} holds {found}; expected boundary strengths in [0, 1]: scale the map")
    return edges.astype(np.float64).clip(0, 1)


def _read_png(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        if file.mode not in ("L", "1"):
            raise ValueError(f"its mode is {file.mode}; expected 8-bit grey: save it as such, 255 standing for 1")
        return np.asarray(file.convert("L")) / 255


def _read_npy(path: Path) -> np.ndarray:
    found = np.load(path, allow_pickle=False)
    if not isinstance(found, np.ndarray):
        raise ValueError("it is an archive of arrays; expected one array, as np.save writes it")
    return found


def _read_mat(path: Path) -> np.ndarray:
    from scipy.io import loadmat
    from scipy.sparse import issparse

    with warnings.catch_warnings():  # of SciPy, that sparse maps become arrays of another kind; both are read here
        warnings.simplefilter("ignore", DeprecationWarning)
        content = loadmat(path)
    arrays = {name: value for name, value in content.items() if not name.startswith("__")}
    if len(arrays) != 1:
        raise ValueError(f"it holds {', '.join(arrays) or 'nothing'}; expected one array (h, w) alone")
    (value,) = arrays.values()
    return value.toarray() if issparse(value) else value
