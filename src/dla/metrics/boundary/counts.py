"""From a boundary map and what annotators drew to four counts at each threshold."""

from collections.abc import Sequence
from functools import reduce

import numpy as np
from jaxtyping import Float, Int, Real, Shaped

from dla.metrics.boundary.matching import match_series
from dla.metrics.boundary.suppression import check_range
from dla.metrics.boundary.thinning import thin

MAX_DIST = 0.0075  # of the image diagonal; the custom of BSDS, that of NYUD is 0.011


def spread_thresholds(count: int) -> Float[np.ndarray, " k"]:
    """`count` evenly spread thresholds between 0 and 1: 0.01, 0.02, ..., 0.99 for 99.

    Raises:
        ValueError: `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"{count} thresholds: expected at least 1")
    return np.linspace(1 / (count + 1), 1 - 1 / (count + 1), count)


def count_matches(
    edges: Real[np.ndarray, "h w"],
    truths: Shaped[np.ndarray, "annotators h2 w2"],
    thresholds: Float[np.ndarray, " k"],
    max_dist: float = MAX_DIST,
) -> Int[np.ndarray, "k 4"]:
    """Match one image with each annotator at each threshold (Martin, Fowlkes and Malik 2004, section 3).

    The map is thinned after the threshold; what the annotators drew is not.

    Args:
        edges: The boundary map with values in [0, 1], after non-maximum suppression if there is any.
        truths: The boundary pixels that each annotator marked, True or not zero.
        thresholds: Boundary is what reaches them.
        max_dist: How far a pixel and its partner may lie apart, as a fraction of the image's diagonal.

    Returns:
        At each threshold: matched true pixels and true pixels, each summed over the annotators; predicted pixels that
        any annotator's pixel matched, and predicted pixels.

    Raises:
        ValueError: the shapes do not fit, `edges` holds values outside [0, 1] or NaN, or `max_dist` is negative.
    """
    _check(edges, truths, max_dist)
    truths = truths != 0
    maps = _thinned(edges.astype(np.float64, copy=False), thresholds)
    reach = max_dist * float(np.hypot(*edges.shape))
    hits = [match_series(maps, truth, reach, seed=annotator) for annotator, truth in enumerate(truths)]
    drawn = truths.sum()
    rows = []
    for index, predicted in enumerate(maps):
        found = [series[index] for series in hits]  # one to one: as many true pixels
        rows.append([sum(map(len, found)), drawn, len(reduce(np.union1d, found, predicted[:0])), len(predicted)])
    return np.array(rows)


def _check(edges: np.ndarray, truths: np.ndarray, max_dist: float) -> None:
    expect_shapes(edges.shape, truths.shape)
    (h, w), (true_h, true_w) = edges.shape, truths.shape[1:]
    if (h, w) != (true_h, true_w):
        raise ValueError(f"the map is {w}x{h} but its ground truth {true_w}x{true_h}: predict at the image's size")
    check_range(edges)
    if not 0 <= max_dist < np.inf:
        raise ValueError(f"max_dist {max_dist}: expected a fraction of the image's diagonal, such as {MAX_DIST}")


def expect_shapes(edges: Sequence[int], truths: Sequence[int]) -> None:
    """Raise a ValueError unless they are those of a map (h, w) and of what its annotators drew (annotators, h, w)."""
    if len(edges) != 2 or len(truths) != 3:
        raise ValueError(
            f"a map of shape {tuple(edges)} and its truth of {tuple(truths)}: expected (h, w) and (annotators, h, w)"
        )


def _thinned(edges: Float[np.ndarray, "h w"], thresholds: Float[np.ndarray, " k"]) -> list[Int[np.ndarray, " _"]]:
    """The pixels of the map at each threshold, thinned until it is one pixel wide; of a large image they are few."""
    maps: list[np.ndarray] = []
    before = None
    for threshold in thresholds:
        above = edges >= threshold
        same = before is not None and np.array_equal(above, before)
        maps.append(maps[-1] if same else np.flatnonzero(thin(above)))
        before = above
    return maps
