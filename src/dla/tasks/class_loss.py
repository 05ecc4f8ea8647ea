"""What a classifier is trained to lower, and the mixed images on which it is: cross-entropy, or one against all."""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from timm.loss import BinaryCrossEntropy  # type: ignore[attr-defined]
from torch import Tensor, nn
from torchvision.transforms import v2

Loss = Literal["cross_entropy", "bce"]


def class_loss(kind: Loss, *, smoothing: float, threshold: float | None, mixed: bool) -> nn.Module:
    """The loss of logits (b, k) and labels (b,), or probabilities (b, k) of mixed images.

    Args:
        kind: "cross_entropy", or "bce", which asks of each class by itself whether it is there, averaged over classes.
        smoothing: Part of each target that is spread over all classes.
        threshold: With "bce", classes above this probability are there wholly, the others not; None keeps parts.
        mixed: Whether images are mixed.

    Raises:
        ValueError: an option would have no effect, or makes no sense; the message says which.
    """
    if kind not in get_args(Loss):
        raise ValueError(f"loss is {kind!r}; expected one of {', '.join(get_args(Loss))}")
    if kind == "cross_entropy":
        if threshold is not None:
            raise ValueError(
                f"bce_threshold is {threshold}, but the loss is cross_entropy; give loss bce, or leave it out"
            )
        return nn.CrossEntropyLoss(label_smoothing=smoothing)
    if threshold is not None and not 0 <= threshold < 1:
        raise ValueError(f"bce_threshold is {threshold}; expected a probability of at least 0 and below 1, or null")
    if smoothing and (mixed or threshold is not None):
        raise ValueError(
            f"label_smoothing is {smoothing}, which loss bce cannot apply to mixed images or behind bce_threshold; "
            "set it to 0, or turn mixup, cutmix and bce_threshold off"
        )
    return BinaryCrossEntropy(smoothing=smoothing, target_threshold=threshold)


class Shuffle(nn.Module):
    """Puts a batch in random order: mixing pairs neighbours, which repeated augmentation makes one and the same."""

    def forward(
        self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b c h w"], Int64[Tensor, " b"]]:
        """Both in the same new order."""
        # Drawn on the CPU, so alike on every device; to which it is sent without waiting for all that is queued there.
        # But not to Apple's, which would copy after this order is gone, and get other numbers (pytorch#189690).
        order = torch.randperm(len(labels)).to(labels.device, non_blocking=labels.is_cuda)
        return images[order], labels[order]


def mixing(mixup: float, cutmix: float, num_classes: int) -> nn.Module:
    """What makes of images (b, c, h, w) and labels (b,) mixed images and the probabilities (b, k) of the classes.

    Where both strengths are 0 it changes nothing, and labels stay indices.
    """
    chosen = [
        kind(alpha=float(alpha), num_classes=num_classes)
        for kind, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix))
        if alpha
    ]
    return v2.Compose([Shuffle(), v2.RandomChoice(chosen)]) if chosen else v2.Identity()
