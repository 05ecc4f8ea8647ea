"""Biases of convolutions before batch norm, which our networks lack: the norm takes them away again.

Copies of CenterNet whose deformable convolutions were replaced by plain ones have them.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dla.weights.layouts import Layout


def biases_before_norms(state: Mapping[str, Tensor], layout: Layout, given: Mapping[str, Any]) -> dict[str, str]:
    """From the key of each such bias to that of the running mean behind it; empty where it is another norm."""
    weights = {ours: key for key, ours in layout.keys.items()}
    found = {}
    for key, ours in layout.keys.items():
        layer = ours.removesuffix(".0.bias")
        mean = weights.get(f"{layer}.1.running_mean", "")
        before_norm = {f"{layer}.0.weight", f"{layer}.1.running_mean"} <= state.keys()
        if before_norm and ours not in state and _alike(given[key], given.get(mean)):
            found[key] = mean
    return found


def _alike(bias: Any, mean: Any) -> bool:
    return isinstance(bias, Tensor) and isinstance(mean, Tensor) and bias.shape == mean.shape


def without_biases(values: Mapping[str, Any], means: Mapping[str, str]) -> dict[str, Any]:
    """The values with each bias subtracted from the mean behind it, which is the same function in evaluation mode.

    In training a norm subtracts the mean of its batch, and with it the bias, anyway.
    """
    return {**values, **{mean: values[mean] - values[bias] for bias, mean in means.items()}}
