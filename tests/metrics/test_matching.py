"""The matching of boundary pixels: the most pairs, then the least distance, at every moment of a series."""

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from dla.metrics.boundary.matching import match, match_series

UNIT = 10_000  # scipy's search may go round for ever on weights that are not whole numbers


def random_map(rng: np.random.Generator, shape: tuple[int, int], share: float) -> np.ndarray:
    return rng.random(shape) < share


def distances(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    difference = np.argwhere(predicted)[:, None] - np.argwhere(truth)[None]
    return np.hypot(difference[..., 0], difference[..., 1])


def size_and_distance(predicted: np.ndarray, truth: np.ndarray, reach: float, seed: int = 0) -> tuple[int, float]:
    """Of `match`, once the pairs are seen to be valid."""
    pairs = match(predicted, truth, reach, seed)
    ends = [np.stack(np.unravel_index(pixels, truth.shape)) for pixels in pairs.T]
    assert predicted[tuple(ends[0])].all()
    assert truth[tuple(ends[1])].all()
    assert all(len(set(pixels)) == len(pairs) for pixels in pairs.T)
    lengths = np.hypot(*(ends[0] - ends[1]))
    assert (lengths <= reach).all()
    return len(pairs), float(lengths.sum())


def of_all_assignments(predicted: np.ndarray, truth: np.ndarray, reach: float) -> tuple[int, float]:
    """Every way to give each predicted pixel a true one or none."""
    near = distances(predicted, truth)
    best = (0, 0.0)
    for choice in itertools.product(range(-1, near.shape[1]), repeat=near.shape[0]):
        pairs = [(i, j) for i, j in enumerate(choice) if j >= 0]
        if len({j for _, j in pairs}) == len(pairs) and all(near[pair] <= reach for pair in pairs):
            best = min(best, (-len(pairs), float(sum(near[pair] for pair in pairs))))
    return -best[0], best[1]


def by_sparse_assignment(predicted: np.ndarray, truth: np.ndarray, reach: float) -> tuple[int, float]:
    """scipy's: every predicted pixel has a dummy partner, dearer than any saving in distance."""
    near = distances(predicted, truth)
    count, others = near.shape
    rows, columns = np.nonzero(near <= reach)
    offset = 1 + near[rows, columns]  # zero weights would be dropped
    dear = 2 * (1 + reach) * (1 + min(near.shape))
    weights = np.concatenate([offset, np.full(count, dear)])
    places = np.concatenate([rows, np.arange(count)]), np.concatenate([columns, others + np.arange(count)])
    places = tuple(place.astype(np.int32) for place in places)  # older scipy asks for it
    graph = csr_array((np.rint(weights * UNIT), places), shape=(count, others + count))
    rows, columns = min_weight_full_bipartite_matching(graph)
    matched = columns < others
    return int(matched.sum()), float(near[rows[matched], columns[matched]].sum())


def test_equals_the_best_of_all_assignments():
    rng = np.random.default_rng(0)
    for trial in range(60):
        shape = tuple(rng.integers(2, 6, 2))
        predicted, truth = (np.zeros(shape, dtype=bool) for _ in range(2))
        predicted.flat[rng.permutation(predicted.size)[: rng.integers(0, 5)]] = True
        truth.flat[rng.permutation(truth.size)[: rng.integers(0, 6)]] = True
        reach = rng.uniform(0, 4)
        expected = of_all_assignments(predicted, truth, reach)
        assert size_and_distance(predicted, truth, reach, trial) == pytest.approx(expected)


def test_equals_a_sparse_assignment():
    rng = np.random.default_rng(1)
    for trial in range(15):
        shape = tuple(rng.integers(12, 30, 2))
        predicted, truth = (random_map(rng, shape, rng.choice([0.05, 0.15, 0.3])) for _ in range(2))
        reach = rng.uniform(0.5, 4.5)
        expected = by_sparse_assignment(predicted, truth, reach)
        assert size_and_distance(predicted, truth, reach, trial) == pytest.approx(expected)


def test_a_series_is_matched_as_each_of_its_maps():
    """Pixels come and go, as they do when maps are thinned."""
    rng = np.random.default_rng(2)
    strength, truth = rng.random((20, 27)), random_map(rng, (20, 27), 0.1)
    maps = np.stack([(strength >= t) & random_map(rng, truth.shape, 0.9) for t in (0.5, 0.8, 0.8, 0.9, 0.95, 2)])
    matched = match_series([*map(np.flatnonzero, maps)], truth, 3.0)
    for predicted, result in zip(maps, matched, strict=True):
        assert predicted.flat[result].all()
        assert set(result) == set(match(predicted, truth, 3.0)[:, 0])
        assert len(result) == size_and_distance(predicted, truth, 3.0)[0]
    counts = [by_sparse_assignment(predicted, truth, 3.0)[0] for predicted in maps[:-1]]
    assert [*map(len, matched)] == [*counts, 0]


def test_more_pairs_win_over_nearer_ones():
    predicted, truth = np.zeros((1, 6), dtype=bool), np.zeros((1, 6), dtype=bool)
    predicted[0, [2, 3]] = truth[0, [3, 5]] = True  # 3 on 3 is an exact hit, but leaves 2 alone
    assert size_and_distance(predicted, truth, 2.0) == (2, 3.0)


def test_symmetric_in_flips():
    rng = np.random.default_rng(3)
    predicted, truth = random_map(rng, (33, 21), 0.2), random_map(rng, (33, 21), 0.1)
    expected = size_and_distance(predicted, truth, 2.5)
    for flip in (np.flipud, np.fliplr, np.transpose):
        assert size_and_distance(flip(predicted), flip(truth), 2.5) == pytest.approx(expected)
    assert size_and_distance(truth, predicted, 2.5) == pytest.approx(expected)


def test_chance_decides_between_equals():
    predicted, truth = np.zeros((3, 5), dtype=bool), np.zeros((3, 5), dtype=bool)
    predicted[1, [1, 3]] = truth[1, 2] = True
    chosen = [match(predicted, truth, 1.0, seed)[0, 0] for seed in range(40)]
    assert set(chosen) == {6, 8}
    assert chosen == [match(predicted, truth, 1.0, seed)[0, 0] for seed in range(40)]


@pytest.mark.parametrize(("reach", "expected"), [(4.99, 0), (5.0, 1), (100.0, 1)])
def test_reach_is_included(reach, expected):
    predicted, truth = np.zeros((6, 7), dtype=bool), np.zeros((6, 7), dtype=bool)
    predicted[1, 1] = truth[4, 5] = True
    assert len(match(predicted, truth, reach)) == expected


def test_empty_maps_match_nothing():
    empty, full = np.zeros((4, 5), dtype=bool), np.ones((4, 5), dtype=bool)
    assert match(empty, full, 2.0).shape == match(full, empty, 2.0).shape == match(empty, empty, 2.0).shape == (0, 2)
    assert [*map(len, match_series([np.zeros(0, int), np.arange(20)], empty, 2.0))] == [0, 0]
