"""ODS, OIS, AP and R50 from counts, against values found by hand or in another way."""

import numpy as np
import pytest

from dla.metrics.boundary import score, spread_thresholds


def counted(*points: tuple[float, float]) -> np.ndarray:
    """Counts of one image with these recalls and precisions."""
    return np.array([[[round(1000 * r), 1000, round(1000 * p), 1000] for r, p in points]])


def random_counts(seed: int, images: int = 4, k: int = 7) -> np.ndarray:
    """As of real images: with a higher threshold, fewer pixels."""
    rng = np.random.default_rng(seed)
    falling = -np.sort(-rng.random((images, k, 2)), axis=1)
    truth, predicted = rng.integers(50, 90, (images, 1)), (rng.integers(60, 200, (images, 1)) * falling[..., 0]).round()
    matched = np.minimum(predicted, truth) * falling[..., 1]
    return np.stack(np.broadcast_arrays(matched, truth, np.minimum(matched * 1.1, predicted), predicted), -1).astype(
        int
    )


def harmonic(r: float, p: float) -> float:
    return 2 * r * p / (r + p) if r + p else 0.0


def test_ods_of_totals_with_interpolation():
    for seed in range(5):
        counts, best = random_counts(seed), (0.0, 0.0)
        totals = counts.sum(0).astype(float)
        points = [(a / b if b else 0.0, c / d if d else 0.0) for a, b, c, d in totals]
        thresholds = spread_thresholds(7)
        for k in range(6):
            for step in range(100):
                t = step / 99
                r, p = (points[k][part] * (1 - t) + points[k + 1][part] * t for part in (0, 1))
                best = max(best, (harmonic(r, p), thresholds[k] * (1 - t) + thresholds[k + 1] * t))
        scores = score(counts, thresholds)
        assert scores.ods == pytest.approx(best[0])
        assert scores.ods_threshold == pytest.approx(best[1])
        assert harmonic(scores.ods_recall, scores.ods_precision) == pytest.approx(scores.ods)
        assert scores.ods >= scores.curve.f.max()


def test_interpolation_finds_more_than_the_thresholds():
    scores = score(counted((1.0, 0.5), (0.5, 1.0)), np.array([0.2, 0.6]))
    assert scores.curve.f == pytest.approx([2 / 3, 2 / 3])
    assert scores.ods == pytest.approx(0.75, abs=1e-4)
    assert scores.ods_threshold == pytest.approx(0.4, abs=0.01)


def test_ois_takes_each_image_at_its_best():
    counts = np.array([[[8, 10, 8, 10], [1, 10, 1, 1]], [[5, 20, 5, 50], [15, 20, 15, 20]]])
    scores = score(counts, spread_thresholds(2))
    assert scores.ois_recall == pytest.approx(23 / 30)
    assert scores.ois_precision == pytest.approx(23 / 30)
    assert scores.ois == pytest.approx(23 / 30)


def test_average_precision():
    """A triangle of precision from 1 at recall 0.2 to 0 at recall 0.6, and nothing outside."""
    scores = score(counted((0.6, 0.0), (0.4, 0.5), (0.2, 1.0)), spread_thresholds(3))
    assert scores.ap == pytest.approx(0.01 * sum(1 - 2.5 * (r / 100 - 0.2) for r in range(20, 61)))


def test_average_precision_reaches_the_largest_recall():
    """94 of 100 are the 94th of the recalls that are summed over, and not below it."""
    scores = score(counted((0.94, 0.5), (0.2, 0.5)), spread_thresholds(2))
    assert scores.ap == pytest.approx(0.01 * 75 * 0.5)


def test_one_recall_has_no_area_below_it():
    assert score(counted((0.5, 0.5), (0.5, 0.5)), spread_thresholds(2)).ap == 0


def test_equal_recalls_count_once():
    once = score(counted((0.6, 0.3), (0.2, 1.0)), spread_thresholds(2))
    twice = score(counted((0.6, 0.3), (0.6, 0.3), (0.2, 1.0), (0.2, 1.0)), spread_thresholds(4))
    assert once.ap == twice.ap


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0.9, 0.4), (0.7, 0.6), (0.2, 0.9)], 0.8),
        ([(0.9, 0.7), (0.4, 0.9)], 0.9),
        ([(0.9, 0.1), (0.4, 0.3)], 0.0),
        ([(0.9, 0.7), (0.0, 0.0)], 0.9),
    ],
)
def test_recall_at_a_precision_of_one_half(points, expected):
    assert score(counted(*points), spread_thresholds(len(points))).r50 == pytest.approx(expected)


def test_the_order_of_images_does_not_matter():
    counts = random_counts(9)
    first, second = score(counts, spread_thresholds(7)), score(counts[::-1], spread_thresholds(7))
    assert (first.ods, first.ois, first.ap) == (second.ods, second.ois, second.ap)


def test_one_threshold_is_enough():
    scores = score(counted((0.5, 0.5)), spread_thresholds(1))
    assert (scores.ods, scores.ois, scores.ods_threshold) == (0.5, 0.5, 0.5)


def test_another_number_of_thresholds_is_refused():
    with pytest.raises(ValueError, match="counts at 7 thresholds, but 5"):
        score(random_counts(0), spread_thresholds(5))
