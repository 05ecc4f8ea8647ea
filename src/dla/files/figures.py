"""Pictures by matplotlib, with texts as they are."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dla.files import atomic_write


@contextmanager
def drawing(path: str | Path, *, size: tuple[float, float], dpi: int) -> Iterator[Any]:
    """Give a figure to draw on, and write it to `path`, whole or not at all, once the block has succeeded::

        with drawing("curve.png", size=(6, 6), dpi=150) as figure:
            figure.subplots().plot([1, 2, 3])

    Args:
        path: its suffix is the format.
        size: width and height in inches.
        dpi: pixels of an inch.

    Raises:
        FileNotFoundError: the folder of `path` is missing.
        ValueError: there is no suffix, or matplotlib cannot write that format.
        ModuleNotFoundError: without matplotlib, which the extra [train] installs.
    """
    if not Path(path).suffix:
        raise ValueError(f"{path} says no format: end it in .png, .svg or .pdf")
    from matplotlib import rc_context  # here, because it takes a while to import
    from matplotlib.figure import Figure

    # In names of classes, folders and studies a dollar sign is one, and begins no formula.
    with rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names in a script that matplotlib's font lacks
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=dpi)
