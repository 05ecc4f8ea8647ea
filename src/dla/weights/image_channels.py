"""Weights that were trained on red, green and blue, for images of one channel or of many."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

COLORS = 3


def of_other_channels(state: Mapping[str, Tensor], keys: Mapping[str, str], given: Mapping[str, Any]) -> list[str]:
    """The weights' keys of convolutions over colours where the model's take another number of channels."""
    return [key for key, ours in keys.items() if ours in state and _differs_in_channels(given[key], state[ours])]


def _differs_in_channels(weight: Any, own: Tensor) -> bool:
    if not isinstance(weight, Tensor) or weight.ndim != 4 or own.ndim != 4:
        return False
    same = (weight.shape[0], *weight.shape[2:]) == (own.shape[0], *own.shape[2:])
    return same and weight.shape[1] == COLORS != own.shape[1]


def for_channels(weight: Tensor, own: Tensor) -> Tensor:
    """A kernel over colours as one over the channels of the model's own kernel, by timm's rule.

    For one channel that is its sum over the colours, so that a grey image gives what it gave as three equal channels;
    for n it is the colours in turn, multiplied by 3 / n.
    """
    from timm.models import adapt_input_conv

    adapted: Tensor = adapt_input_conv(own.shape[1], weight.to(own.dtype))  # sums of half precision lose digits
    return adapted
