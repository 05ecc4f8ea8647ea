"""From counts to the benchmark's numbers: ODS, OIS, AP, R50 and the curve of precision over recall."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

STEPS = 100  # between neighbouring thresholds
RECALLS = np.arange(101) / 100  # of linspace, 0.94 and others lie above what is measured as 94 of 100


@dataclass(frozen=True)
class Curve:
    """Precision, recall and their harmonic mean F over all images, at each threshold; each of shape (k,)."""

    thresholds: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    f: np.ndarray


@dataclass(frozen=True)
class Scores:
    """What the benchmark reports.

    Args:
        ods: The best F at one threshold for all images ("optimal dataset scale").
        ods_threshold: That threshold; between those of the curve where interpolation says so.
        ods_recall: The recall there.
        ods_precision: The precision there.
        ois: F when each image has the threshold that is best for it ("optimal image scale").
        ois_recall: The recall then.
        ois_precision: The precision then.
        ap: Average precision, the area under the curve.
        r50: The largest recall at which precision is at least a half.
        curve: At each threshold.
    """

    ods: float
    ods_threshold: float
    ods_recall: float
    ods_precision: float
    ois: float
    ois_recall: float
    ois_precision: float
    ap: float
    r50: float
    curve: Curve


def score(counts: Int[np.ndarray, "images k 4"], thresholds: Float[np.ndarray, " k2"]) -> Scores:
    """The scores of a set of images, from the counts of each as `count_matches` gives them. Where 0/0 occurs it is 0.

    Raises:
        ValueError: `counts` has another number of thresholds.
    """
    if counts.shape[1] != len(thresholds):
        raise ValueError(f"counts at {counts.shape[1]} thresholds, but {len(thresholds)} thresholds are given")
    best = np.array([at_best_threshold(image) for image in counts], dtype=np.int64).reshape(-1, 4)
    return score_totals(counts.sum(axis=0), best.sum(axis=0), thresholds)


def at_best_threshold(counts: Int[np.ndarray, "k 4"]) -> Int[np.ndarray, "4"]:
    """The counts of one image at the threshold of its largest F; at the first of several."""
    return counts[np.argmax(_harmonic(*_recall_precision(counts)))]


def score_totals(
    totals: Int[np.ndarray, "k 4"], best: Int[np.ndarray, "4"], thresholds: Float[np.ndarray, " k"]
) -> Scores:
    """The scores, from counts summed over images: at each threshold, and at each image's best (`at_best_threshold`)."""
    recall, precision = _recall_precision(totals)
    ods = _best_between(np.stack([thresholds, recall, precision]))
    (ois_recall,), (ois_precision,) = _recall_precision(best[None])
    return Scores(
        ods=float(_harmonic(ods[1], ods[2])),
        ods_threshold=float(ods[0]),
        ods_recall=float(ods[1]),
        ods_precision=float(ods[2]),
        ois=float(_harmonic(ois_recall, ois_precision)),
        ois_recall=float(ois_recall),
        ois_precision=float(ois_precision),
        ap=_average_precision(recall, precision),
        r50=_recall_at_half(recall, precision),
        curve=Curve(thresholds, recall, precision, _harmonic(recall, precision)),
    )


def _recall_precision(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _ratio(counts[..., 0], counts[..., 1]), _ratio(counts[..., 2], counts[..., 3])


def _harmonic(recall: np.ndarray | np.float64, precision: np.ndarray | np.float64) -> np.ndarray:
    return _ratio(2 * recall * precision, recall + precision)


def _ratio(part: np.ndarray | np.float64, whole: np.ndarray | np.float64) -> np.ndarray:
    """0/0 is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) != 0)


def _best_between(points: Float[np.ndarray, "3 k"]) -> Float[np.ndarray, "3"]:
    """Threshold, recall and precision of the largest F, at the thresholds or on straight lines between neighbours."""
    weight = np.linspace(0, 1, STEPS)
    between = points[:, :-1, None] * (1 - weight) + points[:, 1:, None] * weight
    every = np.concatenate([points, between.reshape(3, -1)], axis=1)
    return every[:, np.argmax(_harmonic(every[1], every[2]))]


def _average_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """Precision at the recalls 0, 0.01, ..., 1, on straight lines between those measured, and 0 outside them.

    It is 0 where all thresholds have one recall, as in the original.
    """
    measured, first = np.unique(recall, return_index=True)
    if len(measured) < 2:
        return 0.0
    return float(np.interp(RECALLS, measured, precision[first], left=0, right=0).sum() * 0.01)


def _recall_at_half(recall: np.ndarray, precision: np.ndarray) -> float:
    """The largest recall on the curve, straight lines between its points, where precision is not below a half."""
    reached = [0.0, *recall[precision >= 0.5]]
    for (r0, r1), (p0, p1) in zip(pairwise(recall), pairwise(precision), strict=True):
        if (p0 < 0.5) != (p1 < 0.5):
            reached.append(r0 + (r1 - r0) * (0.5 - p0) / (p1 - p0))
    return float(max(reached))
