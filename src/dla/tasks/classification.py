"""Classification as a job: loss, mixed images, accuracy and confusion (Section 4.1 and the authors' recipe)."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from lightning import Callback
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from dla.data.classification.labelled import NO_CLASS
from dla.models import DensePredictor
from dla.names import parse
from dla.tasks.base import Batch, Task
from dla.tasks.class_loss import Loss, class_loss, mixing
from dla.tasks.class_showcase import ClassShowcase
from dla.tasks.hardest import Hard, Hardest


class Measured(NamedTuple):
    """What a pass over a split found, beside the numbers that are logged.

    Attributes:
        confusion: Images of each class (rows) that were taken for each class (columns), on the CPU.
        hardest: The images with the highest losses, hardest first.
    """

    confusion: Int64[Tensor, "classes classes"]
    hardest: list[Hard]


class ClassificationTask(Task):
    """Trains a classifier; measures top-1 and top-5 accuracy, and that of each class.

    Args:
        network: Name of a classifier, such as dla34, or BACKBONE+STRUCTURE.
        num_classes: Given by the data.
        loss: Cross-entropy, or bce, the binary cross-entropy of each class by itself, averaged over the classes; that
            is small, and meant for adamw and lamb, which do not mind the scale.
        bce_threshold: With bce, classes of mixed images above this probability are there wholly, the others not.
        label_smoothing: Part of each target that is spread over all classes.
        mixup: Blend pairs of images, by a factor from Beta(mixup, mixup); 0 turns it off.
        cutmix: Paste a rectangle of one image into another, of a part of the area from Beta(cutmix, cutmix); 0 turns it
            off. Where both are on, each batch gets one of them.
        **settings: The others of `Task`.
    """

    kind = "classification"
    monitor = "val/accuracy"
    headline = "accuracy"

    def __init__(
        self,
        *,
        network: str = "dla34",
        num_classes: int,
        loss: Loss = "cross_entropy",
        bce_threshold: float | None = None,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        **settings: Any,
    ) -> None:
        if num_classes < 2:
            raise ValueError(f"the data has {num_classes} class; a classifier tells at least 2 apart")
        if parse(network).structure:
            settings["options"] = {"head": "classifier", **(settings.get("options") or {})}
        super().__init__(network=network, num_classes=num_classes, **settings)
        if isinstance(self.model, DensePredictor):
            raise ValueError(f"{self.network} gives a class to each pixel; name a classifier, such as dla34")
        if not 0 <= label_smoothing < 1 or mixup < 0 or cutmix < 0:
            raise ValueError(
                f"label_smoothing is {label_smoothing}, mixup {mixup}, cutmix {cutmix}; expected 0, which turns each "
                "off, or more, and label_smoothing below 1"
            )
        mixed = bool(mixup or cutmix)
        self.loss = class_loss(loss, smoothing=label_smoothing, threshold=bce_threshold, mixed=mixed)
        self.mix = mixing(mixup, cutmix, num_classes)
        # The readers have checked the labels; to check again means to wait for the device at every batch.
        options: dict[str, Any] = {"num_classes": num_classes, "ignore_index": NO_CLASS, "validate_args": False}
        self.confusion = MulticlassConfusionMatrix(**options)
        self.top5 = MulticlassAccuracy(top_k=min(5, num_classes), average="micro", **options)
        self.hardest = Hardest()
        self.measured: Measured | None = None

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Logits of each image.

        Raises:
            ValueError: the network gives something else.
        """
        logits, expected = self.run(images), (len(images), self.num_classes)
        if not isinstance(logits, Tensor) or logits.shape != expected:
            found = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
            raise ValueError(
                f"{self.network} gives {found} where logits {expected} were expected: name a network that classifies "
                "whole images, such as dla34, without features_only"
            )
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        images, labels = self.mix(batch["image"], batch["label"])
        return self.log_loss(self.loss(self(images).float(), labels), batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count images."""
        logits, labels = self.crop_logits(batch["image"]), batch["label"]
        self.confusion.update(logits, labels)
        self.top5.update(logits, labels)
        self.hardest.update(logits, labels, batch["index"])

    def crop_logits(self, images: Float[Tensor, "b *crops c h w"]) -> Float[Tensor, "b k"]:
        """Logits of each image; of several crops, the logarithm of their mean probabilities, as the authors measure."""
        if images.ndim == 4:
            return self(images)
        probabilities = self(images.flatten(0, 1)).float().softmax(1).unflatten(0, images.shape[:2]).mean(1)
        return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count images."""
        self.validation_step(batch, batch_idx)

    def log_metrics(self, split: str) -> None:
        """Log what was counted."""
        confusion, top5 = self.confusion.compute(), self.top5.compute()
        loss, hardest = self.hardest.compute()
        for metric in (self.confusion, self.top5, self.hardest):
            metric.reset()
        self.measured = None if self.trainer.sanity_checking else Measured(confusion.cpu(), hardest)
        accuracy = confusion.diagonal().sum() / confusion.sum()
        self.log(f"{split}/accuracy", accuracy, prog_bar=True, sync_dist=True)
        mean = class_accuracy(confusion).nanmean()
        self.log_dict({f"{split}/top5": top5, f"{split}/class_accuracy": mean, f"{split}/loss": loss}, sync_dist=True)

    def data_facts(self) -> dict[str, Any]:
        """Those of `Task`, and the sizes in pixels to which an image is brought, see `ClassificationData`."""
        facts, data = super().data_facts(), self.trainer.datamodule  # type: ignore[attr-defined]
        return facts | {name: getattr(data, name) for name in ("resize", "crop") if hasattr(data, name)}

    def configure_callbacks(self) -> Callback:
        """Show results when a run ends."""
        return ClassShowcase()


def class_accuracy(confusion: Int64[Tensor, "k k"]) -> Float[Tensor, " k"]:
    """The part of each class's images that was recognised; nan where there are none."""
    return confusion.diagonal() / confusion.sum(1)
