"""The benchmark as a metric: the same numbers as the benchmark itself, in any batches and over processes."""

from contextlib import ExitStack

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from dla.metrics.boundary import BoundaryMetric, Suppression, count_matches, score, spread_thresholds, suppress
from dla.metrics.boundary.scores import score_totals


def batch(seed: int, count: int = 2) -> tuple[torch.Tensor, list[torch.Tensor]]:
    rng = np.random.default_rng(seed)
    probabilities = torch.from_numpy(rng.random((count, 25, 33)).astype(np.float32) ** 4)
    return probabilities, [torch.from_numpy(rng.random((1 + i, 25, 33)) < 0.05) for i in range(count)]


@pytest.mark.parametrize("nms", ["hed", Suppression(radius=3), None])
def test_equals_the_benchmark(nms):
    metric = BoundaryMetric(thresholds=4, max_dist=0.05, nms=nms)
    counts = []
    for seed in range(2):
        probabilities, truths = batch(seed)
        metric.update(probabilities, truths)
        for edges, truth in zip(probabilities.numpy(), truths, strict=True):
            pixels = edges if nms is None else suppress(edges, metric.nms) / 255
            counts.append(count_matches(pixels, truth.numpy(), spread_thresholds(4), 0.05))
    expected = score(np.stack(counts), spread_thresholds(4))
    got = metric.compute()
    assert got.keys() == {"ods", "ois", "ap"}
    for name, value in got.items():
        assert float(value) == pytest.approx(getattr(expected, name))
        assert 0 < value < 1


def test_scores_lie_on_the_metrics_device(monkeypatch):
    """Lightning averages what is logged where it lies, and processes on GPUs exchange nothing that is on a CPU."""

    def scores_then_fake(*counts):
        found = score_totals(*counts)
        gpu.enter_context(FakeTensorMode())  # in which a tensor is made on a GPU that is not there
        return found

    metric = BoundaryMetric(thresholds=4, nms=None)
    metric.update(*batch(0))
    monkeypatch.setattr(BoundaryMetric, "device", torch.device("cuda", 0))
    monkeypatch.setattr("dla.metrics.boundary.metric.score_totals", scores_then_fake)
    with ExitStack() as gpu:
        found = metric.compute()
    assert {value.device for value in found.values()} == {torch.device("cuda", 0)}


@pytest.mark.parametrize("convert", [lambda t: t.byte(), lambda t: 255 * t.byte(), lambda t: t.long()])
def test_what_is_not_zero_was_drawn(convert):
    probabilities, truths = batch(0)
    drawn, numbers = (BoundaryMetric(thresholds=4, max_dist=0.05) for _ in range(2))
    drawn.update(probabilities, truths)
    numbers.update(probabilities, [convert(truth) for truth in truths])
    assert torch.equal(drawn.totals, numbers.totals)
    assert drawn.totals[0, 0] > 0


@pytest.mark.parametrize("nms", ["hed", "none", None])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p * float("nan"), "the map holds NaN"),
        (lambda p: 8 * p - 4, r"the map holds -4 to 3\.\d+: expected values in \[0, 1\]"),
        (lambda p: (255 * p).byte(), "the map holds 0 to 25.: expected"),
    ],
)
def test_what_is_no_probability_is_refused(spoil, message, nms):
    probabilities, truths = batch(0)
    with pytest.raises(ValueError, match=message):
        BoundaryMetric(thresholds=4, nms=nms).update(spoil(probabilities), truths)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("nms", ["hed", None])
@pytest.mark.parametrize("shapes", [((1, 20, 30), (2, 20, 30)), ((20, 30), (20, 30))])
def test_other_shapes_are_refused(shapes, nms):
    edges, truth = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"expected \(h, w\) and \(annotators, h, w\)"):
        BoundaryMetric(thresholds=2, nms=nms).update([edges], [truth])


def test_averages_that_exceed_1_by_rounding_are_not():
    BoundaryMetric(thresholds=2).update(torch.full((1, 12, 12), 1.000001), [torch.zeros(1, 12, 12, dtype=torch.bool)])


def test_images_of_any_size_in_a_list():
    metric = BoundaryMetric(thresholds=3)
    truth = torch.zeros(1, 30, 40, dtype=torch.bool)
    truth[0, 10:20, 20] = True
    metric.update([torch.zeros(20, 20), truth[0].float()], [torch.zeros(2, 20, 20, dtype=torch.bool), truth])
    assert metric.compute()["ods"] > 0.5


def test_sums_over_processes_are_the_whole():
    """What torchmetrics does between processes: each state is reduced by the function that it was given."""
    whole, parts = BoundaryMetric(thresholds=3), [BoundaryMetric(thresholds=3) for _ in range(2)]
    for seed, part in enumerate(parts):
        part.update(*batch(seed))
        whole.update(*batch(seed))
    gathered = BoundaryMetric(thresholds=3)
    for name, reduction in gathered._reductions.items():
        setattr(gathered, name, reduction(torch.stack([getattr(part, name) for part in parts])))
    gathered._update_count = 1
    assert gathered.compute() == whole.compute()


def test_numbers_of_images_must_agree():
    probabilities, truths = batch(0)
    with pytest.raises(ValueError, match="shorter"):
        BoundaryMetric(thresholds=2).update(probabilities, truths[:1])


def test_of_a_batch_with_an_error_nothing_is_counted():
    probabilities, truths = batch(0)
    metric = BoundaryMetric(thresholds=2)
    with pytest.raises(ValueError, match="shorter"):
        metric.update(probabilities, truths[:1])
    assert not metric.totals.any()
    assert not metric.best.any()


def test_a_preset_that_is_not_there_is_named(unchecked_shapes):
    with pytest.raises(ValueError, match=r"nms is 'foo'; expected one of none, hed, rcf"):
        BoundaryMetric(nms="foo")
