"""The images of a split that a classifier gets most wrong, and the mean loss, over batches and processes."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from torchmetrics import Metric

from dla.data.classification.labelled import NO_CLASS

COLUMNS = 5  # loss, index, label, prediction, its probability
NO_LOSS = -1.0  # of a row that stands for no image


class Hard(NamedTuple):
    """An image with a high loss: its index in the split, its class, the predicted one, and how probable that is."""

    loss: float
    image: int
    label: int
    prediction: int
    probability: float


class Hardest(Metric):
    """Mean cross-entropy, and the `count` images in which it is highest; label -1 does not count.

    Args:
        count: How many images to keep.
    """

    full_state_update = False
    rows: Tensor
    total: Tensor
    images: Tensor

    def __init__(self, count: int = 24) -> None:
        super().__init__()
        self.add_state("rows", torch.full((count, COLUMNS), NO_LOSS), dist_reduce_fx="cat")
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Float[Tensor, "b k"], labels: Int64[Tensor, " b"], index: Int64[Tensor, " b"]) -> None:
        """Add a batch; nothing here waits for the device."""
        losses = F.cross_entropy(logits.float(), labels, ignore_index=NO_CLASS, reduction="none")  # 0 where none counts
        counted = labels != NO_CLASS
        self.total = self.total + losses.sum()  # not in place: in bf16-true the state begins in bfloat16
        self.images += counted.sum()
        probability, prediction = logits.float().softmax(1).max(1)
        rows = torch.stack([losses.where(counted, NO_LOSS), index, labels, prediction, probability], 1)
        rows = torch.cat([self.rows, rows])
        self.rows = rows[rows[:, 0].topk(len(self.rows)).indices]

    def compute(self) -> tuple[Tensor, list[Hard]]:
        """The mean loss, and the images, hardest first."""
        rows = self.rows.reshape(-1, COLUMNS)  # of one process, or of several, one after another
        count = self.rows.shape[-2]
        kept = sorted((row for row in rows.tolist() if row[0] != NO_LOSS), key=lambda row: (-row[0], row[1]))
        hardest = [Hard(loss, int(i), int(label), int(guess), p) for loss, i, label, guess, p in kept[:count]]
        return self.total / self.images, hardest
