"""What weights show of the network that they are of: its classes, or its heads and decoder, and its input channels."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from dla.weights.centernet import images_of
from dla.weights.heads import head_name
from dla.weights.layouts import Layout, find_layout
from dla.weights.source import split_weights

OFFSETS = ("conv_offset", ".offsets.")  # of deformable convolutions: CenterNet's and mmdetection3d's, and ours
FINAL = ("ida_up.", "decoder.final.")  # the iterative aggregation behind the lines of CenterNet's later decoder


def inferred_options(model: nn.Module, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `create_model` that weights show; `model` is a network of that name with any options.

    Args:
        model: is not changed.
        checkpoint: what a file holds, as `read_source` gives it.
    """
    given, _ = split_weights(checkpoint, own=model.state_dict())
    layout = find_layout(model, given)
    heads: dict[str, list[Tensor]] = {}
    for name, kernel in _kernels(layout, given):
        heads.setdefault(name, []).append(kernel)
    if hasattr(model, "heads"):
        return _detectors(heads, given) | _channels(layout, given)
    classes = [kernels[-1].shape[0] for kernels in heads.values()]
    return ({"num_classes": classes[0]} if len(classes) == 1 else {}) | _channels(layout, given)


def _kernels(layout: Layout, given: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The head's name and the weight of each convolution or linear map of the heads, in their order."""
    for key in sorted(set(layout.head) - set(layout.unused)):
        value = given[key]
        if isinstance(value, Tensor) and value.ndim > 1:
            yield head_name(layout.keys.get(key, key)), value


def _detectors(heads: Mapping[str, list[Tensor]], given: Mapping[str, Any]) -> dict[str, Any]:
    deformable = any(part in key for key in given for part in OFFSETS)
    plain = any(part in key for key in given for part in FINAL)
    decoder = {"decoder": "deformable" if deformable else "plain" if plain else "concat"}
    if not heads:
        return decoder
    before = {kernels[0].shape[0] if len(kernels) > 1 else 0 for kernels in heads.values()}
    outputs = {name: kernels[-1].shape[0] for name, kernels in heads.items()}
    return {**decoder, "heads": outputs, "head_channels": max(before)}


def _channels(layout: Layout, given: Mapping[str, Any]) -> dict[str, Any]:
    kernels = {key: value for key, value in given.items() if isinstance(value, Tensor) and value.ndim == 4}
    stem = next((kernels[key] for key in kernels if layout.keys.get(key, "").endswith("stem.0.0.weight")), None)
    if stem is None:
        return {}
    further = images_of(kernels)
    return {"in_chans": [stem.shape[1], *further] if further else stem.shape[1]}
