"""Thinning: from regions to lines one pixel wide, as many as before and with the same ends (Lam, Lee and Suen 1992).

This is what MATLAB's `bwmorph(map, "thin", inf)` does, and so the benchmark. A pixel goes if, by its eight neighbours,

    1. it lies at one border of one part:  exactly one of the four directions changes from nothing to something,
    2. it is neither an end nor inside:    of the four pairs of neighbours, counted in both ways, 2 or 3 hold something,
    3. it lies at the side whose turn it is.

All that may go leave at once, at two sides in turn, until none may. scikit-image's `thin` gives the same, but looks at
all pixels in each turn, which takes seven times as long for a map of 481x321; the tests compare both.
"""

import numpy as np
from jaxtyping import Bool

# Neighbours from the right one on, against the clock: rows downwards, columns to the right.
AROUND = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def thin(image: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """What is left of a map when nothing more may go."""
    framed = np.pad(image, 1).astype(np.uint8)
    flat, width = framed.reshape(-1), framed.shape[1]
    pixels = np.flatnonzero(flat)
    gone = True
    while gone:
        before = len(pixels)
        for leaves in LEAVES:
            hood = np.zeros(len(pixels), dtype=np.uint8)
            for bit, (down, right) in enumerate(AROUND):
                hood |= flat[pixels + (down * width + right)] << bit
            go = leaves[hood]
            flat[pixels[go]] = 0
            pixels = pixels[~go]
        gone = len(pixels) < before
    return framed[1:-1, 1:-1].astype(bool)


def _leaves() -> tuple[np.ndarray, np.ndarray]:
    """For each of the 256 neighbourhoods, a bit a neighbour: whether its pixel goes, in either turn."""
    east, north_east, north, north_west, west, south_west, south, south_east = (
        (np.arange(256) >> bit & 1).astype(bool) for bit in range(8)
    )
    ring = (east, north_east, north, north_west, west, south_west, south, south_east, east)
    borders = sum((~ring[i] & (ring[i + 1] | ring[i + 2])).astype(int) for i in (0, 2, 4, 6))
    pairs = [sum((ring[i] | ring[i + 1]).astype(int) for i in range(start, 8, 2)) for start in (0, 1)]
    held = np.minimum(*pairs)
    thick = (borders == 1) & (held >= 2) & (held <= 3)
    first = ~((north_east | north | ~south_east) & east)
    second = ~((south_west | south | ~north_west) & west)
    return thick & first, thick & second


LEAVES = _leaves()
