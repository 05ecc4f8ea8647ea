"""Boundary detection as a job: weighted loss, side outputs, ODS and OIS (Section 4.3 and the authors' recipes)."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from lightning import Callback
from torch import Tensor, nn

from dla.data.sample import IGNORE_INDEX
from dla.metrics.boundary import BoundaryMetric
from dla.metrics.boundary.counts import MAX_DIST
from dla.models.heads import DenseHead
from dla.tasks.base import Batch
from dla.tasks.boundary_showcase import BoundaryShowcase
from dla.tasks.dense import DenseTask, mean_over_processes
from dla.tasks.diverged import check_output
from dla.tasks.unseen import UnseenClasses


class BoundaryTask(DenseTask):
    """Trains a dense predictor to tell boundary from background; measures ODS, OIS and AP on thinned maps.

    Args:
        network: Name of a dense predictor, such as dla34up or dla34ida; dla46_cup.bsds500 starts from those weights.
        num_classes: Given by the data: 2, background and boundary.
        edge_weight: Weight of a boundary pixel in the loss, as the authors had it; null balances each image.
        side_weight: Weight of the losses of the side outputs, one for each map that the decoder makes on its way to
            the last (deep supervision); 0 for none. They are not part of the network that is trained.
        watch: Validation images that `fit` measures after an epoch, the first ones; `validate` measures all.
        watch_thresholds: Thresholds at which `fit` measures ODS and OIS; AP needs more, and comes with `validate`.
        test_thresholds: Thresholds at which `validate` and `test` measure.
        max_dist: Tolerance of a match, as a part of the image's diagonal; 0.011 for NYUD.
        nms: How maps are thinned before they are measured: hed, rcf or none.
        **settings: Those of `DenseTask`, and the others of `Task`.
    """

    kind = "boundaries"
    monitor = "val/ods"
    headline = "ODS"

    def __init__(
        self,
        *,
        network: str = "dla34up",
        num_classes: int = 2,
        edge_weight: float | None = 10.0,
        side_weight: float = 0.0,
        watch: int = 12,
        watch_thresholds: int = 9,
        test_thresholds: int = 99,
        max_dist: float = MAX_DIST,
        nms: Literal["hed", "rcf", "none"] = "hed",
        **settings: Any,
    ) -> None:
        super().__init__(network=network, num_classes=num_classes, **settings)
        if num_classes != 2:
            raise ValueError(f"boundaries need 2 classes, background and boundary, not {num_classes}")
        if edge_weight is not None and edge_weight <= 0:
            raise ValueError(f"edge_weight is {edge_weight}; expected a number above 0, or null to balance each image")
        if side_weight < 0 or watch < 1:
            raise ValueError(
                f"side_weight is {side_weight} and watch {watch}; expected a weight of at least 0 and at least 1 image"
            )
        self.edge_weight, self.side_weight, self.watch = edge_weight, side_weight, watch
        self.steps = torch.compile(self.model.forward_steps) if self.compiles else self.model.forward_steps
        specs = self.model.decoder.step_specs[:-1] if side_weight else []
        self.side_heads = nn.ModuleList(DenseHead(spec.channels, num_classes, spec.stride) for spec in specs)
        measure: dict[str, Any] = {"max_dist": max_dist, "nms": None if nms == "none" else nms}
        self.metrics = nn.ModuleDict(
            {
                "watch": BoundaryMetric(thresholds=watch_thresholds, **measure),
                "test": BoundaryMetric(thresholds=test_thresholds, **measure),
            }
        )

    def trained(self) -> list[nn.Module]:
        """The network and the heads of its side outputs, which no checkpoint's user needs."""
        return [self.model, self.side_heads]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        images = self.laid_out(batch["image"])
        *side, last = self.steps(images)
        size = images.shape[-2:]
        loss = boundary_loss(self.model.head(last, size), batch["mask"], self.edge_weight)
        if self.side_heads:
            logits = [head(x, size) for head, x in zip(self.side_heads, side, strict=True)]
            losses = [boundary_loss(scores, batch["mask"], self.edge_weight) for scores in logits]
            loss = loss + self.side_weight * torch.stack(losses).mean()
        return self.log_loss(loss, batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Match boundaries: in `fit` of the first images as they are, in `validate` of all, as in `test`."""
        if self.measuring:
            self.test_step(batch, batch_idx)
        elif watched := [place for place, index in enumerate(batch["index"].tolist()) if index < self.watch]:
            truths = [batch["truths"][place] for place in watched]
            self._match("watch", self.probabilities(batch["image"][watched], plain=True), truths)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Match boundaries, over the scales, flips and windows asked for."""
        self._match("test", self.probabilities(batch["image"]), batch["truths"])

    def configure_callbacks(self) -> list[Callback]:
        """Show results when a run ends, and warn of classes that never occur."""
        return [BoundaryShowcase(), UnseenClasses()]

    def _match(self, metric: str, probabilities: Tensor, truths: Sequence[Tensor]) -> None:
        check_output(probabilities, self.current_epoch)
        # An image without annotators only fills up the last round of processes.
        real = [place for place, drawn in enumerate(truths) if len(drawn)]
        self._metric(metric).update(probabilities[real, 1].float(), [truths[place] for place in real])

    def _metric(self, name: str) -> Any:
        return self.metrics[name]

    def log_metrics(self, split: str) -> None:
        """Log what was matched."""
        watching = split == "val" and not self.measuring
        metric = self._metric("watch" if watching else "test")
        values = metric.compute()
        metric.reset()
        self.log(f"{split}/ods", values["ods"], prog_bar=True, sync_dist=True)
        others = ("ois",) if watching else ("ois", "ap")
        self.log_dict({f"{split}/{name}": values[name] for name in others}, sync_dist=True)


def boundary_loss(
    logits: Float[Tensor, "b 2 h w"], mask: Int[Tensor, "b h w"], edge_weight: float | None
) -> Float[Tensor, ""]:
    """Cross-entropy of two classes, weighted, averaged over the pixels that count, of all processes.

    Args:
        logits: of background and boundary; their difference is the one score of a binary cross-entropy.
        mask: 0 background, 1 boundary, 255 where a pixel does not count.
        edge_weight: weight of a boundary pixel, that of the background being 1 (the authors' 10); None gives both
            classes of each image the same total weight (holistically-nested edge detection, Equation 2).
    """
    losses = F.cross_entropy(logits.float(), mask, ignore_index=IGNORE_INDEX, reduction="none")
    edge, ground = mask == 1, mask == 0
    if edge_weight is None:
        edges, grounds = (part.sum((1, 2), keepdim=True) for part in (edge, ground))
        weight = (edge * grounds + ground * edges) / (edges + grounds).clamp(min=1)
    else:
        weight = edge_weight * edge + 1.0 * ground
    counts = mean_over_processes(weight.sum().to(losses))
    return (losses * weight).sum() / counts.clamp(min=torch.finfo(losses.dtype).tiny)
