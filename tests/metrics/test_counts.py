"""Counts of one image: properties of the benchmark, defined values, and errors."""

import tracemalloc

import numpy as np
import pytest
from skimage.morphology import thin

from dla.metrics.boundary import count_matches, score, spread_thresholds
from dla.metrics.boundary.matching import match

DIST = 0.02  # of 113 pixels' diagonal: 2.26 pixels
NINE = spread_thresholds(9)


def outlines(shift: int = 0) -> np.ndarray:
    """Three squares, thin already, so that a map can be perfect."""
    drawn = np.zeros((80, 80), dtype=bool)
    for corner, size in ((10, 30), (20, 40), (30, 12)):
        rows = slice(corner, corner + size)
        drawn[rows, corner + shift] = drawn[rows, corner + size + shift] = True
    return thin(drawn)


def scores(edges: np.ndarray, *truths: np.ndarray, thresholds: np.ndarray = NINE):
    return score(count_matches(edges, np.stack(truths), thresholds, DIST)[None], thresholds)


def test_a_perfect_map_gives_1():
    perfect = scores(outlines().astype(float), outlines())
    assert (perfect.ods, perfect.ois) == (1.0, 1.0)
    assert perfect.curve.recall.tolist() == perfect.curve.precision.tolist() == [1.0] * 9


def test_the_tolerance_is_that_of_the_diagonal():
    assert scores(outlines(shift=2).astype(float), outlines()).ods == 1
    assert scores(outlines(shift=3).astype(float), outlines()).ods < 0.5


def test_counts_over_annotators():
    """Recall asks each annotator; precision asks whether any of them agrees."""
    left, right, both = np.zeros((40, 40), dtype=bool), np.zeros((40, 40), dtype=bool), np.zeros((40, 40))
    left[5:25, 5] = right[5:15, 30] = True
    both[left | right] = 0.5
    both[35, 10:20] = 0.5  # nobody drew this
    counts = count_matches(both, np.stack([left, right]), np.array([0.25, 0.5, 0.75]), 0.0)
    assert counts.tolist() == [[30, 30, 30, 40], [30, 30, 30, 40], [0, 30, 0, 0]]


def test_equals_each_threshold_by_itself():
    rng = np.random.default_rng(0)
    edges, truths = rng.random((24, 35)) ** 6, rng.random((2, 24, 35)) < 0.1
    for row, threshold in zip(count_matches(edges, truths, NINE, 0.05), NINE, strict=True):
        predicted = thin(edges >= threshold)
        hits = [match(predicted, truth, 0.05 * np.hypot(24, 35), seed)[:, 0] for seed, truth in enumerate(truths)]
        matched = sum(map(len, hits))
        assert row.tolist() == [matched, truths.sum(), len(np.union1d(*hits)), predicted.sum()]


def test_eight_bit_values_reach_their_thresholds():
    grey = np.zeros((9, 9))
    grey[4, [0, 2, 4, 6, 8]] = np.array([0, 50, 51, 102, 255]) / 255
    predicted = count_matches(grey, np.zeros((1, 9, 9), dtype=bool), spread_thresholds(99))[:, 3]
    assert predicted[[18, 19, 20, 39, 40, 98]].tolist() == [4, 3, 2, 2, 1, 1]


def test_an_empty_prediction_and_an_image_without_boundary():
    nothing, drawn = np.zeros((80, 80)), outlines()
    assert count_matches(nothing, drawn[None], NINE).tolist() == [[0, drawn.sum(), 0, 0]] * 9
    empty = scores(nothing, drawn)
    assert (empty.ods, empty.ois, empty.ap, empty.r50) == (0, 0, 0, 0)
    unmarked = scores(drawn.astype(float), nothing.astype(bool))
    assert (unmarked.ods, unmarked.ois, unmarked.ap, unmarked.r50) == (0, 0, 0, 0)
    assert scores(nothing, nothing.astype(bool)).ods == 0


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (np.zeros((9, 8)), "the map is 8x9 but its ground truth 9x8"),
        (np.full((8, 9), np.nan), "NaN"),
        (np.full((8, 9), 255, dtype=np.uint8), "holds 255 to 255: expected values in"),
        (np.full((8, 9), -0.1), "-0.1"),
    ],
)
def test_wrong_maps_are_refused(edges, message):
    with pytest.raises(ValueError, match=message):
        count_matches(edges, np.zeros((1, 8, 9), dtype=bool), NINE)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="max_dist -1"):
        count_matches(np.zeros((8, 9)), np.zeros((1, 8, 9), dtype=bool), NINE, -1.0)
    with pytest.raises(ValueError, match="0 thresholds"):
        spread_thresholds(0)


def test_thresholds_are_spread():
    np.testing.assert_allclose(spread_thresholds(99), np.arange(1, 100) / 100)
    assert spread_thresholds(1).tolist() == [0.5]


def test_maps_at_all_thresholds_are_never_there_at_once():
    """Of twelve million pixels they would take a gigabyte, four times over."""
    edges, truths = np.zeros((500, 600)), np.zeros((2, 500, 600), dtype=bool)
    edges[100, 50:550], truths[:, 101, 50:550] = np.linspace(0, 1, 500), True
    tracemalloc.start()
    count_matches(edges, truths, spread_thresholds(99))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 40 * edges.size
