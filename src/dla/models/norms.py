"""Other norms than batch norm: exchanged in a network that is built, since all its norms come from one place."""

from collections.abc import Callable
from math import gcd

from torch import nn

NormLayer = str | Callable[[int], nn.Module]
"""A name of `NORMS`, or what makes a norm from a channel count."""


def group_norm(channels: int) -> nn.GroupNorm:
    """32 groups where `channels` allow it, otherwise as many as divide both (Wu and He, Group Normalization, 2018)."""
    return nn.GroupNorm(gcd(32, channels), channels)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batchnorm": nn.BatchNorm2d,
    "groupnorm": group_norm,
    "syncbatchnorm": nn.SyncBatchNorm,
}


def with_norms(model: nn.Module, norm_layer: NormLayer) -> None:
    """Put untrained norms of another kind in the place of each batch norm of `model`; "batchnorm" leaves them.

    Raises:
        ValueError: there is no norm of this name.
    """
    if norm_layer == "batchnorm":
        return
    if isinstance(norm_layer, str) and norm_layer not in NORMS:
        raise ValueError(f"norm_layer must be {', '.join(NORMS)} or a function of channels, not {norm_layer!r}")
    make = NORMS[norm_layer] if isinstance(norm_layer, str) else norm_layer
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, make(child.num_features))
