"""A run that has diverged ends, instead of keeping a network that gives no numbers."""

from torch import Tensor

REMEDY = "training has diverged: lower --model.lr or raise --model.warmup, and start again"


def check_loss(loss: Tensor | None, epoch: int) -> None:
    """Refuse to go on where a batch's loss is no number: looked at once an epoch, since to look is to wait for a GPU.

    Args:
        loss: a scalar; None before the first batch.
        epoch: that is trained, counted from 0.

    Raises:
        ValueError: the loss is not a number, or infinite.
    """
    if loss is not None and not loss.isfinite():
        raise ValueError(f"the loss is {float(loss)} at the end of epoch {epoch + 1}, {REMEDY}")


def check_output(output: Tensor, epoch: int) -> None:
    """Refuse to measure what a network gives, of any shape, where it is no numbers, as after a step that was too long.

    Raises:
        ValueError: some of it is not a number, or infinite.
    """
    if not output.isfinite().all():
        raise ValueError(f"the network gives no numbers after epoch {epoch + 1}, {REMEDY}")
