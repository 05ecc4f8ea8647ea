"""The boundary benchmark as a metric of torchmetrics, so that training can watch it."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Real, Shaped
from torch import Tensor
from torchmetrics import Metric

from dla.metrics.boundary.counts import MAX_DIST, count_matches, expect_shapes, spread_thresholds
from dla.metrics.boundary.scores import at_best_threshold, score_totals
from dla.metrics.boundary.suppression import PRESETS, Suppression, suppress


class BoundaryMetric(Metric):
    """ODS, OIS and AP over the images it has seen; sums of counts are all it keeps.

    It runs on the CPU; with few thresholds, an image of 481x321 takes some tenths of a second.

    Args:
        thresholds: How many, evenly spread. Few will do for ODS, which interpolates between them; AP, which counts
            nothing outside the recalls that were measured, comes out too low with few.
        max_dist: How far a pixel and its partner may lie apart, as a fraction of the image's diagonal.
        nms: Non-maximum suppression before the thresholds: a preset, one of your own, or "none" or None.

    Raises:
        ValueError: `thresholds` is below 1, or there is no such preset.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    totals: Tensor
    best: Tensor

    def __init__(
        self,
        thresholds: int = 9,
        max_dist: float = MAX_DIST,
        nms: Literal["hed", "rcf", "none"] | Suppression | None = "hed",
    ) -> None:
        super().__init__()
        self.thresholds, self.max_dist = spread_thresholds(thresholds), max_dist
        presets: dict[str, Suppression | None] = {"none": None} | PRESETS
        if isinstance(nms, str) and nms not in presets:
            raise ValueError(f"nms is {nms!r}; expected one of {', '.join(presets)}, a Suppression or None")
        self.nms = presets[nms] if isinstance(nms, str) else nms
        self.add_state("totals", torch.zeros(thresholds, 4, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("best", torch.zeros(4, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        probabilities: Real[Tensor, "b h w"] | Sequence[Real[Tensor, "_ _"]],
        truths: Sequence[Shaped[Tensor, "_ _ _"]],
    ) -> None:
        """Count a batch.

        Args:
            probabilities: The boundary map of each image, with values in [0, 1].
            truths: For each image the boundary pixels that each annotator marked, (annotators, h, w), True or not zero.

        Raises:
            ValueError: the numbers of images or the sizes differ, shapes are others, or a map holds values outside
                [0, 1] or NaN; nothing of the batch is counted then.
        """
        found = []
        for edges, truth in zip(probabilities, truths, strict=True):
            expect_shapes(edges.shape, truth.shape)
            pixels = edges.detach().float().cpu().numpy()
            if self.nms is not None:
                pixels = suppress(pixels, self.nms) / 255
            found.append(count_matches(pixels, truth.cpu().numpy(), self.thresholds, self.max_dist))
        for counts in found:
            self.totals += torch.from_numpy(counts).to(self.totals)
            self.best += torch.from_numpy(at_best_threshold(counts)).to(self.best)

    def compute(self) -> dict[str, Tensor]:
        """The scores `ods`, `ois` and `ap`, each in [0, 1]; on the metric's device, where processes average them."""
        scores = score_totals(self.totals.cpu().numpy(), self.best.cpu().numpy(), self.thresholds)
        return {name: torch.tensor(getattr(scores, name), device=self.device) for name in ("ods", "ois", "ap")}
